//! Waiting.

use crate::common::{in_netns, look, new_bridge, open};
use net::{address, link};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes, on any machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn waiting_ends_with_the_words() {
    in_netns(|| {
        let mut socket = open();
        new_bridge(&mut socket, "br");
        let patience = Duration::from_millis(30);
        let began = Instant::now();
        let verb = link::by_name("br");
        let error = socket.wait(&verb, "see br sing", patience, |_| false).unwrap_err();
        // poll(2) counts whole milliseconds.
        assert!(began.elapsed() + Duration::from_millis(1) >= patience);
        assert_eq!(error.what, "see br sing");
        assert_eq!(error.reason, "it took longer than 30ms");
        assert!(error.to_string().starts_with("see br sing: ") && !error.is_gone(), "{error}");
        let all = link::list();
        let error = socket.wait_all(&all, "see many", patience, |links| links.len() > 9);
        assert_eq!(error.unwrap_err().reason, "it took longer than 30ms");
        assert_eq!(look(&mut socket, "br").name, "br", "the socket still serves");
    });
}

#[test]
fn what_is_so_already_is_not_waited_for() {
    in_netns(|| {
        let mut socket = open();
        new_bridge(&mut socket, "br");
        socket.wait(&link::by_name("br"), "see br", Duration::ZERO, |link| link.up).unwrap();
    });
}

/// Runs `change` once the other thread has looked twice and so waits for the kernel to wake it.
fn once_it_waits(looks: &Receiver<()>, change: impl FnOnce()) {
    for _ in 0..2 {
        looks.recv_timeout(PATIENCE).unwrap();
    }
    change();
}

#[test]
fn a_change_of_a_link_wakes_who_waits() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let (look, looks) = channel();
        let mut waiting = open();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                waiting
                    .wait(&link::by_name("br"), "see it", PATIENCE, |link| {
                        look.send(()).unwrap();
                        link.alias == "now"
                    })
                    .unwrap();
                crate::common::look(&mut waiting, "br")
            });
            once_it_waits(&looks, || socket.set(&link::set_alias(index, "now", "br")).unwrap());
            assert_eq!(waiter.join().unwrap().alias, "now", "the socket still serves");
        });
        assert!(began.elapsed() < PATIENCE / 2, "woken, and not by the clock");
    });
}

#[test]
fn an_ipv6_address_wakes_who_waits_for_all() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let (look, looks) = channel();
        let mut waiting = open();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                waiting.wait_all(&address::of_link(index), "see it", PATIENCE, |all| {
                    look.send(()).unwrap();
                    all.iter().any(|found| found.global)
                })
            });
            let address = "fd00::1/64".parse().unwrap();
            once_it_waits(&looks, || socket.set(&address::add(index, address, false)).unwrap());
            let all = waiter.join().unwrap().unwrap();
            assert!(all.iter().any(|found| found.address == address), "{all:?}");
        });
        assert!(began.elapsed() < PATIENCE / 2, "woken, and not by the clock");
    });
}

#[test]
fn waiting_for_a_link_ends_when_it_goes() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let (look, looks) = channel();
        let mut waiting = open();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                waiting.wait(&link::by_name("br"), "see it", PATIENCE, |_| {
                    look.send(()).unwrap();
                    false
                })
            });
            once_it_waits(&looks, || socket.set(&link::del(index, "br")).unwrap());
            let gone = waiter.join().unwrap().unwrap_err();
            assert!(gone.is_gone(), "{gone}");
        });
    });
}

#[test]
fn a_missing_link_is_not_waited_for() {
    in_netns(|| {
        let error = open().wait(&link::by_name("none"), "see it", PATIENCE, |_| true).unwrap_err();
        assert!(error.is_gone(), "{error}");
    });
}
