//! The image that scripts/image builds: containerd imports it, and the daemon in it has what
//! conf/kubernetes/ferrule.yaml gives it: a read-only root, CAP_NET_ADMIN, and the node's folders.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, bins, tool, within};

use crate::engine::Engine;

/// What runc gives a container by default, and the manifest drops.
const DROPPED: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const CONFIG: &str = "node-name = \"one\"
cluster-cidrs = [\"10.244.0.0/16\", \"fd00:10:244::/48\"]
[source]
type = \"file\"
path = \"/etc/ferrule/nodes.toml\"
";

const NODES: &str = "[[node]]
name = \"one\"
addresses = [\"192.0.2.1\"]
pod-cidrs = [\"10.244.1.0/24\", \"fd00:10:244:1::/64\"]
[[node]]
name = \"two\"
addresses = [\"192.0.2.2\"]
pod-cidrs = [\"10.244.2.0/24\", \"fd00:10:244:2::/64\"]
";

/// An archive that is gone with the test.
struct Archive(PathBuf);

impl Archive {
    fn build() -> Archive {
        let path = std::env::temp_dir().join(format!("ferrule-image-{}.tar", std::process::id()));
        let mut command = Command::new(bins::workspace().join("scripts/image"));
        command.env("FERRULE_BIN_DIR", Bins::ours().dir()).args(["--tag", "test", "--output"]);
        command.arg(&path);
        tool::succeed_within(&mut command, Duration::from_secs(300));
        Archive(path)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn mount(from: &str, to: &str, mode: &str) -> String {
    format!(" --mount type=bind,src={from},dst={to},options=rbind:{mode}")
}

#[test]
fn the_daemon_of_the_image_needs_net_admin_and_the_nodes_folders_alone() {
    let archive = Archive::build();
    let node = Node::new();
    node.sh("ip link set lo up
        ip link add eth0 type veth peer name wire
        ip link set wire up
        ip link set eth0 up
        ip address add 192.0.2.1/24 dev eth0
        mkdir -p /run/ferrule /var/lib/ferrule");
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        node.set_sysctl(key, "0");
    }
    node.write("/run/etc/route-sync.toml", CONFIG);
    node.write("/run/etc/nodes.toml", NODES);
    // containerd is not ready without one.
    let list = bins::workspace().join("conf/10-bridge.conflist");
    node.write("/run/net.d/10.conflist", &std::fs::read_to_string(list).unwrap());
    let engine = Engine::start(&node);
    engine.ctr(&format!("images import --snapshotter native {}", archive.0.display()));
    let dropped: String = DROPPED.iter().map(|name| format!(" --cap-drop CAP_{name}")).collect();
    let mounts = mount("/run/etc", "/etc/ferrule", "ro")
        + &mount("/run/ferrule", "/run/ferrule", "rw")
        + &mount("/var/lib/ferrule", "/var/lib/ferrule", "rw")
        + &mount("/proc/sys/net", "/host/proc/sys/net", "rw");
    engine.run_image(
        "localhost/ferrule:test",
        "daemon",
        &format!("--read-only --seccomp{dropped} --cap-add CAP_NET_ADMIN{mounts}"),
    );
    let exe = Bins::ours().exe("route-sync");
    let ask = format!("{} --config /run/etc/route-sync.toml status", exe.display());
    let status = || node.try_run(&ask);
    let in_step = || status().status.success().then_some(());
    if within(Duration::from_secs(20), in_step).is_none() {
        let said = status();
        panic!("{}{}", said.stdout, said.stderr);
    }
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        assert_eq!(node.sysctl(key), "1", "{key}");
    }
    engine.ctr("tasks kill --signal SIGTERM daemon");
    let ended = || engine.ctr("tasks ls").contains("STOPPED").then_some(());
    within(Duration::from_secs(10), ended).expect("it ends at SIGTERM");
    engine.ctr("tasks delete daemon");
    assert!(node.run("ip route show proto 118").contains("10.244.2.0/24"), "its routes stay");
}
