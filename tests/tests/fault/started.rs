//! A call that runs, to be killed.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use ferrule_tests::node::Place;
use ferrule_tests::{Call, Node, lingering};
use nix::unistd::{Pid, getsid};

/// A running call, in a process group of its own.
pub struct Started {
    /// The process.
    pub child: Child,
    /// When it was started.
    pub at: Instant,
}

/// Starts a call.
pub fn start(node: &Node, call: &Call) -> Started {
    node.ns().enter(|| {
        let mut process = Command::new(&call.exe);
        process.env_clear().envs(&call.env).current_dir("/").process_group(0);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let at = Instant::now();
        let mut child = process.spawn().expect("run a plugin");
        child.stdin.take().expect("a pipe").write_all(&call.stdin).expect("a pipe holds this");
        Started { child, at }
    })
}

impl Started {
    /// The process's number.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The IPAM plugin, as soon as it runs; None when the call ends before.
    pub fn ipam(&mut self) -> Option<Pid> {
        let list = format!("/proc/{0}/task/{0}/children", self.pid());
        loop {
            let children = fs::read_to_string(&list).unwrap_or_default();
            if let Some(child) = children.split_whitespace().next() {
                return child.parse().ok().map(Pid::from_raw);
            }
            if self.child.try_wait().expect("wait for a plugin").is_some() {
                return None;
            }
        }
    }

    /// The process by which DEL deletes the link, as soon as it runs; None when the call ends
    /// before it is seen, or has none.
    pub fn deletion(&mut self, node: &Node) -> Option<Pid> {
        let list = format!("/proc/{0}/task/{0}/children", self.pid());
        let leads = |pid: &Pid| getsid(Some(*pid)) == Ok(*pid);
        loop {
            let children = fs::read_to_string(&list).unwrap_or_default();
            let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
            if let Some(pid) = pids.map(Pid::from_raw).find(leads) {
                return Some(pid);
            }
            if self.child.try_wait().expect("wait for a plugin").is_some() {
                return lingering::of(node.ns()).first().copied();
            }
        }
    }

    /// Waits for its end.
    pub fn end(self) -> ExitStatus {
        self.answer().0
    }

    /// Waits for its end; gives what it wrote to stdout too.
    pub fn answer(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        let _ = self.child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut text));
        (self.child.wait().expect("wait for a plugin"), text)
    }
}
