//! Plugins that are chained behind bridge: each operation of their ADD and DEL made to fail, and the
//! calls killed at any instant. The pod's own attachment lives on meanwhile.

use std::time::Duration;

use ferrule_tests::chained::{Plugin, Scene, State};
use ferrule_tests::{Attachment, Outcome, long};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;

use crate::report::Counts;
use crate::seam::{Operation, Seam, Victim};
use crate::started::start;

crate::on_each_plugin! {
    each_operation_of_add_fails_once, each_operation_of_del_fails_once, killed_in_add, killed_in_del,
}

/// How many of a call's operations are tried, but for `FERRULE_LONG`.
const STEPS: usize = 12;

/// A scene behind the seam, with the plugin's DEL done.
struct Bench<'a> {
    scene: Scene<'a>,
    victim: Victim,
    previous: Value,
    before: State,
}

impl<'a> Bench<'a> {
    fn new(plugin: &'a Plugin) -> Self {
        let scene = Scene::new(plugin);
        Seam::install(&scene.node);
        let victim = Victim::Behind(plugin.name);
        Seam::install_one(&scene.node, victim);
        let previous = scene.chain().add_before();
        let before = scene.state().without_files(&[Seam::folder()]);
        Self { scene, victim, previous, before }
    }

    /// The plugin's calls, by the executable behind the seam.
    fn attachment(&self) -> Attachment<'_> {
        self.scene.chain().last().clone().by(&Seam::bins())
    }

    fn call(&self, command: &str, result: Option<&Value>) -> Outcome {
        let previous = result.or((command == "ADD").then_some(&self.previous));
        self.attachment().call(command, previous).run(&self.scene.node)
    }

    /// What is not as it was before the plugin's ADD, as text.
    fn left(&self) -> String {
        let now = self.scene.state().without_files(&[Seam::folder()]);
        self.before.difference(&now)
    }

    fn operations(&self, command: &str) -> Vec<Operation> {
        let result = (command == "DEL").then(|| self.call("ADD", None).ok());
        let run = || drop(self.call(command, result.as_ref()).ok());
        let list = Seam::of(&self.scene.node).list(self.victim, run);
        self.call("DEL", None).ok();
        assert_eq!(self.left(), "");
        assert!(list.len() > 10, "{list:#?}");
        list
    }
}

/// Fails each operation in turn; what is wrong is collected.
fn each_operation(plugin: &Plugin, command: &str) {
    let mut bench = Bench::new(plugin);
    let operations = bench.operations(command);
    let stride = if long() { 1 } else { operations.len().div_ceil(STEPS) };
    let (mut counts, mut wrong) = (Counts::default(), vec![]);
    for operation in operations.iter().step_by(stride) {
        let found = step(&bench, command, operation, &mut counts);
        let Operation { name, nth, line } = operation;
        if !found.is_empty() {
            wrong.push(format!("EIO of {name} {nth}: {line}\n    {}", found.join("\n    ")));
            bench = Bench::new(plugin);
        }
    }
    counts.print(&format!("{command} by {}", plugin.name), "how it ended");
    assert!(wrong.is_empty(), "{command}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts.of(|what| what.starts_with("error")) > 0, "no operation failed the call");
}

fn each_operation_of_add_fails_once(plugin: &Plugin) {
    each_operation(plugin, "ADD");
}

fn each_operation_of_del_fails_once(plugin: &Plugin) {
    each_operation(plugin, "DEL");
}

/// One failure, and all that is wrong after it.
fn step(
    bench: &Bench<'_>,
    command: &str,
    operation: &Operation,
    counts: &mut Counts,
) -> Vec<String> {
    let mut wrong = vec![];
    let added = (command == "DEL").then(|| bench.call("ADD", None).ok());
    let run = || bench.call(command, added.as_ref());
    let (outcome, _) = Seam::of(&bench.scene.node).fail(bench.victim, operation, "EIO", run);
    let ok = outcome.code == Some(0);
    let left = bench.left();
    if !ok {
        let text = outcome.err().text();
        // By number: musl has other words for it than glibc.
        if !text.contains("(os error 5)") {
            wrong.push(format!("the cause is not named: {text}"));
        }
    }
    match (command, ok) {
        ("ADD", true) => works(bench, &outcome.ok(), &mut wrong),
        ("ADD", false) => {
            if !left.is_empty() {
                wrong.push(format!("ADD left:\n{left}"));
            }
            let again = bench.call("ADD", None);
            if again.code == Some(0) {
                works(bench, &again.ok(), &mut wrong);
            } else {
                wrong.push(format!("then ADD fails: {}", again.stdout));
            }
        }
        (_, true) if !left.is_empty() => wrong.push(format!("DEL succeeded and left:\n{left}")),
        _ => {}
    }
    counts.add(match (ok, left.is_empty()) {
        (true, _) => "success",
        (false, true) => "error, nothing left",
        (false, false) => "error, something left",
    });
    let last = bench.call("DEL", added.as_ref());
    if last.code != Some(0) {
        wrong.push(format!("the last DEL fails: {}", last.stdout));
    }
    let left = bench.left();
    if !left.is_empty() {
        wrong.push(format!("the last DEL left:\n{left}"));
    }
    wrong
}

/// What succeeded is whole, whatever failed.
fn works(bench: &Bench<'_>, result: &Value, wrong: &mut Vec<String>) {
    let checked = bench.attachment().try_check(result);
    if checked.code != Some(0) {
        wrong.push(format!("ADD succeeded, and CHECK says: {}", checked.stdout));
    }
}

fn killed_in_add(plugin: &Plugin) {
    killed(plugin, "ADD");
}

fn killed_in_del(plugin: &Plugin) {
    killed(plugin, "DEL");
}

/// Kills the call after growing parts of the time that it takes; DEL, GC, or ADD and DEL repair it.
fn killed(plugin: &Plugin, command: &str) {
    let mut bench = Bench::new(plugin);
    let rounds = if long() { 120 } else { 9 };
    let whole = took(&bench, command);
    let mut struck = 0;
    for round in 0..rounds {
        let part = f64::from(round) / f64::from(rounds);
        struck += u32::from(one(&bench, command, whole.mul_f64(part)));
        match round % 3 {
            0 => {}
            // GC does not know the pod: what it cannot reach, DEL does.
            1 => drop(bench.scene.chain().last().gc(&[]).ok()),
            _ => {
                let again = bench.call("ADD", None).ok();
                bench.scene.chain().last().check(&again);
            }
        }
        bench.call("DEL", None).ok();
        // Of a pod that GC does not know, what it had before is lost with the record.
        let (left, after_gc) = (bench.left(), round % 3 == 1);
        let lines = left.lines().filter(|line| !(after_gc && line.starts_with("pod ")));
        let lines: Vec<_> = lines.collect();
        assert!(lines.is_empty(), "{command} killed after {part} of {whole:?} left:\n{lines:#?}");
        if after_gc {
            bench = Bench::new(plugin);
        }
    }
    assert!(struck > 0, "every call was over before it was killed");
}

fn took(bench: &Bench<'_>, command: &str) -> Duration {
    let times = (0..5).map(|_| {
        let result = (command == "DEL").then(|| bench.call("ADD", None).ok());
        let call =
            bench.scene.chain().last().call(command, result.as_ref().or(Some(&bench.previous)));
        let started = start(&bench.scene.node, &call);
        let at = started.at;
        assert!(started.end().success(), "{command}");
        let took = at.elapsed();
        bench.call("DEL", None).ok();
        took
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times[2]
}

/// Kills one call; whether it was before its end.
fn one(bench: &Bench<'_>, command: &str, after: Duration) -> bool {
    let result = (command == "DEL").then(|| bench.call("ADD", None).ok());
    let call = bench.scene.chain().last().call(command, result.as_ref().or(Some(&bench.previous)));
    let started = start(&bench.scene.node, &call);
    while started.at.elapsed() < after {
        std::hint::spin_loop();
    }
    let _ = kill(started.pid(), Signal::SIGKILL);
    started.end().signal() == Some(Signal::SIGKILL as i32)
}
