//! The process by which DEL deletes a link, and for whose end it does not wait: what it holds, and
//! what becomes of a DEL when it, or the plugin, or both are killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Pod, conf, lingering, within};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::fstat;
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::Bench;
use crate::seam::{Operation, Victim};
use crate::started::{Started, start};
use crate::{gateway, routed};

/// How long the process is held before its request.
const HELD_MICROS: u32 = 3_000_000;

/// The networks, each with the executable that attaches to it.
fn networks() -> [(Value, Victim); 2] {
    [(conf::full(), Victim::Plugin), (routed(&conf::full()), Victim::Bgp)]
}

/// A DEL whose deletion is held before its request.
struct Held {
    started: Started,
    plugin: Pid,
    deletion: Pid,
}

/// Adds a pod and starts such a DEL.
fn hold(bench: &Bench, network: &Value, victim: Victim) -> Held {
    let attachment = bench.attach(network);
    attachment.add();
    let path = std::env::var("PATH").unwrap_or_default();
    let call = attachment.call("DEL", None).env("PATH", &path);
    let seam = bench.seam();
    seam.hold(victim, HELD_MICROS, || {
        let started = start(&bench.node, &call);
        // One of an earlier DEL has another parent.
        let of_this = |deletion: Pid| {
            let plugin = lingering::parent(deletion)?;
            let (one, other) = (lingering::name(plugin), lingering::name(deletion));
            (one == other).then_some((plugin, deletion))
        };
        let found = || lingering::of(bench.node.ns()).into_iter().find_map(of_this);
        let (plugin, deletion) =
            within(Duration::from_secs(10), found).expect("DEL deletes a link");
        Held { started, plugin, deletion }
    })
}

fn end(pid: Pid) {
    kill(pid, Signal::SIGKILL).expect("it is there");
}

#[track_caller]
fn nothing_left(bench: &Bench) {
    let left = bench.left();
    assert!(left.is_nothing(), "{left}");
}

/// The next pod of the same name works, and nothing is left of it.
fn next_works(bench: &Bench, network: &Value) {
    let attachment = bench.attach_plainly(network);
    let result = attachment.add();
    ping(&bench.pod, gateway(network));
    attachment.check(&result);
    attachment.del(Some(&result));
    nothing_left(bench);
}

#[test]
fn killed_before_its_request_leaves_the_work_to_del() {
    for (network, victim) in networks() {
        let bench = Bench::used(&network);
        let held = hold(&bench, &network, victim);
        end(held.deletion);
        let (status, answer) = held.started.answer();
        assert!(status.success(), "{answer}");
        nothing_left(&bench);
        next_works(&bench, &network);
    }
}

/// The request of a DEL that was killed comes late: it names the old link by its index, and the
/// next pod's link of the same name stays.
#[test]
fn it_holds_no_lock_and_a_late_request_does_no_harm() {
    for (network, victim) in networks() {
        let bench = Bench::used(&network);
        let held = hold(&bench, &network, victim);
        end(held.plugin);
        let records = "for file in /run/ferrule/attachments/*; do flock -n $file true; done";
        let locks = || bench.node.ns().enter(|| Command::new("sh").args(["-ec", records]).status());
        let free = || locks().is_ok_and(|status| status.success()).then_some(());
        within(Duration::from_secs(2), free).expect("the lock of the record is free");
        let attachment = bench.attach_plainly(&network);
        attachment.del(None);
        let result = attachment.add();
        assert!(kill(held.deletion, None).is_ok(), "the process is held all the while");
        held.started.end();
        ping(&bench.pod, gateway(&network));
        attachment.check(&result);
        attachment.del(Some(&result));
        nothing_left(&bench);
    }
}

#[test]
fn it_finishes_where_the_plugin_was_killed() {
    for (network, victim) in networks() {
        let bench = Bench::used(&network);
        let held = hold(&bench, &network, victim);
        end(held.plugin);
        held.started.end();
        assert_eq!(bench.node.veths(), Vec::<String>::new());
        assert_eq!(bench.pod.links(), Vec::<String>::new());
        bench.attach_plainly(&network).del(None);
        nothing_left(&bench);
    }
}

#[test]
fn killed_with_the_plugin_the_next_del_or_gc_finishes() {
    for (network, victim) in networks() {
        for by_gc in [false, true] {
            let bench = Bench::used(&network);
            let held = hold(&bench, &network, victim);
            end(held.plugin);
            end(held.deletion);
            held.started.end();
            assert_eq!(bench.node.veths().len(), 1, "the link is not deleted yet");
            let attachment = bench.attach_plainly(&network);
            if by_gc {
                attachment.gc(&[]).ok();
            } else {
                attachment.del(None);
            }
            nothing_left(&bench);
            next_works(&bench, &network);
        }
    }
}

/// DEL ended with the link out of sight; the kernel is not done with it.
#[test]
fn killed_after_del_leaves_nothing() {
    for (network, _) in networks() {
        let bench = Bench::used(&network);
        let attachment = bench.attach_plainly(&network);
        let mut killed = 0;
        for _ in 0..50 {
            attachment.add();
            attachment.del(None);
            for pid in lingering::of(bench.node.ns()) {
                killed += usize::from(kill(pid, Signal::SIGKILL).is_ok());
            }
            if killed >= 5 {
                break;
            }
        }
        assert!(killed > 0, "no DEL left a process behind");
        nothing_left(&bench);
        next_works(&bench, &network);
    }
}

/// Without a descriptor to spare it opens no socket.
#[test]
fn its_error_is_the_error_of_del() {
    for (network, victim) in networks() {
        let bench = Bench::used(&network);
        let held = hold(&bench, &network, victim);
        bench.node.run(&format!("prlimit --nofile=0:0 --pid {}", held.deletion));
        let (status, answer) = held.started.answer();
        assert!(!status.success(), "{answer}");
        let error: Value = serde_json::from_str(&answer).expect("one JSON document");
        let text = format!("{}; {}", error["msg"], error["details"]);
        assert!(text.contains("delete link veth") && text.contains("(os error 24)"), "{text}");
        bench.attach_plainly(&network).del(None);
        nothing_left(&bench);
    }
}

#[test]
fn without_a_list_of_its_descriptors_it_deletes_the_link() {
    for (network, victim) in networks() {
        let bench = Bench::used(&network);
        bench.attach(&network).add();
        bench.seam().fail_to_list(victim, "EACCES", || bench.attach(&network).del(None));
        nothing_left(&bench);
    }
}

/// What a process has open, as /proc shows it.
fn descriptors(pid: Pid) -> Vec<String> {
    let listed = fs::read_dir(lingering::folder(pid).join("fd")).into_iter().flatten().flatten();
    let targets = listed.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

/// Makes a DEL as a runtime does that waits for the end of file on stdout and stderr, and then for
/// the process; gives the names of both pipes.
fn del_to_the_end_of_file(bench: &Bench, attachment: &Attachment) -> BTreeSet<String> {
    let call = attachment.call("DEL", None);
    bench.node.ns().enter(|| {
        let mut process = Command::new(&call.exe);
        process.env_clear().envs(&call.env).current_dir("/");
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().expect("run a plugin");
        child.stdin.take().expect("a pipe").write_all(&call.stdin).expect("a pipe holds this");
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let name = |fd| format!("pipe:[{}]", fstat(fd).expect("stat a pipe").st_ino);
        let names = BTreeSet::from([name(out.as_fd()), name(err.as_fd())]);
        let mut text = String::new();
        out.read_to_string(&mut text).expect("read stdout");
        err.read_to_string(&mut text).expect("read stderr");
        assert!(child.wait().expect("wait for a plugin").success(), "{text}");
        names
    })
}

/// The end of file comes while the process is still there, which holds nothing but its sockets and
/// the pipe of its report.
#[test]
fn a_runtime_that_waits_for_the_end_of_file_does_not_wait_for_it() {
    for (network, _) in networks() {
        let bench = Bench::used(&network);
        let attachment = bench.attach_plainly(&network);
        let mut seen = 0;
        for _ in 0..50 {
            attachment.add();
            let standard = del_to_the_end_of_file(&bench, &attachment);
            for pid in lingering::of(bench.node.ns()) {
                let open = descriptors(pid);
                let plain =
                    |name: &&String| name.starts_with("socket:") || name.starts_with("pipe:");
                assert_eq!(open.iter().find(|name| !plain(name)), None, "{open:?}");
                assert!(open.iter().all(|name| !standard.contains(name)), "{open:?}");
                seen += usize::from(!open.is_empty());
            }
            if seen >= 5 {
                break;
            }
        }
        assert!(seen > 0, "no DEL left a process behind");
        nothing_left(&bench);
    }
}

#[test]
fn a_runtime_that_kills_the_process_group_after_del_harms_nothing() {
    for (network, _) in networks() {
        let bench = Bench::used(&network);
        let attachment = bench.attach_plainly(&network);
        for _ in 0..10 {
            attachment.add();
            let started = start(&bench.node, &attachment.call("DEL", None));
            let group = started.pid();
            assert!(started.end().success());
            let deletions = lingering::of(bench.node.ns());
            assert!(killpg(group, Signal::SIGKILL).is_err(), "a process of the group is left");
            drop(deletions);
            nothing_left(&bench);
        }
        next_works(&bench, &network);
    }
}

fn starts(operations: &[Operation]) -> usize {
    let forks = |operation: &&Operation| {
        operation.name == "fork" || operation.line.contains("flags=SIGCHLD")
    };
    operations.iter().filter(forks).count()
}

#[test]
fn a_call_starts_no_more_of_them_than_it_deletes_links() {
    for (network, victim) in networks() {
        let bench = Bench::used(&network);
        let attachment = bench.attach(&network);
        let list = |call: &dyn Fn()| starts(&bench.seam().list(victim, call));
        assert_eq!(list(&|| drop(attachment.add())), 0, "ADD");
        assert_eq!(list(&|| attachment.del(None)), 1, "DEL");
        assert_eq!(list(&|| attachment.del(None)), 0, "DEL of nothing");
        let pods: Vec<Pod> = (0..3).map(|_| Pod::new()).collect();
        pods.iter().for_each(|pod| drop(bench.node.attach(&network, pod).add()));
        assert!(list(&|| drop(attachment.gc(&[]).ok())) <= 3, "GC");
        nothing_left(&bench);
    }
}
