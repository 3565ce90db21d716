//! Operations that fail from some point on for good, as on a broken file system or in a sandbox:
//! each call ends in bounded time with one document, and the next DEL leaves nothing.

use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Outcome, conf, long};

use crate::bench::Bench;
use crate::seam::{Operation, Victim};

/// The first operation of each name.
fn firsts(operations: Vec<Operation>) -> Vec<Operation> {
    let mut firsts: Vec<Operation> = vec![];
    for operation in operations {
        if firsts.iter().all(|first| first.name != operation.name) {
            firsts.push(operation);
        }
    }
    firsts
}

/// The call whose operations fail; DEL, GC and CHECK of a pod that was added.
fn call(attachment: &Attachment, command: &str, added: Option<&serde_json::Value>) -> Outcome {
    match command {
        "GC" => attachment.gc(&[]),
        "CHECK" => attachment.try_check(added.unwrap()),
        "DEL" => attachment.try_del(added),
        _ => attachment.try_add(),
    }
}

fn every_operation(command: &str) {
    let config = conf::full();
    let bench = Bench::used(&config);
    let attachment = bench.attach(&config);
    let before = || (command != "ADD").then(|| attachment.add());
    let added = before();
    let list =
        bench.seam().list(Victim::Plugin, || drop(call(&attachment, command, added.as_ref())));
    attachment.del(added.as_ref());
    // An error that cannot be written to stdout cannot be reported.
    let reportable = firsts(list).into_iter().filter(|operation| operation.name != "write");
    for (nth, operation) in reportable.enumerate() {
        // EAGAIN of flock(2) is another call at work, for which a minute is waited.
        let all = [("EIO", true), ("EAGAIN", operation.name != "flock")];
        let errors =
            all.iter().filter(|(_, tried)| *tried).skip(usize::from(!long() && nth % 2 == 1));
        for (errno, _) in errors.take(if long() { 2 } else { 1 }) {
            let added = before();
            let (outcome, _) = bench.seam().fail_from(Victim::Plugin, &operation, errno, || {
                call(&attachment, command, added.as_ref())
            });
            let place = format!("{command}, {errno} from {} on", operation.line);
            if outcome.code != Some(0) {
                let error = outcome.err();
                assert_ne!(error.code, 999, "{place}: {error:?}");
            }
            let last = attachment.try_del(None);
            assert_eq!(last.code, Some(0), "{place}, then {last:?}");
            let left = bench.left();
            assert!(left.is_nothing(), "{place} left:\n{left}");
        }
    }
}

#[test]
fn every_operation_of_add() {
    every_operation("ADD");
}

#[test]
fn every_operation_of_del() {
    every_operation("DEL");
}

#[test]
fn every_operation_of_check() {
    every_operation("CHECK");
}

#[test]
fn every_operation_of_gc() {
    every_operation("GC");
}

/// Nobody else may remove it.
#[test]
fn a_record_that_cannot_be_locked_is_not_left() {
    let config = conf::v4();
    let bench = Bench::used(&config);
    let attachment = bench.attach(&config);
    let list = bench.seam().list(Victim::Plugin, || drop(attachment.add()));
    attachment.del(None);
    let flock = list.into_iter().find(|operation| operation.name == "flock").unwrap();
    for for_ever in [false, true] {
        let seam = bench.seam();
        let add = || attachment.try_add();
        let (outcome, struck) = match for_ever {
            true => seam.fail_from(Victim::Plugin, &flock, "ENOLCK", add),
            false => seam.fail(Victim::Plugin, &flock, "ENOLCK", add),
        };
        assert!(struck.is_some());
        outcome.err().expect(5, "cannot write the attachment's record");
        let left = bench.left();
        assert!(left.is_nothing(), "for ever: {for_ever}: {left}");
    }
}

/// The first is the way into the pod's namespace, the second the way back.
#[test]
fn a_namespace_that_cannot_be_left_is_a_plain_error() {
    let config = conf::full();
    let bench = Bench::used(&config);
    let attachment = bench.attach(&config);
    for nth in 1..=4 {
        let setns = Operation { name: "setns".to_owned(), nth, line: String::new() };
        let add = || attachment.try_add();
        let (outcome, struck) = bench.seam().fail_from(Victim::Plugin, &setns, "EPERM", add);
        assert!(struck.is_some(), "{nth}");
        let wanted =
            if nth % 2 == 1 { "enter network namespace" } else { "return to the node's own" };
        outcome.err().expect(100, wanted);
        attachment.del(None);
        let left = bench.left();
        assert!(left.is_nothing(), "{nth}: {left}");
    }
    let pod = bench.pod.links();
    assert!(pod.is_empty(), "{pod:?}");
}
