//! Process namespaces of nodes, which end with a test.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::background::Background;
use crate::node::{Node, Place};

/// A process namespace of a node, with the node's /proc; whatever runs in it ends with this.
pub struct Pidns {
    file: File,
    init: Background,
}

impl Pidns {
    /// A new one. From here on the node's /proc shows these processes alone.
    pub fn new(node: &Node) -> Self {
        let mut command = Command::new("unshare");
        // The shell also takes in what others left behind.
        let script = "mount -t proc proc /proc; : >/run/.init
            while :; do sleep 86400 & wait $!; done";
        command.args(["--pid", "--fork", "--kill-child", "sh", "-ec", script]);
        let init = Background::start(node.ns(), &command);
        let started = || node.exists("/run/.init").then_some(());
        crate::within(Duration::from_secs(10), started).expect("a process namespace starts");
        node.run("rm /run/.init");
        let children = format!("/proc/{}/ns/pid_for_children", init.pid());
        let file = File::open(Path::new(&children)).expect("open the process namespace");
        Self { file, init }
    }

    /// The process that holds it, as this side numbers it.
    pub fn pid(&self) -> u32 {
        self.init.pid()
    }

    /// Runs a command to its end in it and in a node, for at most `seconds`.
    pub fn output(&self, node: &Node, command: &Command, seconds: u32) -> Output {
        let mut limited = Command::new("timeout");
        limited.arg(seconds.to_string()).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            limited.env(key, value.unwrap_or_default());
        }
        node.ns().enter(|| {
            // For the children alone, which is what there will be: from here on this thread
            // cannot make others.
            setns(&self.file, CloneFlags::CLONE_NEWPID).expect("enter the process namespace");
            limited.current_dir("/").stdin(Stdio::null()).output().expect("run timeout (coreutils)")
        })
    }

    /// The open namespace, for [`Background::start_in`].
    pub fn file(&self) -> &File {
        &self.file
    }
}
