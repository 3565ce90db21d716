//! Programs that run beside a test, and process namespaces that end with it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::node::{Node, Place};
use crate::ns::Namespace;

/// A running program, killed by its pid when dropped, or with the test process.
pub struct Background {
    child: Child,
    // The death signal follows the thread that spawned: it lives as long as this end.
    _keeper: mpsc::Sender<()>,
}

impl Background {
    /// Starts a command inside the namespaces; what it prints is dropped.
    pub fn start(ns: &Namespace, command: &Command) -> Self {
        Self::start_in(ns, None, command, "/dev/null")
    }

    /// Starts a command, in a process namespace too; what it prints is added to a file there.
    pub fn start_in(ns: &Namespace, pids: Option<&Pidns>, command: &Command, log: &str) -> Self {
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        guarded.args(command.get_args()).stdin(Stdio::null());
        for (key, value) in command.get_envs() {
            guarded.env(key, value.unwrap_or_default());
        }
        let (keeper, ended) = mpsc::channel::<()>();
        let (give, take) = mpsc::channel();
        let (ns, pids, log) = (ns.duplicate(), pids.map(Pidns::handle), log.to_owned());
        thread::spawn(move || {
            ns.join();
            let append = || File::options().create(true).append(true).open(&log);
            let spawned = append().and_then(|out| {
                guarded.stdout(out.try_clone()?).stderr(out);
                if let Some(pids) = &pids {
                    // For the children alone, which is what there will be.
                    setns(pids, CloneFlags::CLONE_NEWPID)?;
                }
                guarded.spawn()
            });
            let _ = give.send(spawned);
            let _ = ended.recv();
        });
        let child = take.recv().expect("the keeper answers").expect("start setpriv (util-linux)");
        Self { child, _keeper: keeper }
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
        let file = self.handle();
        let mut limited = Command::new("timeout");
        limited.arg(seconds.to_string()).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            limited.env(key, value.unwrap_or_default());
        }
        node.ns().enter(|| {
            // For the children alone, which is what there will be: from here on this thread
            // cannot make others.
            setns(&file, CloneFlags::CLONE_NEWPID).expect("enter the process namespace");
            limited.current_dir("/").stdin(Stdio::null()).output().expect("run timeout (coreutils)")
        })
    }

    fn handle(&self) -> File {
        self.file.try_clone().expect("duplicate a namespace's descriptor")
    }
}
