//! The executable killed before each of its system calls, and each of them made to fail.
//!
//! strace does both from outside, so nothing of this is in the executable.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Net, ours};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const STRACE: &str = "/usr/bin/strace";
const SIZE: usize = 6;

/// A small dual-stack network with leases of ours, and the reference's.
fn net() -> Net {
    let net = Net::new(&json!({"ranges": [
        [{"subnet": "10.0.0.0/28", "rangeStart": "10.0.0.2", "rangeEnd": "10.0.0.7"}],
        [{"subnet": "fd00::/64", "rangeStart": "fd00::2", "rangeEnd": "fd00::7"}],
    ]}));
    assert!(Path::new(STRACE).exists(), "{STRACE} is missing: apt-get install strace");
    net.call(&ours(), "ADD", "stays").addresses();
    fs::write(net.dir().join("10.0.0.3"), "theirs\r\neth0").unwrap();
    fs::write(net.dir().join("fd00::3"), "theirs\r\neth0").unwrap();
    net
}

fn strace(net: &Net, options: &[String], command: &str) -> Answer {
    let mut strace = Command::new(STRACE);
    strace.args(["-f", "-qq"]).args(options).arg(ours());
    net.call_with(&mut strace, command, "victim", "", &net.conf())
}

/// Every system call of a command, by name: how many, and how many come before the lock is opened.
fn calls(net: &Net, command: &str) -> BTreeMap<String, (usize, usize)> {
    let log = net.dir().join("../trace");
    let answer = strace(net, &["-o".into(), log.display().to_string()], command);
    assert!(answer.is_ok(), "{answer:?}");
    let mut calls: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut locked = false;
    for line in fs::read_to_string(log).unwrap().lines() {
        let Some((name, rest)) = line.split_whitespace().nth(1).unwrap().split_once('(') else {
            continue;
        };
        locked |= rest.contains("n/lock") || line.contains("n/lock");
        let (count, before) = calls.entry(name.to_owned()).or_default();
        *count += 1;
        *before += usize::from(!locked);
    }
    assert!(locked, "the lock is opened");
    calls.remove("execve");
    calls
}

fn victims(net: &Net) -> usize {
    net.leases().values().filter(|content| *content == "victim\r\neth0").count()
}

/// Everything that must be true of the network once the victim has been deleted.
fn is_sound(net: &Net, place: &str) {
    let del = net.call(&ours(), "DEL", "victim");
    assert!(del.is_ok(), "{place}: {del:?}");
    assert_eq!(victims(net), 0, "{place}");
    assert!(net.call(&ours(), "CHECK", "stays").is_ok(), "{place}");
    assert!(net.call(&ours(), "CHECK", "theirs").is_ok(), "{place}");
    let mut all = BTreeSet::new();
    for n in 0..SIZE - 2 {
        all.extend(net.call(&ours(), "ADD", &format!("more{n}")).addresses());
    }
    assert_eq!(all.len(), 2 * (SIZE - 2), "{place}: no address lost, none given twice");
    let full = net.call(&ours(), "ADD", "toomany").error();
    assert!(full.contains("no IP addresses available in range set"), "{place}: {full}");
    assert_eq!(net.leases().len(), 2 * SIZE, "{place}");
    for n in 0..SIZE - 2 {
        assert!(net.call(&ours(), "DEL", &format!("more{n}")).is_ok(), "{place}");
    }
    assert_eq!(net.leases().len(), 4, "{place}");
    assert!(!net.dir().join("../.ferrule/n/new").exists(), "{place}");
}

/// Makes the next call read the whole directory.
fn disturb(net: &Net) {
    let path = net.dir().join("foreign");
    fs::write(&path, "").unwrap();
    fs::remove_file(path).unwrap();
}

fn kill_everywhere(net: &Net, command: &str, disturbed: bool) {
    let add = || assert!(net.call(&ours(), "ADD", "victim").is_ok());
    if command == "DEL" {
        add();
    }
    if disturbed {
        disturb(net);
    }
    let calls = calls(net, command);
    let (mut killed, mut middle) = (0, 0);
    for (name, (count, _)) in calls {
        for n in 1..=count {
            net.call(&ours(), "DEL", "victim");
            if command == "DEL" {
                add();
            }
            if disturbed {
                disturb(net);
            }
            let inject = format!("inject={name}:signal=SIGKILL:when={n}");
            let place = format!("{command} killed before {name} {n}");
            let answer =
                strace(net, &["-o".into(), "/dev/null".into(), "-e".into(), inject], command);
            killed += usize::from(answer.signal == Some(9));
            let left = victims(net);
            middle += usize::from(left == 1);
            // A lease is whole or absent: what is neither of these is torn.
            let whole = ["stays\r\neth0", "theirs\r\neth0", "victim\r\neth0"];
            assert!(
                net.leases().values().all(|l| whole.contains(&&**l)),
                "{place}: {:?}",
                net.leases()
            );
            // A runtime may also ADD again at once: refused when a lease is left, else served.
            let again = net.call(&ours(), "ADD", "victim");
            assert_eq!(again.is_ok(), left == 0, "{place}: {again:?}");
            is_sound(net, &place);
        }
    }
    assert!(killed > 30, "{killed} of the calls were killed");
    assert!(middle > 3, "{middle} left one of two leases");
}

#[test]
fn killed_at_every_step_of_add() {
    kill_everywhere(&net(), "ADD", false);
}

#[test]
fn killed_at_every_step_of_del() {
    kill_everywhere(&net(), "DEL", false);
}

#[test]
fn killed_at_every_step_of_the_first_add() {
    let seen = net();
    for (name, (count, _)) in calls(&seen, "ADD") {
        for n in 1..=count {
            // Nothing exists yet.
            let net = Net::new(&seen.conf()["ipam"]);
            let inject = format!("inject={name}:signal=SIGKILL:when={n}");
            strace(&net, &["-o".into(), "/dev/null".into(), "-e".into(), inject], "ADD");
            assert!(net.call(&ours(), "DEL", "victim").is_ok());
            assert_eq!(victims(&net), 0, "{name} {n}");
            for n in 0..SIZE {
                net.call(&ours(), "ADD", &format!("more{n}")).addresses();
            }
        }
    }
}

/// System calls on files: those that a full or failing disk can refuse.
const FILES: [&str; 14] = [
    "openat",
    "read",
    "write",
    "pread64",
    "pwrite64",
    "renameat2",
    "rename",
    "utimensat",
    "flock",
    "unlink",
    "mkdir",
    "ftruncate",
    "statx",
    "getdents64",
];

fn fail_everywhere(net: &Net, command: &str, disturbed: bool) {
    let add = || assert!(net.call(&ours(), "ADD", "victim").is_ok());
    if command == "DEL" {
        add();
    }
    if disturbed {
        disturb(net);
    }
    let calls = calls(net, command);
    let mut failed = 0;
    for (name, (count, before)) in calls.iter().filter(|(name, _)| FILES.contains(&&***name)) {
        for n in before + 1..=*count {
            for errno in ["ENOSPC", "EIO", "EACCES"] {
                net.call(&ours(), "DEL", "victim");
                if command == "DEL" {
                    add();
                }
                if disturbed {
                    disturb(net);
                }
                let inject = format!("inject={name}:error={errno}:when={n}");
                let place = format!("{command} with {errno} of {name} {n}");
                let options = ["-o".into(), "/dev/null".into(), "-e".into(), inject];
                let answer = strace(net, &options, command);
                assert!(matches!(answer.code, Some(0 | 1)), "{place}: {answer:?}");
                failed += usize::from(!answer.is_ok());
                let left = victims(net);
                if command == "ADD" {
                    let expected = if answer.is_ok() { 2 } else { 0 };
                    assert_eq!(left, expected, "{place}: {answer:?}");
                } else if answer.is_ok() {
                    assert_eq!(left, 0, "{place}");
                }
                // With nothing on stdout only a failing stdout itself.
                let told = answer.document["msg"].is_string() || answer.is_ok() || name == "write";
                assert!(told, "{place}: {answer:?}");
                is_sound(net, &place);
            }
        }
    }
    assert!(failed > 3, "{failed} calls failed");
}

#[test]
fn failing_at_every_step_of_add() {
    fail_everywhere(&net(), "ADD", false);
}

#[test]
fn failing_at_every_step_of_del() {
    fail_everywhere(&net(), "DEL", false);
}

#[test]
fn killed_at_every_step_of_reading_the_whole_directory() {
    kill_everywhere(&net(), "ADD", true);
    kill_everywhere(&net(), "DEL", true);
}

#[test]
fn failing_at_every_step_of_reading_the_whole_directory() {
    fail_everywhere(&net(), "ADD", true);
    fail_everywhere(&net(), "DEL", true);
}
