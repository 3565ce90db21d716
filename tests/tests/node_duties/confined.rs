//! As the container of a cluster has it: uid 0, CAP_NET_ADMIN alone, a root that cannot be written.

use crate::executables::scene;
use crate::scene::{LIMIT, Scene, said};
use ferrule_tests::Pod;
use ferrule_tests::node::Place;
use ferrule_tests::within;

/// Writable is what is mounted apart: /run, /var/lib, and what a test mounts.
const CONFINED: &str = "#!/bin/sh -e
if [ \"$1\" != inside ]; then exec unshare -m \"$0\" inside \"$@\"; fi
shift
mount --make-rprivate /
mount -o remount,bind,ro /
exec setpriv --bounding-set -all,+net_admin --inh-caps -all --no-new-privs \"$@\"
";

fn start(scene: &mut Scene) {
    let node = &scene.member().node;
    node.write("/run/confined", CONFINED);
    node.run("chmod 755 /run/confined");
    scene.start_by("/run/confined");
}

#[test]
fn net_admin_alone_and_a_root_that_is_read_only_are_enough() {
    let mut scene = scene(&["bridge", "host-local"]);
    let node = &scene.member().node;
    node.run("mkdir -m 755 /run/bin /run/net.d");
    // Another uid's file, which root may not write, but may replace in its own folder.
    node.sh(
        "echo mine >/run/bin/bridge; chown 1000:1000 /run/bin/bridge; chmod 755 /run/bin/bridge",
    );
    start(&mut scene);
    scene.conflist_when(|_| true);
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.member().pid())).unwrap();
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().to_owned()
    };
    assert_eq!(u64::from_str_radix(&field("CapEff:"), 16).unwrap(), 1 << 12, "{status}");
    assert_eq!((field("NoNewPrivs:").as_str(), field("Uid:")), ("1", "0\t0\t0\t0".to_owned()));
    within(LIMIT, || scene.ready().filter(|(ready, _)| *ready)).expect("ready");
    let node = &scene.member().node;
    assert!(node.try_run("cmp /run/bin/bridge /run/cni/bridge").status.success());
    assert_eq!(node.read("/run/bin/.ferrule-saved/bridge"), "mine");
    let pod = Pod::new();
    scene.add(&pod);
    scene.del(&pod);
    let status = scene.member().status().unwrap();
    assert!(status["problems"].as_array().unwrap().is_empty(), "{status:#}");
}

#[test]
fn folders_that_it_may_not_write_are_named_with_the_remedy_and_tried_again() {
    let mut scene = scene(&["bridge", "host-local"]);
    let node = &scene.member().node;
    node.sh("mkdir -m 755 /run/bin /run/net.d; chown 1000:1000 /run/net.d
        mount --bind /run/bin /run/bin; mount -o remount,bind,ro /run/bin");
    start(&mut scene);
    scene.member().status_when(|status| {
        said(status).contains("Read-only file system")
            && said(status).contains("let route-sync write /run/bin: ReadWritePaths= of its unit")
    });
    // The mount of a container is its own: on the node it is another.
    scene.kill();
    scene.member().node.run("umount /run/bin");
    start(&mut scene);
    let status = scene.member().status_when(|status| {
        said(status).contains("Permission denied") && said(status).contains("must be root's")
    });
    assert!(status["conflist"]["waits"].as_str().unwrap().contains("Permission denied"));
    assert_eq!(scene.conflist(), None);
    scene.member().node.run("chown 0:0 /run/net.d");
    scene.conflist_when(|_| true);
}
