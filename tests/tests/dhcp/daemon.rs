//! The daemon as a process, and what the plugin says without it.

use crate::lan::{Lan, address};
use crate::{Daemon, log, pods, status};
use ferrule_tests::node::Place;
use ferrule_tests::{Background, Bins, Node, Pod, within};
use serde_json::json;
use std::process::Command;

#[test]
fn without_a_daemon_add_and_status_say_so_at_once() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&pods(&json!({})), &pod);
    let error = attachment.try_add().err();
    error.expect(11, "error dialing DHCP daemon");
    error.expect(11, "dial unix /run/cni/dhcp.sock: No such file");
    error.expect(11, "systemctl enable --now cni-dhcp.socket");
    attachment.status().err().expect(50, "error dialing DHCP daemon");
    attachment.del(None);
    assert!(pod.links().is_empty());
    assert!(node.veths().is_empty() && node.run("ls -A /run/ferrule/attachments").is_empty());
    let other = json!({"daemonSocketPath": "/run/other.sock"});
    node.attach(&pods(&other), &pod).try_add().err().expect(11, "dial unix /run/other.sock");
}

#[test]
fn without_a_server_add_ends_after_its_time_and_leaves_nothing() {
    let (lan, pod) = (Lan::new(), Pod::new());
    let daemon = Daemon::start(&lan.node, "-resendtimeout 3s");
    let error = lan.node.attach(&pods(&json!({})), &pod).try_add().err();
    error.expect(11, "no more tries: no DHCP server answers");
    error.expect(11, "eth0 of the pod was asked for 3 s");
    assert!(
        pod.links().is_empty() && lan.node.links().iter().all(|name| !name.starts_with("veth"))
    );
    assert!(daemon.leases().is_empty());
    assert!(daemon.log().contains("no more tries"), "{}", daemon.log());
}

/// The exchange of a plugin that is killed is given up: no address stays leased without a pod.
#[test]
fn a_plugin_that_is_killed_leases_nothing() {
    let (lan, pod) = (Lan::new(), Pod::new());
    let daemon = Daemon::start(&lan.node, "");
    let call = lan.node.attach(&pods(&json!({})), &pod).call("ADD", None);
    lan.node.write("/run/stdin", &String::from_utf8(call.stdin).unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {} </run/stdin", call.exe.display())]).envs(&call.env);
    let adding = Background::start(lan.node.ns(), &command);
    daemon.says("looking for a server");
    let own = lan.node.run("readlink /proc/thread-self/ns/net");
    lan.node.sh(&format!(
        "for pid in $(grep -lz CNI_COMMAND=ADD /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
            [ \"$(readlink /proc/$pid/ns/net)\" != {} ] || kill -9 $pid || true
        done",
        own.trim()
    ));
    drop(adding);
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    // A pod that comes later is served, the first is not.
    let later = Pod::new();
    lan.node.attach(&pods(&json!({})), &later).add();
    assert_eq!(daemon.leases().len(), 1, "{}", daemon.log());
    lan.node.attach(&pods(&json!({})), &pod).del(None);
    assert!(pod.links().is_empty());
}

/// A server that offers, and never acknowledges; it notes the kinds of the messages that it gets.
const OFFERS_ONLY: &str = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
s.bind(('', 67))
seen = open('/run/seen', 'w', buffering=1)
print('listens', file=seen)
while True:
    m = s.recv(2000)
    kind = m[242]
    print('kind', kind, file=seen)
    if kind == 1:
        o = b'\\x35\\x01\\x02\\x36\\x04\\x0a\\x09\\x00\\x01\\x01\\x04\\xff\\xff\\xff\\x00\\xff'
        s.sendto(b'\\x02' + m[1:16] + bytes([10, 9, 0, 77]) + m[20:240] + o, ('255.255.255.255', 68))
";

#[test]
fn an_address_that_a_killed_plugin_requested_is_given_back() {
    let (lan, pod) = (Lan::new(), Pod::new());
    lan.server.write("/run/server.py", OFFERS_ONLY);
    let _server = lan.server.spawn("python3 /run/server.py");
    let sees = |text: &str| {
        let seen = || lan.server.exists("/run/seen").then(|| lan.server.read("/run/seen"));
        let seen = || seen().filter(|seen| seen.contains(text));
        within(crate::PATIENCE, seen).unwrap_or_else(|| panic!("the server sees no {text}"));
    };
    sees("listens");
    let daemon = Daemon::start(&lan.node, "");
    let netns = pod.ns().net_path();
    lan.node.sh(&format!(
        "ip link add port type veth peer name eth0 netns {}; ip link set port master cni0 up",
        netns.display()
    ));
    let alone =
        json!({"cniVersion": "1.1.0", "name": "pods", "type": "dhcp", "ipam": {"type": "dhcp"}});
    let call = lan.node.attach(&alone, &pod).call("ADD", None);
    lan.node.write("/run/stdin", &String::from_utf8(call.stdin).unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {} </run/stdin", call.exe.display())]).envs(&call.env);
    let adding = Background::start(lan.node.ns(), &command);
    sees("kind 3");
    drop(adding);
    sees("kind 7");
    daemon.says("10.9.0.77 is no longer wanted, and given back");
    assert!(daemon.leases().is_empty());
}

#[test]
fn two_daemons_do_not_share_leases_or_socket() {
    let lan = Lan::new();
    let _first = Daemon::start(&lan.node, "");
    let dhcp = Bins::ours().exe("dhcp");
    for (flags, why) in [
        ("-socketpath /run/other.sock", "another daemon keeps its leases in /var/lib/ferrule/dhcp"),
        ("-statepath /run/other", "another DHCP daemon listens there: stop it"),
        ("-pidfile run/x", "path not absolute"),
        ("-nonsense 1", "flag provided but not defined: -nonsense"),
    ] {
        let second = lan.node.try_run(&format!("{} daemon {flags}", dhcp.display()));
        assert!(!second.status.success() && second.stderr.contains(why), "{}", second.stderr);
    }
    assert!(lan.node.exists("/run/cni/dhcp.sock"));
}

/// As systemd.socket(5) passes it: descriptor 3, with LISTEN_FDS and LISTEN_PID.
#[test]
fn the_socket_of_systemd_is_taken_and_left() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let script = format!(
        "import os, socket
os.makedirs('/run/cni')
s = socket.socket(socket.AF_UNIX)
s.bind('/run/cni/dhcp.sock')
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv({0:?}, [{0:?}, 'daemon', '-pidfile', '/run/x.pid'])",
        Bins::ours().exe("dhcp").display().to_string()
    );
    let mut command = Command::new("python3");
    command.args(["-c", &script]);
    let mut process = Background::start_in(lan.node.ns(), None, &command, "/run/dhcp.log");
    let pod = Pod::new();
    // The socket is there before the daemon is: who asks waits.
    let listens = || std::os::unix::net::UnixStream::connect("/run/cni/dhcp.sock").is_ok();
    let there = || lan.node.ns().enter(listens).then_some(());
    within(crate::PATIENCE, there).expect("the socket");
    lan.node.attach(&pods(&json!({})), &pod).add();
    assert!(address(&pod).starts_with("10.9.0."));
    assert_eq!(lan.node.read("/run/x.pid"), process.pid().to_string());
    lan.node.run(&format!("kill {}", process.pid()));
    within(crate::PATIENCE, || (!process.running()).then_some(())).expect("it stops");
    assert!(lan.node.exists("/run/cni/dhcp.sock"), "it is systemd's");
    assert!(!lan.node.exists("/run/x.pid"));
}

#[test]
fn status_and_metrics_show_each_lease() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let daemon = Daemon::start(&lan.node, "-metrics 127.0.0.1:9467");
    let pod = Pod::new();
    lan.node.attach(&pods(&json!({})), &pod).add();
    let table = status(&lan.node, "");
    assert!(table.starts_with("NETWORK  CONTAINER"), "{table}");
    assert!(table.contains(pod.id()) && table.contains("bound"), "{table}");
    let metrics = lan.node.sh("python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9467/metrics').read().decode())\"");
    for figure in ["ferrule_dhcp_leases{state=\"bound\"} 1", "ferrule_dhcp_acquired_total 1"] {
        assert!(metrics.contains(figure), "{metrics}");
    }
    drop(daemon);
    let without = lan.node.try_run(&format!("{} status", Bins::ours().exe("dhcp").display()));
    assert_eq!(without.status.code(), Some(2), "{}", without.stderr);
}

/// Whatever is sent to the socket, the daemon answers the next.
#[test]
fn nonsense_on_the_socket_harms_no_lease() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    let mut daemon = Daemon::start(&lan.node, "");
    let script = "import socket
for text in [b'', b'\\n', b'{}\\n', b'CONNECT /_goRPC_ HTTP/1.0\\n\\n', b'\\xff' * 100000, b'{\"add\":{}}\\n']:
    s = socket.socket(socket.AF_UNIX)
    s.connect('/run/cni/dhcp.sock')
    s.sendall(text)
    s.shutdown(socket.SHUT_WR)
    try:
        s.recv(1000)
    except OSError:
        pass
    s.close()";
    lan.node.write("/run/nonsense.py", script);
    lan.node.run("python3 /run/nonsense.py");
    lan.node.attach(&pods(&json!({})), &Pod::new()).add();
    assert!(daemon.process.running() && !log(&lan.node).contains("panicked"));
}
