//! containerd and runc, driven over CRI, with our executables.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod cri;
mod engine;
mod image;
mod ports;

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Snapshot, bins};

use crate::engine::{Engine, IMAGE};

/// A pod with one container, as CRI knows them.
struct Running {
    sandbox: String,
    container: String,
    addresses: Vec<String>,
}

impl Running {
    fn start(engine: &Engine, name: &str) -> Self {
        Self::start_as(engine, name, engine.sandbox(name), &["/bin/sleep", "86400"])
    }

    /// Starts a pod of this description, whose container runs a program.
    fn start_as(engine: &Engine, name: &str, config: cri::SandboxConfig, command: &[&str]) -> Self {
        let config = Some(config);
        let request = cri::RunSandbox { config: config.clone() };
        let sandbox: cri::Named = engine.call("RunPodSandbox", &request).unwrap();
        let request = cri::CreateContainer {
            sandbox: sandbox.id.clone(),
            config: Some(cri::ContainerConfig {
                metadata: Some(cri::Named { id: "main".to_owned() }),
                image: Some(cri::Named { id: IMAGE.to_owned() }),
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                log_path: format!("{name}.log"),
            }),
            sandbox_config: config,
        };
        let container: cri::Named = engine.call("CreateContainer", &request).unwrap();
        engine.call::<cri::Empty>("StartContainer", &container).unwrap();
        let addresses = addresses(engine, &sandbox);
        Self { sandbox: sandbox.id, container: container.id, addresses }
    }

    /// Runs a program in the container, which must succeed.
    #[track_caller]
    fn exec(&self, engine: &Engine, command: &str) -> String {
        let request = cri::ExecSync {
            container: self.container.clone(),
            command: command.split_whitespace().map(str::to_owned).collect(),
            timeout: 20,
        };
        let done: cri::ExecAnswer = engine.call("ExecSync", &request).unwrap();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.exit_code, 0, "`{command}`: {out}{err}");
        out
    }

    fn remove(&self, engine: &Engine) {
        let named = cri::Named { id: self.sandbox.clone() };
        engine.call::<cri::Empty>("StopPodSandbox", &named).unwrap();
        engine.call::<cri::Empty>("RemovePodSandbox", &named).unwrap();
    }
}

fn addresses(engine: &Engine, sandbox: &cri::Named) -> Vec<String> {
    let answer: cri::SandboxStatusAnswer = engine.call("PodSandboxStatus", sandbox).unwrap();
    let network = answer.status.and_then(|status| status.network).unwrap_or_default();
    std::iter::once(network.ip).chain(network.additional.into_iter().map(|ip| ip.id)).collect()
}

/// Each of two pods reaches the other and the node, by both families.
#[track_caller]
fn all_reach_each_other(engine: &Engine, pods: [&Running; 2]) {
    for (from, to) in [(pods[0], pods[1]), (pods[1], pods[0])] {
        for address in &to.addresses {
            from.exec(engine, &format!("ping -c1 -W2 {address}"));
        }
        for gateway in ["10.244.0.1", "fd00:10:244::1"] {
            from.exec(engine, &format!("ping -c1 -W2 {gateway}"));
        }
    }
}

/// The node's state, but for containerd's own files.
fn state(node: &Node) -> Snapshot {
    let own = ["/var/lib/containerd/", "/run/containerd/", "/run/engine/", "/run/net.d/"];
    Snapshot::of(node).without_first_use("cni0").without_files(&own)
}

#[test]
fn two_pods_live_through_a_restart_and_leave_nothing() {
    let node = Node::new();
    let list = std::fs::read_to_string(bins::workspace().join("conf/10-bridge.conflist")).unwrap();
    node.write("/run/net.d/10-bridge.conflist", &list);
    let mut engine = Engine::start(&node);
    let before = state(&node);
    let one = Running::start(&engine, "one");
    let two = Running::start(&engine, "two");
    assert_eq!(one.addresses, ["10.244.0.2", "fd00:10:244::2"]);
    assert_eq!(two.addresses, ["10.244.0.3", "fd00:10:244::3"]);
    assert!(one.exec(&engine, "ip addr show eth0").contains("10.244.0.2/24"));
    all_reach_each_other(&engine, [&one, &two]);

    engine.restart();
    all_reach_each_other(&engine, [&one, &two]);
    let three = Running::start(&engine, "three");
    assert_eq!(three.addresses[0], "10.244.0.4", "leases outlive the restart");
    all_reach_each_other(&engine, [&one, &three]);

    for pod in [&one, &two, &three] {
        pod.remove(&engine);
    }
    assert_eq!(node.links(), ["cni0"]);
    assert_same(&before, &state(&node));
}
