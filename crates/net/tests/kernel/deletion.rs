//! Deleting a link without waiting for its last readers.

use std::fs::File;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;

use crate::common::{in_netns, ip, look, new_bridge, new_netns, open, open_in, pod, veth};
use net::link;

#[test]
fn both_ends_of_a_veth_pair_are_out_of_sight() {
    in_netns(|| {
        let mut socket = open();
        let (_netns, mut inside, _) = pod(&mut socket);
        let near = look(&mut socket, "near");
        net::delete(&near, &[]).unwrap();
        assert!(socket.get(&link::by_name("near")).unwrap().is_none());
        assert!(inside.get(&link::by_name("far")).unwrap().is_none());
    });
}

#[test]
fn the_names_are_free_at_once() {
    in_netns(|| {
        let mut socket = open();
        let master = new_bridge(&mut socket, "br");
        let netns = new_netns();
        for _ in 0..50 {
            socket.set(&link::add_veth(&veth(master), &netns)).unwrap();
            net::delete(&look(&mut socket, "near"), &[]).unwrap();
        }
        assert!(open_in(&netns).get(&link::by_name("far")).unwrap().is_none());
    });
}

#[test]
fn a_link_that_is_gone_is_no_error() {
    in_netns(|| {
        let mut socket = open();
        ip("link add near type veth peer name far");
        let near = look(&mut socket, "near");
        ip("link del near");
        net::delete(&near, &[]).unwrap();
    });
}

#[test]
fn a_refusal_is_an_error_in_the_kernels_words() {
    in_netns(|| {
        let lo = look(&mut open(), "lo");
        let error = net::delete(&lo, &[]).unwrap_err();
        assert_eq!((error.errno, error.what.as_str()), (libc::EOPNOTSUPP, "delete link lo"));
        assert!(look(&mut open(), "lo").index == 1);
    });
}

/// The kernel lets every process of a namespace listen; a notification about another link does not
/// end the wait.
#[test]
fn other_links_that_go_do_not_end_the_wait() {
    in_netns(|| {
        let mut socket = open();
        for i in 0..20 {
            ip(&format!("link add a{i} type veth peer name b{i}"));
        }
        let links: Vec<_> = (0..20).map(|i| look(&mut socket, &format!("a{i}"))).collect();
        std::thread::scope(|scope| {
            for one in &links {
                scope.spawn(|| {
                    net::delete(one, &[]).unwrap();
                    assert!(open().get(&link::by_index(one.index)).unwrap().is_none());
                });
            }
        });
    });
}

/// Deletes a link by a process that keeps one end of a pipe; the other end is at its end once the
/// process let go.
fn delete_holding(socket: &mut net::Socket) -> PipeReader {
    ip("link add near type veth peer name far");
    let (reader, writer) = pipe().unwrap();
    net::delete(&look(socket, "near"), &[writer.as_fd()]).unwrap();
    reader
}

fn is_open(writer: &PipeReader) -> bool {
    let mut fds = [nix::poll::PollFd::new(writer.as_fd(), nix::poll::PollFlags::empty())];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 0
}

#[test]
fn the_process_holds_what_others_hand_over_and_closes_it_in_the_end() {
    in_netns(|| {
        let mut socket = open();
        let mut held = 0;
        for _ in 0..50 {
            let mut own = delete_holding(&mut socket);
            let (mut other, writer) = pipe().unwrap();
            let handed = net::hand_over(writer.as_fd());
            drop(writer);
            held += usize::from(handed && is_open(&other));
            // Nothing is written: this returns at the end of file.
            assert_eq!(own.read(&mut [0]).unwrap(), 0);
            assert_eq!(other.read(&mut [0]).unwrap(), 0);
            if held >= 3 {
                break;
            }
        }
        assert!(held > 0, "nothing was held");
    });
}

#[test]
fn a_process_is_started_to_hold_where_there_is_none_and_closes_all_in_the_end() {
    in_netns(|| {
        let (mut first, writer) = pipe().unwrap();
        net::leave(&[writer.as_fd()]);
        drop(writer);
        assert!(is_open(&first));
        let (mut second, writer) = pipe().unwrap();
        net::leave(&[writer.as_fd()]);
        drop(writer);
        // Nothing is written: these return at the end of file.
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn nothing_is_handed_over_where_no_process_holds() {
    in_netns(|| assert!(!net::hand_over(File::open("/dev/null").unwrap().as_fd())));
}
