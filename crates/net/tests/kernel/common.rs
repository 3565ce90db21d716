//! Network namespaces of one's own, and iproute2 in them as the oracle.

use net::link::{self, Veth};
use net::vxlan::{self, Vxlan};
use net::{Link, Mac, NetNs, Socket};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Output};

pub const NEAR: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const FAR: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn unshared() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
}

/// Runs a test in a network namespace that vanishes with its thread; threads and processes
/// started from it are in it too.
pub fn in_netns(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshared();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Another network namespace, which lives as long as it is held.
pub fn new_netns() -> NetNs {
    let made = || {
        unshared();
        NetNs::current().unwrap()
    };
    std::thread::spawn(made).join().unwrap()
}

fn run(program: &str, package: &str, args: &[&str]) -> Output {
    let missing = |error| panic!("{program}: {error}: apt-get install {package}");
    Command::new(program).args(args).output().unwrap_or_else(missing)
}

fn iproute2(program: &str, args: &str) -> String {
    let args: Vec<_> = args.split_whitespace().collect();
    let output = run(program, "iproute2", &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `ip` and gives what it prints.
pub fn ip(args: &str) -> String {
    iproute2("ip", args)
}

/// Runs `ip` in a namespace and gives what it prints.
pub fn ip_in(netns: &NetNs, args: &str) -> String {
    netns.enter(|| Ok(ip(args))).unwrap()
}

/// Runs `bridge` and gives what it prints.
pub fn bridge(args: &str) -> String {
    iproute2("bridge", args)
}

/// Runs `tc` and gives what it prints.
pub fn tc(args: &str) -> String {
    iproute2("tc", args)
}

/// Runs `bridge` under strace and gives what it sent to the kernel, as strace dumps it.
pub fn traced(args: &str) -> String {
    let mut all = vec!["-e", "trace=sendmsg", "-e", "write=all", "bridge"];
    all.extend(args.split_whitespace());
    // Whether the kernel does as it is asked does not matter.
    String::from_utf8(run("strace", "strace", &all).stderr).unwrap()
}

/// Runs the reference's plugin under strace for a pod in VLAN 100 on a bridge, and gives what it
/// sent to the kernel, as strace dumps it.
pub fn traced_reference(bridge: &str) -> String {
    let reference = ferrule_tests::Bins::reference();
    let plugin = reference.exe("bridge").display().to_string();
    let unshared = || {
        unshared();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    let pod = std::thread::spawn(unshared).join().unwrap();
    let netns = format!("/proc/{}/fd/{}", std::process::id(), pod.as_raw_fd());
    let config = format!(
        r#"{{"cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "{bridge}",
        "vlan": 100, "ipam": {{}}}}"#
    );
    let script =
        format!("exec strace -f -qq -e trace=sendto -e write=all {plugin} <<'END'\n{config}\nEND");
    let mut command = Command::new("sh");
    command.args(["-ec", &script]).env("CNI_COMMAND", "ADD").env("CNI_CONTAINERID", "traced");
    command.env("CNI_IFNAME", "eth0").env("CNI_NETNS", netns).env("CNI_PATH", reference.dir());
    // It fails where the kernel has no VLANs: what it asked for is what counts.
    String::from_utf8(command.output().unwrap().stderr).unwrap()
}

/// A socket of the thread's namespace.
pub fn open() -> Socket {
    Socket::open().unwrap()
}

/// A socket inside a namespace.
pub fn open_in(netns: &NetNs) -> Socket {
    netns.enter(Socket::open).unwrap()
}

/// A link that is there.
pub fn look(socket: &mut Socket, name: &str) -> Link {
    socket.get(&link::by_name(name)).unwrap().unwrap_or_else(|| panic!("no link {name}"))
}

/// A bridge, up, and its index.
pub fn new_bridge(socket: &mut Socket, name: &str) -> u32 {
    socket.set(&link::add_bridge(name, Mac::random(), None, false)).unwrap();
    let index = look(socket, name).index;
    socket.set(&link::set_up(index, name)).unwrap();
    index
}

/// What the tests make a veth pair of.
pub fn veth(master: u32) -> Veth<'static> {
    Veth { name: "near", mac: NEAR, master: Some(master), mtu: None, peer: "far", peer_mac: FAR }
}

/// A namespace with `far`, up, whose other end is `near`, up, a port of bridge `br` here; the
/// namespace's socket, and the index of `far`.
pub fn pod(socket: &mut Socket) -> (NetNs, Socket, u32) {
    let master = new_bridge(socket, "br");
    let netns = new_netns();
    socket.set(&link::add_veth(&veth(master), &netns)).unwrap();
    let mut inside = open_in(&netns);
    let index = look(&mut inside, "far").index;
    inside.set(&link::set_up(index, "far")).unwrap();
    let near = look(socket, "near").index;
    socket.set(&link::set_up(near, "near")).unwrap();
    (netns, inside, index)
}

/// A VXLAN device over a link, up, and its index; VNI 100, port 4789.
pub fn new_vxlan(socket: &mut Socket, name: &str, underlay: u32, local: &str) -> u32 {
    let local = local.parse().unwrap();
    let vxlan = Vxlan { name, mac: NEAR, vni: 100, port: 4789, local, underlay, mtu: 1400 };
    socket.set(&vxlan::add_vxlan(&vxlan)).unwrap();
    let index = look(socket, name).index;
    socket.set(&link::set_up(index, name)).unwrap();
    index
}
