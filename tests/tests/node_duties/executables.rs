//! The plugins' executables.

use crate::scene::{LIMIT, Scene, bridge, said};
use ferrule_tests::Bins;
use ferrule_tests::node::Place;
use ferrule_tests::within;

const KEYS: &str = "executables = \"/run/cni\"\n";

/// A scene with our executables of these names to install.
pub fn scene(names: &[&str]) -> Scene {
    let scene = Scene::new(&bridge(), KEYS);
    let dir = Bins::ours();
    let node = &scene.member().node;
    node.run("mkdir /run/cni");
    for name in names {
        node.run(&format!("cp {} /run/cni/{name}", dir.exe(name).display()));
    }
    scene
}

/// Puts a script there that prints a version.
fn prints(scene: &Scene, path: &str, text: &str) {
    scene.replace(path, &format!("#!/bin/sh\necho '{text}' >&2\n"));
    scene.member().node.run(&format!("chmod 755 {path}"));
}

fn same(scene: &Scene, one: &str, other: &str) -> bool {
    scene.member().node.try_run(&format!("cmp -s {one} {other}")).status.success()
}

#[test]
fn they_are_installed_kept_and_never_replaced_by_older_ones() {
    let mut scene = scene(&["bridge", "host-local", "loopback"]);
    let node = "/run/bin";
    scene.member().node.run("mkdir /run/bin");
    prints(&scene, "/run/bin/bridge", "CNI bridge plugin v9.9.9");
    prints(&scene, "/run/bin/loopback", "Ferrule loopback v99.0.0: newer");
    prints(&scene, "/run/bin/host-local", "Ferrule host-local v0.0.1: older");
    scene.start();
    scene.conflist_when(|_| true);
    for name in ["bridge", "host-local"] {
        assert!(same(&scene, &format!("{node}/{name}"), &format!("/run/cni/{name}")), "{name}");
    }
    assert!(scene.member().node.read("/run/bin/loopback").contains("v99.0.0"));
    assert!(scene.member().node.read("/run/bin/.ferrule-saved/bridge").contains("v9.9.9"));
    assert!(!scene.member().node.exists("/run/bin/.ferrule-saved/host-local"), "it was ours");
    scene.member().status_when(|status| {
        said(status).contains("loopback is v99.0.0, newer than this release's v")
    });
    // Another program installs its own over ours: it is kept too, and ours comes back.
    prints(&scene, "/run/bin/host-local", "CNI host-local plugin v1");
    let back = || same(&scene, "/run/bin/host-local", "/run/cni/host-local").then_some(());
    within(LIMIT, back).expect("ours comes back");
    assert!(scene.member().node.read("/run/bin/.ferrule-saved/host-local").contains("v1"));
    let mode = scene.member().node.run("stat -c %a /run/bin/host-local");
    assert_eq!(mode.trim(), "755");
}

#[test]
fn one_that_runs_is_replaced_all_the_same() {
    let mut scene = scene(&["bridge", "host-local"]);
    scene.member().node.sh("mkdir /run/bin; cp $(command -v sleep) /run/bin/bridge");
    let mut running = scene.member().node.spawn("/run/bin/bridge 600");
    scene.start();
    scene.conflist_when(|_| true);
    assert!(same(&scene, "/run/bin/bridge", "/run/cni/bridge") && running.running());
}

#[test]
fn a_full_disk_is_named_and_tried_again() {
    let mut scene = scene(&["bridge", "host-local"]);
    scene.member().node.sh("mkdir /run/bin; mount -t tmpfs -o size=256k none /run/bin");
    scene.start();
    let needed = "is missing, which the conflist needs";
    scene.member().status_when(|status| {
        said(status).contains("No space left on device")
            && said(status).contains("make room")
            && status["conflist"]["waits"].as_str().is_some_and(|why| why.contains(needed))
    });
    assert_eq!(scene.conflist(), None, "pods would fail");
    let left = scene.member().node.run("ls -A /run/bin");
    assert!(!left.contains(".new"), "{left}");
    scene.member().node.run("mount -o remount,size=64m /run/bin");
    scene.conflist_when(|_| true);
    assert!(same(&scene, "/run/bin/bridge", "/run/cni/bridge"));
    scene.member().status_when(|status| status["problems"].as_array().unwrap().is_empty());
}

/// SIGKILL while they are installed: each is whole, or is not there.
#[test]
fn killed_at_any_moment_it_leaves_no_half_executable() {
    let names = ["bridge", "host-local", "loopback", "portmap", "bandwidth", "tuning"];
    let mut scene = scene(&names);
    let rounds = if ferrule_tests::long() { 60 } else { 10 };
    for round in 0..rounds {
        scene.member().node.run("rm -rf /run/bin");
        scene.start();
        std::thread::sleep(std::time::Duration::from_millis(5 * round));
        scene.kill();
        for name in names {
            let (there, ours) = (format!("/run/bin/{name}"), format!("/run/cni/{name}"));
            let absent = !scene.member().node.exists(&there);
            assert!(absent || same(&scene, &there, &ours), "round {round}: {name}");
        }
        scene.start();
        let all = || {
            let whole = |name: &&str| {
                same(&scene, &format!("/run/bin/{name}"), &format!("/run/cni/{name}"))
            };
            names.iter().all(whole).then_some(())
        };
        within(LIMIT, all).expect("all are installed");
        scene.member().status_when(|status| status["conflist"]["waits"].is_null());
        let left = scene.member().node.run("ls -A /run/bin");
        assert!(!left.contains(".new"), "round {round}: {left}");
        scene.kill();
    }
}
