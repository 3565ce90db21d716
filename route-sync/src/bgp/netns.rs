//! Tests that speak TCP or ask the kernel do it in network namespaces of their own, where every port
//! is free.

use nix::sched::{CloneFlags, unshare};

/// Moves this thread, which is the test's, to one that vanishes with it; its loopback device is up.
pub fn enter() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
    net::Socket::open().unwrap().set(&net::link::set_up(1, "lo")).unwrap();
}
