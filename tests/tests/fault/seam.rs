//! The seam by which a kernel or file operation of an executable fails: strace, from outside. So
//! nothing of it is in the executables, released or not.
//!
//! A folder on CNI_PATH holds, for the plugin and for its IPAM plugin, a script that runs the real
//! one, or strace with the real one. Each is traced alone, so that "the nth" is the nth of one
//! process.

use std::sync::atomic::{AtomicU32, Ordering};

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node};

/// Where the scripts are, in the node's own /run.
const DIR: &str = "/run/seam";

/// The processes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The plugin that the runtime calls.
    Plugin,
    /// The same where it is bgp.
    Bgp,
    /// The IPAM plugin that it runs.
    Ipam,
    /// The same where it is dhcp.
    Dhcp,
    /// A plugin that is chained behind one, by its name.
    Behind(&'static str),
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Self::Plugin => "bridge",
            Self::Bgp => "bgp",
            Self::Ipam => "host-local",
            Self::Dhcp => "dhcp",
            Self::Behind(name) => name,
        }
    }
}

/// The nth of the operations of one name.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The system call's name.
    pub name: String,
    /// Which of that name, from 1.
    pub nth: usize,
    /// How strace shows it.
    pub line: String,
}

/// System calls that are neither of the kernel's network nor of files: memory, signals, the end.
const OTHERS: [&str; 24] = [
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "getrandom",
    "sched_getaffinity",
    "gettid",
    "futex",
    "clock_nanosleep",
    "execve",
    "exit_group",
    // Closing fails only by telling of an earlier failure, and closes.
    "close",
    // How strace writes what is no call.
    "+++ exited with 0 +++",
    "---",
];

/// The seam of a node.
pub struct Seam<'a> {
    node: &'a Node,
}

impl<'a> Seam<'a> {
    /// Puts the scripts in place.
    pub fn install(node: &'a Node) -> Self {
        let strace = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|dir| dir.join("strace").exists())
        });
        assert!(strace, "strace is missing: apt-get install strace");
        for victim in [Victim::Plugin, Victim::Bgp, Victim::Ipam, Victim::Dhcp] {
            Self::install_one(node, victim);
        }
        Self { node }
    }

    /// Puts the script of one executable in place.
    pub fn install_one(node: &Node, victim: Victim) {
        let (name, real) = (victim.name(), Bins::ours().exe(victim.name()));
        // Written once: a script that is being written cannot be run (ETXTBSY).
        // It strikes once: what undoes a failure is not to fail too.
        let with = format!("{DIR}/{name}.with");
        let real = real.display();
        let script = format!("#!/bin/sh\nwith=$(cat {with})\n: >{with}\nexec $with {real}\n");
        node.write(&format!("{DIR}/{name}"), &script);
        node.write(&format!("{DIR}/{name}.with"), "");
        node.sh(&format!("chmod 755 {DIR}/{name}"));
    }

    /// The seam of a node that has one.
    pub fn of(node: &'a Node) -> Self {
        Self { node }
    }

    /// The scripts, as executables.
    pub fn bins() -> Bins {
        Bins::at(DIR.as_ref())
    }

    /// The folder of the scripts, which is no part of the node's state.
    pub fn folder() -> &'static str {
        DIR
    }

    /// Lists the operations of a call on files and on the kernel's network, from the first that
    /// has to do with the call: what comes before is the start of a process.
    pub fn list(&self, victim: Victim, call: impl FnOnce()) -> Vec<Operation> {
        let log = self.arm(victim, "-e trace=all");
        call();
        self.disarm(victim);
        let text = self.node.read(&log);
        self.node.sh(&format!("rm {log}"));
        operations(&text)
    }

    /// Makes one operation fail during a call; gives how strace shows the one that it came to, if
    /// it came to one.
    pub fn fail<T>(
        &self,
        victim: Victim,
        operation: &Operation,
        errno: &str,
        call: impl FnOnce() -> T,
    ) -> (T, Option<String>) {
        let Operation { name, nth, .. } = operation;
        let inject = format!("-e trace={name} -e inject={name}:error={errno}:when={nth}");
        self.inject(victim, &inject, call)
    }

    /// Makes an operation and all later ones of its name fail, as a broken file system does. A call
    /// that does not end is killed after 100 s.
    pub fn fail_from<T>(
        &self,
        victim: Victim,
        operation: &Operation,
        errno: &str,
        call: impl FnOnce() -> T,
    ) -> (T, Option<String>) {
        let Operation { name, nth, .. } = operation;
        let inject = format!("-e trace={name} -e inject={name}:error={errno}:when={nth}+");
        self.inject(victim, &inject, call)
    }

    /// Makes every open(2) of a file fail during a call; as [`Seam::fail`].
    pub fn fail_to_open<T>(
        &self,
        victim: Victim,
        path: &str,
        errno: &str,
        call: impl FnOnce() -> T,
    ) -> (T, Option<String>) {
        let inject = format!("-P {path} -e trace=open,openat -e inject=open,openat:error={errno}");
        self.inject(victim, &inject, call)
    }

    /// Holds each process of the plugin for a while at its first socket: of DEL the plugin itself,
    /// and then the process that deletes the link, before its request. The call ends after both.
    pub fn hold<T>(&self, victim: Victim, micros: u32, call: impl FnOnce() -> T) -> T {
        let what = format!("-e trace=socket -e inject=socket:delay_enter={micros}:when=1");
        self.in_children(victim, &what, call)
    }

    /// Makes every listing of open descriptors fail, which only the process does that deletes the
    /// link.
    pub fn fail_to_list<T>(&self, victim: Victim, errno: &str, call: impl FnOnce() -> T) -> T {
        let what = "-P /proc/self/fd -e trace=open,openat -e inject=open,openat:error=";
        self.in_children(victim, &format!("{what}{errno}"), call)
    }

    fn in_children<T>(&self, victim: Victim, what: &str, call: impl FnOnce() -> T) -> T {
        let log = self.arm(victim, &format!("-f -b execve {what}"));
        let answer = call();
        self.disarm(victim);
        self.node.sh(&format!("rm {log}"));
        answer
    }

    fn inject<T>(
        &self,
        victim: Victim,
        inject: &str,
        call: impl FnOnce() -> T,
    ) -> (T, Option<String>) {
        let log = self.arm(victim, inject);
        let answer = call();
        self.disarm(victim);
        let text = self.node.read(&log);
        self.node.sh(&format!("rm {log}"));
        let struck = text.lines().find(|line| line.ends_with("(INJECTED)")).map(str::to_owned);
        (answer, struck)
    }

    fn arm(&self, victim: Victim, options: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let log = format!("{DIR}/log{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // It is made here, for a call that does not come to run the victim.
        self.node.write(&log, "");
        // Descriptors are shown with what they are: `5<NETLINK:[NETFILTER:71]>`.
        let with = format!("timeout -s KILL 100 strace -qq -yy -s 120 -o {log} {options}");
        self.node.write(&format!("{DIR}/{}.with", victim.name()), &with);
        log
    }

    fn disarm(&self, victim: Victim) {
        self.node.write(&format!("{DIR}/{}.with", victim.name()), "");
    }
}

fn operations(log: &str) -> Vec<Operation> {
    let mut all: Vec<Operation> = vec![];
    let mut started = None;
    for line in log.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        let nth = 1 + all.iter().filter(|operation| operation.name == name).count();
        // The first look at CNI_NETNS, or at stdin.
        if line.starts_with("read(0<") || line.contains("\"/proc/self/fd/0\"") || opens_netns(line)
        {
            started = started.or(Some(all.len()));
        }
        all.push(Operation { name: name.to_owned(), nth, line: line.to_owned() });
    }
    let mut own = all.split_off(started.expect("the call reads its configuration"));
    own.retain(|operation| !OTHERS.contains(&operation.name.as_str()));
    own
}

/// The harness gives namespaces as descriptors of its own process.
fn opens_netns(line: &str) -> bool {
    line.starts_with("openat(") && line.contains(&format!("\"/proc/{}/fd/", std::process::id()))
}
