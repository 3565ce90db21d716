//! Network namespaces of one's own, and the usual tools in them. The tests of the bridge plugin
//! compile this file and `alter.rs` too.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;

/// What each test's thread does first.
fn unshared() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
}

/// Runs a test in a network namespace that vanishes with its thread; threads and processes
/// started from it are in it too.
pub fn in_netns<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        unshared();
        // Whether a link-local address is there yet, and tentative, is a matter of moments.
        set("net/ipv6/conf/default/addr_gen_mode", "1");
        test()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A pod's network namespace, which lives as long as it is held.
pub struct Pod(File);

impl Pod {
    pub fn new() -> Pod {
        let made = || {
            unshared();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Pod(std::thread::spawn(made).join().unwrap())
    }

    /// A path that leads to it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Runs a shell script in it and gives what it prints.
    pub fn sh(&self, script: &str) -> String {
        std::thread::scope(|scope| {
            let inside = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                sh(script)
            };
            scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Sets a sysctl of the thread's namespace.
pub fn set(key: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{key}"), value).unwrap();
}

/// Runs a shell script in the thread's namespace and gives what it prints.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    for (tool, package) in [("ip", "iproute2"), ("bridge", "iproute2"), ("nft", "nftables")] {
        let missing = stderr.contains(&format!("{tool}: not found"));
        assert!(!missing, "the tool {tool} is missing: apt-get install {package}");
    }
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that a plan could have left, to compare.
const STATE: &str = "ip -d link; ip addr; ip route show table all; ip -6 route show table all
    nft -s list ruleset";

/// Its lines, without what counts down.
fn steady(state: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words = Vec::new();
        let mut all = line.split_whitespace();
        while let Some(word) = all.next() {
            words.push(word);
            if word.ends_with("_timer") {
                all.next();
            }
        }
        words.join(" ")
    };
    state.lines().map(line).collect()
}

/// The state of the thread's namespace.
pub fn state() -> Vec<String> {
    steady(&sh(STATE))
}

impl Pod {
    /// The state of the pod's namespace.
    pub fn state(&self) -> Vec<String> {
        steady(&self.sh(STATE))
    }
}

/// Asserts that two states have the same lines, and shows where they have not. How often a line
/// stands there is not compared: on a busy machine the kernel's own IPv6 routes come twice for a
/// moment.
#[track_caller]
pub fn assert_same(before: &[String], after: &[String], what: &str) {
    let not_in = |lines: &[String], all: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !all.contains(line)).cloned().collect()
    };
    let (lost, new) = (not_in(before, after), not_in(after, before));
    assert!(lost.is_empty() && new.is_empty(), "{what}\nlost: {lost:#?}\nnew: {new:#?}");
}
