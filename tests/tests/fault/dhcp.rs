//! The plugin dhcp under bridge: each operation of its ADD and DEL made to fail, its calls and bridge's
//! killed at any instant. No lease outlives its pod, neither with the daemon nor on disk.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use ferrule_tests::dhcp::bench::Bench;
use ferrule_tests::dhcp::lan::Lan;
use ferrule_tests::{Outcome, long};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::report::Counts;
use crate::seam::{Operation, Seam, Victim};
use crate::started::start;

/// How many of a call's operations are tried, but for `FERRULE_LONG`.
const STEPS: usize = 12;

fn call(bench: &Bench<'_>, command: &str, result: Option<&Value>) -> Outcome {
    bench.attach_by(&Seam::bins()).call(command, result).run(&bench.lan.node)
}

fn operations(bench: &Bench<'_>, command: &str) -> Vec<Operation> {
    let result = (command == "DEL").then(|| call(bench, "ADD", None).ok());
    let run = || drop(call(bench, command, result.as_ref()).ok());
    let list = Seam::of(&bench.lan.node).list(Victim::Dhcp, run);
    call(bench, "DEL", None).ok();
    bench.is_clean(None);
    assert!(list.len() > 5, "{list:#?}");
    list
}

/// Fails each operation in turn; what is wrong is collected.
fn each_operation(command: &str) {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    Seam::install(&lan.node);
    let operations = operations(&bench, command);
    let stride = if long() { 1 } else { operations.len().div_ceil(STEPS) };
    let (mut counts, mut wrong) = (Counts::default(), vec![]);
    for operation in operations.iter().step_by(stride) {
        let found = step(&bench, command, operation, &mut counts);
        if !found.is_empty() {
            let Operation { name, nth, line } = operation;
            wrong.push(format!("EIO of {name} {nth}: {line}\n    {}", found.join("\n    ")));
        }
    }
    counts.print(&format!("{command} by bridge, operations of dhcp"), "how it ended");
    assert!(wrong.is_empty(), "{command}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts.of(|what| what.starts_with("error")) > 0, "no operation failed the call");
}

/// One failure, and all that is wrong after it.
fn step(
    bench: &Bench<'_>,
    command: &str,
    operation: &Operation,
    counts: &mut Counts,
) -> Vec<String> {
    let mut wrong = vec![];
    let added = (command == "DEL").then(|| call(bench, "ADD", None).ok());
    let run = || call(bench, command, added.as_ref());
    let (outcome, _) = Seam::of(&bench.lan.node).fail(Victim::Dhcp, operation, "EIO", run);
    let ok = outcome.code == Some(0);
    let left = bench.left();
    match (command, ok) {
        ("ADD", true) => bench.works(&bench.pod, &outcome.ok()),
        (_, true) if !left.is_empty() => wrong.push(format!("{command} left:\n{left}")),
        ("ADD", false) if !left.is_empty() => {
            let text = outcome.err().text();
            if !text.contains("undoing it failed") {
                wrong.push(format!("{text}\n    left, without a word:\n{left}"));
            }
        }
        _ => {}
    }
    counts.add(match (ok, left.is_empty()) {
        (true, _) => "success",
        (false, true) => "error, nothing left",
        (false, false) => "error, something left",
    });
    let last = call(bench, "DEL", added.as_ref());
    if last.code != Some(0) {
        wrong.push(format!("the last DEL fails: {}", last.stdout));
    }
    let left = bench.left();
    if !left.is_empty() {
        wrong.push(format!("the last DEL left:\n{left}"));
    }
    wrong
}

#[test]
fn each_operation_of_add_fails_once() {
    each_operation("ADD");
}

#[test]
fn each_operation_of_del_fails_once() {
    each_operation("DEL");
}

/// Which process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Bridge,
    Dhcp,
}

/// Kills a process of a call after growing parts of the time that it takes; DEL repairs it, or ADD.
fn killed(command: &str, which: Killed) {
    let lan = Lan::new();
    let bench = Bench::new(&lan);
    let attachment = bench.attach(&bench.pod);
    let took = {
        let begun = std::time::Instant::now();
        let result = attachment.add();
        let added = begun.elapsed();
        attachment.del(Some(&result));
        if command == "ADD" { added } else { begun.elapsed() - added }
    };
    let rounds = if long() { 60 } else { 8 };
    let mut struck = 0;
    for round in 0..rounds {
        let result = (command == "DEL").then(|| attachment.add());
        let after = took.mul_f64(f64::from(round) / f64::from(rounds));
        struck += u32::from(one(&bench, command, result.as_ref(), (which, after)));
        if round % 2 == 1 {
            // A live pod refuses a second ADD; one that was killed in ADD or DEL is made anew.
            let again = attachment.call("ADD", None).run(&lan.node);
            if again.code == Some(0) {
                bench.works(&bench.pod, &again.ok());
            }
        }
        attachment.del(None);
        assert_eq!(bench.left(), "", "{command}: {which:?} killed after {after:?} of {took:?}");
    }
    assert!(struck > 0, "every call was over before it was killed");
}

/// Kills a process of one call; whether it was before its end.
fn one(
    bench: &Bench<'_>,
    command: &str,
    result: Option<&Value>,
    (which, after): (Killed, Duration),
) -> bool {
    let call = bench.attach(&bench.pod).call(command, result);
    let mut started = start(&bench.lan.node, &call);
    let ipam = (which == Killed::Dhcp).then(|| started.ipam());
    while started.at.elapsed() < after {
        std::hint::spin_loop();
    }
    match ipam {
        None => {
            let _ = kill(started.pid(), Signal::SIGKILL);
            started.end().signal() == Some(Signal::SIGKILL as i32)
        }
        Some(ipam) => {
            let was_there = ipam.is_some_and(|pid| kill(pid, Signal::SIGKILL).is_ok());
            was_there && !started.end().success()
        }
    }
}

#[test]
fn bridge_killed_in_add() {
    killed("ADD", Killed::Bridge);
}

#[test]
fn bridge_killed_in_del() {
    killed("DEL", Killed::Bridge);
}

#[test]
fn dhcp_killed_in_add() {
    killed("ADD", Killed::Dhcp);
}
