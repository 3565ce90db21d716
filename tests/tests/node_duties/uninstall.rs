//! `route-sync uninstall`.

use crate::executables::scene;
use crate::scene::{CONFLIST, LIMIT, Scene};
use ferrule_tests::node::{Place, words};
use ferrule_tests::packets::ping;
use ferrule_tests::{Background, Pod, within};
use serde_json::json;

fn uninstall(scene: &Scene, more: &str) -> (bool, String) {
    let member = scene.member();
    let done = member.node.try_run(&member.command(&format!("uninstall {more}")));
    (done.status.success(), done.stdout + &done.stderr)
}

#[test]
fn all_of_it_goes_and_pods_keep_their_links() {
    let mut scene = scene(&["bridge", "host-local", "loopback"]);
    let node = |command: &str, scene: &Scene| scene.member().node.run(command);
    node("mkdir /run/bin", &scene);
    scene.replace("/run/bin/bridge", "another's");
    scene.replace("/run/bin/flannel", "another's");
    scene.start();
    let mut list = scene.conflist_when(|_| true);
    let pod = Pod::new();
    scene.add(&pod);
    list["plugins"].as_array_mut().unwrap().push(json!({"type": "istio-cni", "a": 1}));
    scene.replace(CONFLIST, &list.to_string());
    scene.replace("/run/net.d/99-other.conf", "{}");
    scene.member().in_sync();
    let (done, said) = uninstall(&scene, "");
    assert!(!done && said.contains("another route-sync runs here"), "{said}");
    assert!(scene.conflist().is_some());
    scene.kill();
    let (done, said) = uninstall(&scene, "");
    assert!(done, "{said}");
    for part in [
        "removed /run/net.d/10-ferrule.conflist\n",
        "it also had the plugin of another program: {\"a\":1,\"type\":\"istio-cni\"}\n",
        "the executables in /run/bin stay: 1 attachments of pods need them",
        "removed /var/lib/ferrule/nodes.json\n",
        "removed device fvxlan.100\n",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(node("ls -A /run/net.d", &scene).trim(), "99-other.conf");
    assert_eq!(node("ip route show proto 118", &scene).trim(), "");
    assert!(!scene.member().node.exists("/var/lib/ferrule"));
    ping(&pod, "10.244.1.1");
    let (done, said) = uninstall(&scene, "--force");
    assert!(
        done && said.contains("removed /run/bin/bridge; the one from before is back"),
        "{said}"
    );
    let left = node("ls -A /run/bin", &scene);
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["bridge", "flannel"]);
    assert_eq!(scene.member().node.read("/run/bin/bridge"), "another's");
    ping(&pod, "10.244.1.1");
    let (done, said) = uninstall(&scene, "--force");
    assert!(done && said.trim() == "there was nothing to remove", "{said}");
}

#[test]
fn without_pods_the_executables_go_at_once() {
    let mut scene = scene(&["bridge", "host-local"]);
    scene.start();
    scene.conflist_when(|_| true);
    let pod = Pod::new();
    scene.add(&pod);
    scene.del(&pod);
    scene.kill();
    let (done, said) = uninstall(&scene, "");
    assert!(done && said.contains("removed /run/bin/bridge\n"), "{said}");
    assert_eq!(scene.member().node.run("ls -A /run/bin").trim(), "");
    assert_eq!(scene.member().node.run("ls -A /run/net.d").trim(), "");
}

/// As the pod of a DaemonSet: what is done is done, and the pod ends when it is told to.
#[test]
fn with_wait_it_runs_on_until_sigterm() {
    let mut scene = scene(&["bridge", "host-local"]);
    scene.start();
    scene.conflist_when(|_| true);
    scene.kill();
    let member = scene.member();
    let command = words(&member.command("uninstall --wait"));
    let mut waiting = Background::start_in(member.node.ns(), None, &command, "/run/uninstall.log");
    let removed =
        || member.node.read("/run/uninstall.log").contains("removed device").then_some(());
    within(LIMIT, removed).expect("it says what it removed");
    assert!(waiting.running() && scene.conflist().is_none());
    member.node.run(&format!("kill -TERM {}", waiting.pid()));
    within(LIMIT, || (!waiting.running()).then_some(())).expect("it ends");
}
