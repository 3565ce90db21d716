use super::*;
use std::fs;
use tempfile::TempDir;

const TEMPLATE: &str = r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [
    {"type": "bridge", "ipam": {"type": "host-local", "ranges": "${ranges}"}}]}"#;

struct Scene {
    dir: TempDir,
    order: Order,
    state: State,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let cni = Cni {
        template: dir.path().join("template"),
        conf_dir: dir.path().join("net.d"),
        conf_name: "10-ferrule.conflist".to_owned(),
        bin_dir: dir.path().join("bin"),
        executables: None,
    };
    fs::write(&cni.template, TEMPLATE).unwrap();
    let state_dir = dir.path().join("state");
    let order = Order { cni: Some(cni), state_dir, node: Err("not yet".to_owned()) };
    Scene { dir, order, state: State::default() }
}

fn values(cidr: &str) -> Values {
    Values { node: "one".to_owned(), pod_cidrs: vec![cidr.parse().unwrap()] }
}

impl Scene {
    fn round(&mut self) -> Outcome {
        self.state.round(&self.order)
    }

    fn there(&self) -> Option<String> {
        fs::read_to_string(self.dir.path().join("net.d/10-ferrule.conflist")).ok()
    }
}

fn waits(outcome: &Outcome) -> Option<&str> {
    outcome.conflist.as_ref().unwrap().waits.as_deref()
}

#[test]
fn the_conflist_waits_for_the_node_and_follows_its_cidrs() {
    let mut scene = scene();
    let outcome = scene.round();
    assert_eq!((waits(&outcome), scene.there()), (Some("not yet"), None));
    scene.order.node = Ok(values("10.244.1.0/24"));
    let outcome = scene.round();
    assert_eq!((waits(&outcome), outcome.problems.len()), (None, 0));
    assert!(scene.there().unwrap().contains("10.244.1.0/24"));
    scene.order.node = Ok(values("10.244.7.0/24"));
    scene.round();
    assert!(scene.there().unwrap().contains("10.244.7.0/24"));
    // A node that is in the set no more keeps what it has.
    scene.order.node = Err("gone".to_owned());
    let outcome = scene.round();
    assert_eq!(waits(&outcome), None);
    assert!(scene.there().unwrap().contains("10.244.7.0/24"));
}

#[test]
fn an_invalid_template_is_named_and_changes_nothing() {
    let mut scene = scene();
    scene.order.node = Ok(values("10.244.1.0/24"));
    scene.round();
    let before = scene.there();
    fs::write(scene.dir.path().join("template"), r#"{"name": "x y"}"#).unwrap();
    let outcome = scene.round();
    let problem = &outcome.problems[0];
    assert!(problem.error.contains("name is \"x y\": write the network's name"), "{problem:?}");
    assert_eq!((problem.what.as_str(), waits(&outcome)), ("conflist", None));
    assert_eq!(scene.there(), before);
    // A daemon that starts with it is not ready: an update of all nodes ends here.
    scene.state = State::default();
    let outcome = scene.round();
    assert!(waits(&outcome).unwrap().contains("is invalid: "));
    fs::remove_file(scene.dir.path().join("template")).unwrap();
    let outcome = scene.round();
    assert!(waits(&outcome).unwrap().contains("cannot read the template"));
}

#[test]
fn it_waits_for_an_executable_that_cannot_be_installed() {
    let mut scene = scene();
    scene.order.node = Ok(values("10.244.1.0/24"));
    let from = scene.dir.path().join("cni");
    fs::create_dir(&from).unwrap();
    let program = from.join("host-local");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    scene.order.cni.as_mut().unwrap().executables = Some(from);
    fs::write(scene.dir.path().join("bin"), "no folder").unwrap();
    let outcome = scene.round();
    assert!(waits(&outcome).unwrap().contains("bin/host-local is missing"), "{outcome:?}");
    assert_eq!((outcome.problems.len(), scene.there()), (2, None));
    fs::remove_file(scene.dir.path().join("bin")).unwrap();
    let outcome = scene.round();
    assert_eq!((waits(&outcome), outcome.problems.len()), (None, 0), "{outcome:?}");
}

#[test]
fn other_networks_are_named_and_stay() {
    let mut scene = scene();
    scene.order.node = Ok(values("10.244.1.0/24"));
    scene.round();
    let other = scene.dir.path().join("net.d/05-other.conf");
    fs::write(&other, "{}").unwrap();
    let outcome = scene.round();
    assert_eq!(outcome.problems[0].what, "other networks");
    assert!(outcome.problems[0].error.contains("05-other.conf instead"), "{outcome:?}");
    assert!(other.exists() && waits(&outcome).is_none());
    fs::remove_file(&other).unwrap();
    assert_eq!(scene.round().problems, []);
}

#[tokio::test]
async fn every_change_of_template_and_folder_is_followed() {
    let scene = scene();
    let (dir, mut order) = (scene.dir, scene.order);
    let duties = Duties::start(order.clone());
    order.node = Ok(values("10.244.1.0/24"));
    duties.order(order);
    let there = dir.path().join("net.d/10-ferrule.conflist");
    let until = async |what: &dyn Fn(&str) -> bool| {
        let begin = Instant::now();
        while !fs::read_to_string(&there).is_ok_and(|text| what(&text)) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", duties.outcome());
            sleep(Duration::from_millis(20)).await;
        }
    };
    until(&|text| text.contains("10.244.1.0/24")).await;
    fs::remove_file(&there).unwrap();
    until(&|text| text.contains("10.244.1.0/24")).await;
    fs::write(dir.path().join("template"), TEMPLATE.replace("1.0.0", "1.1.0")).unwrap();
    until(&|text| text.contains("1.1.0")).await;
    fs::write(&there, "{").unwrap();
    until(&|text| text.contains("10.244.1.0/24")).await;
}
