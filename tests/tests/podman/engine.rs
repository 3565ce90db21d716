//! podman in a node: its roots, its processes and its image, gone with the node.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, Pidns, within};
use serde_json::Value;

const IMAGE: &str = "test.local/busybox:1";

/// podman in a node.
pub struct Engine<'a> {
    node: &'a Node,
    pids: Option<Pidns>,
    cgroup: String,
}

impl<'a> Engine<'a> {
    /// Makes its configuration and its image.
    pub fn new(node: &'a Node) -> Self {
        for program in ["/usr/bin/podman", "/usr/sbin/runc"] {
            assert!(
                Path::new(program).exists(),
                "{program} is missing: apt-get install podman runc"
            );
        }
        let pids = Pidns::new(node);
        node.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup; mkdir -p /run/netns /run/lock
            mount -t tmpfs tmpfs /dev/shm");
        let plugins = Bins::ours();
        node.write(
            "/run/podman/containers.conf",
            &format!(
                r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
log_driver = "k8s-file"
init = false
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{}"]
network_config_dir = "/run/podman/net.d"
default_network = "one"
"#,
                plugins.dir().display()
            ),
        );
        let cgroup = format!("ferrule-test-podman-{}", pids.pid());
        let engine = Self { node, pids: Some(pids), cgroup };
        engine.import();
        engine
    }

    fn import(&self) {
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("busybox is missing: apt-get install busybox-static");
        self.node.sh(&format!(
            "mkdir -p /run/podman/rootfs/bin && cd /run/podman
            cp {busybox} rootfs/bin/busybox
            for name in sh sleep ping ip cat httpd wget mkdir; do ln -s busybox rootfs/bin/$name; done
            tar -C rootfs -cf image.tar ."
        ));
        self.podman(&format!("import /run/podman/image.tar {IMAGE}"));
    }

    /// A podman command, which must succeed; gives its output.
    #[track_caller]
    pub fn podman(&self, words: &str) -> String {
        let arguments: Vec<&str> = words.split_whitespace().collect();
        self.call(&arguments)
    }

    #[track_caller]
    fn call(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("podman");
        command.args(["--storage-driver", "vfs", "--root", "/var/lib/containers/storage"]);
        command.args(["--runroot", "/run/podman/run", "--tmpdir", "/run/podman/tmp"]);
        command.args(arguments);
        command.env("CONTAINERS_CONF", "/run/podman/containers.conf");
        let done = self.pids.as_ref().unwrap().output(self.node, &command, 40);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&done.stdout), text(&done.stderr));
        assert!(done.status.success(), "podman {arguments:?} failed: {stdout}{stderr}");
        stdout
    }

    /// Starts a container that sleeps.
    #[track_caller]
    pub fn start(&self, name: &str, networks: &str) {
        let cgroup = &self.cgroup;
        self.podman(&format!(
            "run -d --name {name} --network {networks} --cgroup-parent /{cgroup} {IMAGE} sleep 86400"
        ));
    }

    /// Starts a container with more arguments of `podman run`, which runs a script.
    #[track_caller]
    pub fn run(&self, name: &str, arguments: &str, script: &str) {
        let cgroup = format!("/{}", self.cgroup);
        let mut all = vec!["run", "-d", "--name", name, "--cgroup-parent", &cgroup];
        all.extend(arguments.split_whitespace());
        all.extend([IMAGE, "sh", "-c", script]);
        self.call(&all);
    }

    /// Runs a command in a container.
    #[track_caller]
    pub fn exec(&self, name: &str, command: &str) -> String {
        self.call(&["exec", name, "sh", "-c", command])
    }

    /// A container's addresses on a network, IPv4 first.
    pub fn addresses(&self, name: &str, network: &str) -> Vec<String> {
        let shown: Value = serde_json::from_str(&self.podman(&format!("inspect {name}"))).unwrap();
        let settings = &shown[0]["NetworkSettings"]["Networks"][network];
        let keys = ["IPAddress", "GlobalIPv6Address"];
        let texts = keys.iter().filter_map(|key| settings[key].as_str());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.pids = None;
        let find = format!("find /sys/fs/cgroup/{} -depth -type d -exec rmdir {{}} ;", self.cgroup);
        let empty = || self.node.try_run(&find).status.success().then_some(());
        let gone = within(Duration::from_secs(5), empty);
        assert!(gone.is_some() || std::thread::panicking(), "{} is not empty", self.cgroup);
    }
}
