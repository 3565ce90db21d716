//! Programs that run beside a test, and end with it.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns};

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

    /// Starts a command, in a process namespace too (`Pidns::file`); what it prints is added to a file
    /// there.
    pub fn start_in(ns: &Namespace, pids: Option<&File>, command: &Command, log: &str) -> Self {
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        guarded.args(command.get_args()).stdin(Stdio::null());
        for (key, value) in command.get_envs() {
            guarded.env(key, value.unwrap_or_default());
        }
        let (keeper, ended) = mpsc::channel::<()>();
        let (give, take) = mpsc::channel();
        let (ns, pids, log) = (ns.duplicate(), pids.map(duplicate), log.to_owned());
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

fn duplicate(file: &File) -> File {
    file.try_clone().expect("duplicate a namespace's descriptor")
}
