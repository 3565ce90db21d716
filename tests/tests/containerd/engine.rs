//! containerd in a node: its own processes, roots and cgroups, gone with the node.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::{Background, Bins, Node, Pidns, within};
use prost::Message;

use crate::cri;

const SOCKET: &str = "/run/containerd/containerd.sock";
/// The only image: busybox, for pods and their containers alike.
pub const IMAGE: &str = "test.local/busybox:1";

/// A containerd in a node.
pub struct Engine<'a> {
    node: &'a Node,
    pids: Option<Pidns>,
    daemon: Option<Background>,
    cgroup: String,
}

impl<'a> Engine<'a> {
    /// Starts containerd in a node and gives it the image.
    pub fn start(node: &'a Node) -> Self {
        let pids = Pidns::new(node);
        // With what a killed run left: cgroups, which are all that outlives one.
        node.sh("mount -t cgroup2 cgroup2 /sys/fs/cgroup
            find /sys/fs/cgroup -depth -type d -path '*/ferrule-test-*' -exec rmdir {} + 2>&1 || true");
        node.write("/run/engine/config.toml", &config());
        let cgroup = cgroup(pids.pid());
        let mut engine = Self { node, pids: Some(pids), daemon: None, cgroup };
        engine.run();
        engine.import();
        engine
    }

    fn run(&mut self) {
        // runc makes the containers' cgroups below that of containerd. 0 is the writing process.
        let script = format!(
            "mkdir -p {0}; echo 0 >{0}/cgroup.procs
            exec containerd --config /run/engine/config.toml --log-level info",
            self.cgroup
        );
        let mut command = Command::new("sh");
        command.args(["-ec", &script]);
        let log = "/run/engine/log";
        self.daemon = Some(Background::start_in(
            self.node.ns(),
            self.pids.as_ref().map(Pidns::file),
            &command,
            log,
        ));
        let ready = || {
            let status = self.call::<cri::StatusAnswer>("Status", &cri::Empty {}).ok()?.status?;
            status.conditions.iter().all(|condition| condition.met).then_some(())
        };
        if within(Duration::from_secs(30), ready).is_none() {
            let status = self.call::<cri::StatusAnswer>("Status", &cri::Empty {});
            panic!("containerd is not ready: {status:?}\n{}", self.log());
        }
    }

    /// Kills containerd as it is, and starts it again.
    pub fn restart(&mut self) {
        let old = self.daemon.take().map(|daemon| daemon.pid());
        self.run();
        assert_ne!(old, self.daemon.as_ref().map(Background::pid));
    }

    /// What containerd has to say.
    pub fn log(&self) -> String {
        let all = self.node.read("/run/engine/log");
        let from = all.len().saturating_sub(6000);
        all.get(from..).unwrap_or(&all).to_owned()
    }

    fn import(&self) {
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("busybox is missing: apt-get install busybox-static");
        self.node.sh(&format!(
            r#"mkdir -p /run/engine/rootfs/bin && cd /run/engine
            cp {busybox} rootfs/bin/busybox
            for name in sh sleep ping nc ip cat mkdir chmod httpd; do ln -s busybox rootfs/bin/$name; done
            tar -C rootfs -cf layer.tar .
            sum=$(sha256sum layer.tar | cut -d' ' -f1)
            case $(uname -m) in aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
            printf '{{"architecture":"%s","os":"linux","config":{{"Cmd":["/bin/sleep","86400"]}},
                "rootfs":{{"type":"layers","diff_ids":["sha256:%s"]}}}}' $arch $sum >config.json
            echo '[{{"Config":"config.json","RepoTags":["{IMAGE}"],"Layers":["layer.tar"]}}]' >manifest.json
            tar -cf image.tar manifest.json config.json layer.tar
            ctr -a {SOCKET} -n k8s.io images import --snapshotter native image.tar"#
        ));
    }

    /// A call of CRI.
    pub fn call<A: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<A, String> {
        cri::call(self.node, SOCKET, method, request)
    }

    /// Runs `ctr`, which must succeed, and gives its output.
    #[track_caller]
    pub fn ctr(&self, arguments: &str) -> String {
        self.node.run(&format!("ctr -a {SOCKET} -n k8s.io {arguments}"))
    }

    /// Starts a container of an image, which is in the node's network namespace, with more arguments
    /// for `ctr run`. It is no pod.
    #[track_caller]
    pub fn run_image(&self, image: &str, name: &str, arguments: &str) {
        let cgroup = self.cgroup.strip_prefix("/sys/fs/cgroup").expect("a path of cgroups");
        self.ctr(&format!(
            "run --detach --null-io --snapshotter native --net-host --cpu-shares 0 \
             --cgroup {cgroup}/{name} {arguments} {image} {name}"
        ));
    }

    /// The description of a pod.
    pub fn sandbox(&self, name: &str) -> cri::SandboxConfig {
        cri::SandboxConfig {
            metadata: Some(cri::SandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-of-{name}"),
                namespace: "default".to_owned(),
            }),
            hostname: name.to_owned(),
            log_directory: "/run/engine/logs".to_owned(),
            ports: vec![],
            annotations: std::collections::BTreeMap::new(),
        }
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("containerd said:\n{}", self.log());
        }
        self.daemon = None;
        self.pids = None;
        let empty = || {
            self.node
                .try_run(&format!("find {0} -depth -type d -exec rmdir {{}} ;", self.cgroup))
                .status
                .success()
                .then_some(())
        };
        let gone = within(Duration::from_secs(5), empty);
        assert!(gone.is_some() || std::thread::panicking(), "{} is not empty", self.cgroup);
    }
}

/// A cgroup for one engine, below the one that the tests run in.
fn cgroup(number: u32) -> String {
    let all = std::fs::read_to_string("/proc/self/cgroup").expect("read our cgroup");
    let own = all.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup2 hierarchy");
    format!("/sys/fs/cgroup{}/ferrule-test-{number}", own.trim_end_matches('/'))
}

fn config() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_cgroup = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "/run/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"#,
        Bins::ours().dir().display()
    )
}
