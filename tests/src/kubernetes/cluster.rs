//! The cluster of `scripts/kubernetes`, one for all tests of a process.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::bins::{Bins, workspace};
use crate::tool::{self, Finished};

/// The nodes: the first two share a subnet, the third is behind a router.
pub const NODES: [&str; 3] = ["one", "two", "three"];
/// What is outside of the cluster; HTTP on port 80 there, and DNS for outside.example.
pub const OUTSIDE: [&str; 2] = ["203.0.113.1", "2001:db8:ffff::1"];
/// What `scripts/kubernetes` prints first.
const HOLDER: &str = "namespaces of process ";
/// A busy machine starts a pod in some seconds.
const LIMIT: Duration = Duration::from_secs(180);

/// The cluster.
pub struct Kubernetes {
    /// The process whose namespaces are the cluster's.
    holder: u32,
}

/// The cluster, used beside other tests.
pub fn shared() -> RwLockReadGuard<'static, Kubernetes> {
    cluster().read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The cluster, used by no other test meanwhile.
pub fn alone() -> RwLockWriteGuard<'static, Kubernetes> {
    cluster().write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn cluster() -> &'static RwLock<Kubernetes> {
    static CLUSTER: OnceLock<RwLock<Kubernetes>> = OnceLock::new();
    CLUSTER.get_or_init(|| RwLock::new(Kubernetes::start()))
}

impl Kubernetes {
    fn start() -> Self {
        let mut lines = BufReader::new(script()).lines().map_while(Result::ok);
        let mut said = vec![];
        let mut holder = None;
        for line in lines.by_ref() {
            holder = line.strip_prefix(HOLDER).and_then(|pid| pid.parse().ok()).or(holder);
            if let (Some(holder), true) = (holder, line.starts_with("ready after")) {
                // Whatever it says later must not block it.
                thread::spawn(move || lines.for_each(drop));
                return Self { holder };
            }
            said.push(line);
        }
        panic!("scripts/kubernetes ended:\n{}", said.join("\n"));
    }

    /// A command in the namespaces around the machines, which are outside of the cluster.
    fn inside(&self, program: &str) -> Command {
        let ns = |kind| format!("/proc/{}/ns/{kind}", self.holder);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount={}", ns("mnt")))
            .arg(format!("--net={}", ns("net")))
            .arg(format!("--pid={}", ns("pid_for_children")))
            .args(["--wd=/", "--", "env", "KUBECONFIG=/run/cluster/admin.conf"])
            .arg(format!(
                "PATH=/run/stage/commands:/run/stage/kubernetes:{}:/usr/sbin:/sbin",
                std::env::var("PATH").unwrap_or_default()
            ))
            .arg(program);
        command
    }

    /// Runs kubectl, which must succeed, and gives its output.
    #[track_caller]
    pub fn kubectl(&self, arguments: &str) -> String {
        let mut command = self.inside("kubectl");
        tool::succeed_within(command.args(arguments.split_whitespace()), LIMIT)
    }

    /// Runs kubectl with these words, and an input; it may fail.
    pub fn try_kubectl(&self, words: &[&str], input: &str) -> Finished {
        tool::finish_within(self.inside("kubectl").args(words), input.as_bytes(), LIMIT)
    }

    /// What `kubectl get ARGUMENTS -o json` prints.
    #[track_caller]
    pub fn get(&self, arguments: &str) -> Value {
        let text = self.kubectl(&format!("get {arguments} -o json"));
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Applies manifests.
    #[track_caller]
    pub fn apply(&self, manifests: &str) {
        let done = self.try_kubectl(&["apply", "-f", "-"], manifests);
        assert!(done.status.success(), "{}{}\n{manifests}", done.stdout, done.stderr);
    }

    /// Runs a shell script outside of the cluster; it must succeed.
    #[track_caller]
    pub fn outside(&self, script: &str) -> String {
        tool::succeed_within(self.inside("sh").args(["-ec", script]), LIMIT)
    }

    /// Runs a shell script on a machine: a node, or `control`. It must succeed.
    #[track_caller]
    pub fn on(&self, machine: &str, script: &str) -> String {
        self.cluster(&["on", machine, "sh", "-ec", script])
    }

    /// Runs a verb of `cluster`, as scripts/kubernetes_lib/inside lists them.
    #[track_caller]
    pub fn cluster(&self, words: &[&str]) -> String {
        tool::succeed_within(self.inside("cluster").args(words), LIMIT)
    }

    /// Stops a daemon of a machine by a signal, until the answer is dropped.
    pub fn stopped<'a>(&'a self, machine: &'a str, daemon: &'a str, signal: &str) -> Stopped<'a> {
        self.cluster(&["stop", machine, daemon, signal]);
        Stopped { cluster: self, machine, daemon }
    }

    /// Waits until the API server answers.
    pub fn answers(&self) {
        let ready = || {
            let done = self.try_kubectl(&["get", "--raw", "/readyz"], "");
            done.status.success().then_some(())
        };
        crate::within(LIMIT, ready).expect("the API server answers");
    }

    /// Waits until every node is ready.
    pub fn nodes_ready(&self) {
        self.kubectl("wait --for=condition=Ready node --all --timeout=120s");
    }

    /// Waits until there are no pods but the cluster's own.
    pub fn settled(&self) {
        let others = || {
            let own = "--field-selector=metadata.namespace!=kube-system";
            let words = ["get", "pods", "--all-namespaces", own, "-o", "name"];
            let done = self.try_kubectl(&words, "");
            (done.status.success() && done.stdout.trim().is_empty()).then_some(())
        };
        crate::within(LIMIT, others).expect("the pods of other tests end");
    }
}

/// A daemon that does not run; it is started again when this is dropped.
pub struct Stopped<'a> {
    cluster: &'a Kubernetes,
    machine: &'a str,
    daemon: &'a str,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let words = ["again", self.machine, self.daemon];
        let done = tool::finish_within(self.cluster.inside("cluster").args(words), b"", LIMIT);
        assert!(done.status.success() || thread::panicking(), "{}", done.stderr);
    }
}

/// Starts the script, which ends when this process does.
fn script() -> ChildStdout {
    let (give, take) = mpsc::channel();
    // The death signal follows the thread that spawns, so that one stays. It is one that the
    // script hears: it removes its cgroups.
    thread::spawn(move || {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(workspace().join("scripts/kubernetes"))
            .env("FERRULE_BIN_DIR", Bins::ours().dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let _ = give.send(child.map(|mut child| child.stdout.take()));
        loop {
            thread::park();
        }
    });
    let started = take.recv().expect("the keeper answers");
    started.expect("start setpriv (util-linux)").expect("a pipe")
}
