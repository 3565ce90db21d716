//! Operations that fail from some point on for good, as on a broken file system or in a sandbox:
//! a plain error, and the next DEL leaves nothing.

use ferrule_tests::conf;
use ferrule_tests::node::Place;

use crate::bench::Bench;
use crate::seam::{Operation, Victim};

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
