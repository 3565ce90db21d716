//! Dumps that another's change interrupts (NLM_F_DUMP_INTR).

use crate::common::{in_netns, look, open};
use net::{Link, Mac, link};
use std::collections::BTreeSet;

/// More links than five parts of a dump hold. A part is made when the one before it is read, so
/// that a change after the first one is seen by the third.
const LINKS: usize = 100;

/// Lists all links while a link is added in the midst of each of the first `changes` dumps; gives
/// how many dumps it took and what they found.
fn list_beside(changes: usize) -> (usize, net::Result<Vec<Link>>) {
    let (mut socket, mut other) = (open(), open());
    let bridge = |name: &str| link::add_bridge(name, Mac::random(), None, false);
    for at in 0..LINKS {
        socket.set(&bridge(&format!("br{at}"))).unwrap();
    }
    let mut dumps = 0;
    // The loopback is the first of each dump.
    let found = socket.fold(&link::list(), |all: &mut Vec<Link>, link| {
        if link.name == "lo" {
            dumps += 1;
            if dumps <= changes {
                other.set(&bridge(&format!("late{dumps}"))).unwrap();
            }
        }
        all.push(link);
    });
    assert_eq!(look(&mut socket, "lo").name, "lo", "the socket still serves");
    (dumps, found)
}

#[test]
fn an_interrupted_dump_is_taken_again_and_whole() {
    for changes in [0, 1, 3] {
        in_netns(move || {
            let (dumps, found) = list_beside(changes);
            assert_eq!(dumps, changes + 1);
            let found = found.unwrap();
            let names: BTreeSet<&str> = found.iter().map(|link| link.name.as_str()).collect();
            let all = 1 + LINKS + changes;
            assert_eq!((names.len(), found.len()), (all, all));
        });
    }
}

/// It is an error, and not half a list.
#[test]
fn a_dump_that_is_always_interrupted_ends() {
    in_netns(|| {
        let (dumps, found) = list_beside(usize::MAX);
        let error = found.unwrap_err();
        assert_eq!(error.errno, libc::EINTR);
        assert!(error.to_string().contains("other changes interrupted every dump"), "{error}");
        assert!((2..100).contains(&dumps), "{dumps}");
    });
}
