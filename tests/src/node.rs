//! A node and its pods.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::background::Background;
use crate::ns::Namespace;
use crate::tool::{self, Finished};

/// A machine that runs pods: its own network, its own /run, /var/lib and /etc/cni.
pub struct Node {
    ns: Namespace,
}

/// A pod: an own netns, and the container ID that it goes by.
pub struct Pod {
    ns: Namespace,
    id: String,
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// A fresh node; `lo` is up, everything else is as the kernel makes it.
    pub fn new() -> Self {
        let ns = Namespace::new(|| {
            // /etc/cni need not exist on the machine, and may not be made there.
            let places = ["/run", "/var/lib", "/etc/cni"];
            for place in places.into_iter().filter(|place| Path::new(place).is_dir()) {
                tmpfs(place).unwrap_or_else(|error| panic!("tmpfs on {place}: {error}"));
            }
        });
        let node = Self { ns };
        node.run("ip link set lo up");
        node
    }

    /// The addresses leased in the network `pods`, that of [`conf`](crate::conf).
    pub fn leases(&self) -> Vec<String> {
        self.leases_of("pods")
    }

    /// The addresses leased in a network: the names of host-local's files, but for the lock and
    /// what it remembers.
    pub fn leases_of(&self, network: &str) -> Vec<String> {
        let listed = self.sh(&format!("ls /var/lib/cni/networks/{network} 2>/dev/null || true"));
        let leases = |name: &&str| *name != "lock" && !name.starts_with("last_reserved_ip.");
        listed.lines().filter(leases).map(str::to_owned).collect()
    }

    /// The host's ends of pods' links.
    pub fn veths(&self) -> Vec<String> {
        self.links().into_iter().filter(|name| name.starts_with("veth")).collect()
    }

    /// A new pod.
    pub fn pod(&self) -> Pod {
        Pod::new()
    }
}

impl Default for Pod {
    fn default() -> Self {
        Self::new()
    }
}

impl Pod {
    /// A fresh netns with `lo` up, and a container ID that no other pod has.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = format!("pod-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pod = Self { ns: Namespace::new(|| {}), id };
        pod.run("ip link set lo up");
        pod
    }

    /// The container ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The path for CNI_NETNS.
    pub fn netns(&self) -> String {
        self.ns.net_path().to_string_lossy().into_owned()
    }
}

/// What can be done in a node, a pod or any other place with a network of its own.
pub trait Place {
    /// The namespaces.
    fn ns(&self) -> &Namespace;

    /// Runs a command (words parted by blanks), which must succeed, and gives its output.
    fn run(&self, command: &str) -> String {
        self.ns().enter(|| tool::succeed(&mut words(command)))
    }

    /// Runs a shell script, which must succeed, and gives its output.
    fn sh(&self, script: &str) -> String {
        self.ns().enter(|| tool::succeed(Command::new("sh").args(["-ec", script])))
    }

    /// Runs a command that may fail.
    fn try_run(&self, command: &str) -> Finished {
        self.ns().enter(|| tool::finish(&mut words(command), b""))
    }

    /// Runs a command that prints JSON.
    fn json(&self, command: &str) -> Value {
        let text = self.run(command);
        // iproute2 prints nothing at all for an empty list here and there.
        if text.trim().is_empty() {
            return Value::Array(vec![]);
        }
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("`{command}`: {e}\n{text}"))
    }

    /// The text of a file there, trimmed.
    fn read(&self, path: &str) -> String {
        // /proc/net is that of the process's first thread, which is never inside.
        let path = &path.replacen("/proc/net/", "/proc/thread-self/net/", 1);
        self.ns().enter(|| {
            fs::read_to_string(path)
                .unwrap_or_else(|e| panic!("read {path}: {e}"))
                .trim()
                .to_owned()
        })
    }

    /// Whether a file is there.
    fn exists(&self, path: &str) -> bool {
        self.ns().enter(|| Path::new(path).exists())
    }

    /// Writes a file there, with the folders above it.
    fn write(&self, path: &str, text: &str) {
        self.ns().enter(|| {
            if let Some(parent) = Path::new(path).parent() {
                let _ = fs::create_dir_all(parent);
            }
            fs::write(path, text).unwrap_or_else(|e| panic!("write {path}: {e}"));
        });
    }

    /// A sysctl's value, by its path below /proc/sys.
    fn sysctl(&self, path: &str) -> String {
        self.read(&format!("/proc/sys/{path}"))
    }

    /// Sets a sysctl, by its path below /proc/sys.
    fn set_sysctl(&self, path: &str, value: &str) {
        self.ns().enter(|| {
            fs::write(format!("/proc/sys/{path}"), value)
                .unwrap_or_else(|e| panic!("write {path}: {e}"));
        });
    }

    /// The one link of that name as `ip -d -j link` shows it, if it exists.
    fn link(&self, name: &str) -> Option<Value> {
        let all = self.json("ip -d -j link");
        all.as_array()?.iter().find(|link| link["ifname"] == name).cloned()
    }

    /// The names of all links but `lo`.
    fn links(&self) -> Vec<String> {
        let all = self.json("ip -j link");
        let names = all.as_array().into_iter().flatten();
        names
            .filter_map(|l| l["ifname"].as_str())
            .filter(|n| *n != "lo")
            .map(str::to_owned)
            .collect()
    }

    /// The addresses of a link as `addr/len`, link-local ones left out.
    fn addresses(&self, link: &str) -> Vec<String> {
        let shown = self.json(&format!("ip -j addr show dev {link}"));
        let infos = shown.as_array().into_iter().flatten();
        let addrs = infos.flat_map(|i| i["addr_info"].as_array().cloned().unwrap_or_default());
        let global = addrs.filter(|a| a["scope"] != "link" && a["local"].is_string());
        global
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap_or(""), a["prefixlen"]))
            .collect()
    }

    /// Waits until no IPv6 address is tentative any more.
    fn settle(&self) {
        let settled = || {
            let listed = self.run("ip -6 addr show tentative");
            listed.trim().is_empty().then_some(())
        };
        crate::within(Duration::from_secs(20), settled).expect("duplicate address detection ends");
    }

    /// Starts a command that runs until the answer is dropped, or this process dies.
    fn spawn(&self, command: &str) -> Background {
        Background::start(self.ns(), &words(command))
    }
}

impl Place for Node {
    fn ns(&self) -> &Namespace {
        &self.ns
    }
}

impl Place for Pod {
    fn ns(&self) -> &Namespace {
        &self.ns
    }
}

/// A command from words parted by blanks.
pub fn words(command: &str) -> Command {
    let mut words = command.split_whitespace();
    let mut made = Command::new(words.next().expect("a command"));
    made.args(words);
    made
}

fn tmpfs(place: &str) -> nix::Result<()> {
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
}
