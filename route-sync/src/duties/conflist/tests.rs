use super::*;
use serde_json::{Value, json};
use std::fs::Permissions;
use tempfile::TempDir;

/// A node's folders.
struct Scene {
    dir: TempDir,
    cni: Cni,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let cni = Cni {
        template: "/t".into(),
        conf_dir: dir.path().join("net.d"),
        conf_name: "10-ferrule.conflist".to_owned(),
        bin_dir: "/b".into(),
        executables: None,
    };
    Scene { dir, cni }
}

fn template(plugins: &Value) -> List {
    let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins});
    list.as_object().unwrap().clone()
}

impl Scene {
    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn write(&self, now: &List) -> Written {
        write(&self.cni, &self.state(), now).unwrap()
    }

    fn there(&self) -> Value {
        serde_json::from_slice(&fs::read(self.cni.conflist()).unwrap()).unwrap()
    }

    fn put(&self, text: &str) {
        fs::create_dir_all(&self.cni.conf_dir).unwrap();
        fs::write(self.cni.conflist(), text).unwrap();
    }

    /// Everything in the conflist's folder.
    fn names(&self) -> Vec<String> {
        let entries = self.cni.conf_dir.read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn kept(&self) -> Option<String> {
        fs::read_to_string(replaced(&self.cni.conflist(), &self.state())).ok()
    }
}

#[test]
fn it_is_written_once_and_again_when_it_differs() {
    let scene = scene();
    let now = template(&json!([{"type": "vxlan"}]));
    assert!(scene.write(&now).changed);
    assert_eq!(scene.names(), ["10-ferrule.conflist"]);
    let meta = fs::metadata(scene.cni.conflist()).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o644);
    assert!(!scene.write(&now).changed);
    assert_eq!(fs::metadata(scene.cni.conflist()).unwrap().ino(), meta.ino());
    // Another form of the same content is no other content.
    scene.put(&Value::Object(now.clone()).to_string());
    assert!(!scene.write(&now).changed);
    fs::remove_file(scene.cni.conflist()).unwrap();
    assert!(scene.write(&now).changed);
    let other = template(&json!([{"type": "bgp"}]));
    fs::set_permissions(scene.cni.conflist(), Permissions::from_mode(0o600)).unwrap();
    assert!(scene.write(&other).changed);
    assert_eq!(scene.there(), Value::Object(other));
    let mode = fs::metadata(scene.cni.conflist()).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600, "an administrator's stricter mode stays");
    assert_eq!(scene.kept(), None);
}

#[test]
fn what_others_put_there_stays_and_is_remarked() {
    let scene = scene();
    let first = template(&json!([{"type": "bridge", "mtu": 1}]));
    scene.write(&first);
    let mut edited = scene.there();
    edited["plugins"].as_array_mut().unwrap().push(json!({"type": "istio-cni"}));
    edited["plugins"][0]["hairpinMode"] = true.into();
    scene.put(&edited.to_string());
    let written = scene.write(&first);
    assert!(!written.changed && written.remarks.len() == 2, "{written:?}");
    assert!(written.remarks[0].ends_with("that others put there: istio-cni"), "{written:?}");
    assert!(written.remarks[1].contains("hairpinMode is true there and absent in the template"));
    let written = scene.write(&template(&json!([{"type": "bridge", "mtu": 2}])));
    assert!(written.changed);
    edited["plugins"][0]["mtu"] = 2.into();
    assert_eq!(scene.there(), edited);
}

#[test]
fn what_is_replaced_is_kept_aside_and_remarked() {
    for broken in ["{", "[]", "{\"plugins\": 1}", "{\"name\": \"x\", \"plugins\": [{}]}"] {
        let scene = scene();
        scene.put(broken);
        let now = template(&json!([{"type": "vxlan"}]));
        let written = scene.write(&now);
        assert!(written.changed, "{broken}");
        assert_eq!(scene.kept().as_deref(), Some(broken));
        assert!(written.remarks[0].contains("had changes of others that were replaced"));
        assert_eq!(scene.there(), Value::Object(now));
    }
    let scene = scene();
    scene.write(&template(&json!([{"type": "vxlan", "mtu": 1}])));
    scene.put(&scene.there().to_string().replace("\"mtu\":1", "\"mtu\":2"));
    scene.write(&template(&json!([{"type": "vxlan", "mtu": 3}])));
    assert!(scene.kept().unwrap().contains("\"mtu\":2"));
    assert_eq!(scene.there()["plugins"][0]["mtu"], 3);
}

/// Wherever a daemon was killed, the next one knows what others have put into the file.
#[test]
fn a_kill_at_any_step_loses_nothing() {
    let old = template(&json!([{"type": "bridge", "mtu": 1}, {"type": "portmap"}]));
    let new = template(&json!([{"type": "bridge", "mtu": 2}, {"type": "tuning"}]));
    let with_others = |list: &List| {
        let mut list = list.clone();
        list["plugins"].as_array_mut().unwrap().push(json!({"type": "x"}));
        list
    };
    for file in [&old, &new] {
        for record in [vec![&old], vec![&new, &old], vec![&new]] {
            // Never: the record of the new one alone is written behind the file.
            if record == [&new] && file == &old || record == [&old] && file == &new {
                continue;
            }
            let scene = scene();
            scene.put(&Value::Object(with_others(file)).to_string());
            let path = scene.cni.conflist();
            let written = record.into_iter().cloned().collect();
            Record { version: VERSION, path, written }.write(&scene.state()).unwrap();
            fs::write(aside(&scene.cni.conflist()), "half").unwrap();
            tidy(&scene.cni);
            scene.write(&new);
            assert_eq!(scene.there(), Value::Object(with_others(&new)));
            assert_eq!((scene.kept(), scene.names().len()), (None, 1));
        }
    }
}

#[test]
fn under_another_name_it_takes_others_plugins_along() {
    let mut scene = scene();
    let now = template(&json!([{"type": "vxlan"}]));
    scene.write(&now);
    let mut edited = scene.there();
    edited["plugins"].as_array_mut().unwrap().push(json!({"type": "x"}));
    scene.put(&edited.to_string());
    "05-ferrule.conflist".clone_into(&mut scene.cni.conf_name);
    assert!(scene.write(&now).changed);
    assert_eq!((scene.there(), scene.names()), (edited, vec!["05-ferrule.conflist".to_owned()]));
    assert!(!scene.write(&now).changed);
}

#[test]
fn only_what_was_written_is_taken_away() {
    let scene = scene();
    let now = template(&json!([{"type": "vxlan"}]));
    let take = |template: Option<&List>| take_away(&scene.cni, &scene.state(), template).unwrap();
    assert_eq!(take(Some(&now)), Gone::Absent);
    scene.write(&now);
    let mut edited = scene.there();
    edited["plugins"].as_array_mut().unwrap().push(json!({"type": "x", "a": 1}));
    scene.put(&edited.to_string());
    assert_eq!(take(None), Gone::Removed(vec![r#"{"a":1,"type":"x"}"#.to_owned()]));
    assert_eq!(take(None), Gone::Absent);
    // Without a record the template says what is ours.
    scene.put(&edited.to_string());
    assert!(matches!(take(None), Gone::NotOurs(_)));
    assert!(matches!(take(Some(&template(&json!([{"type": "bgp"}])))), Gone::NotOurs(_)));
    assert!(matches!(take(Some(&now)), Gone::Removed(_)));
    scene.put("{");
    assert!(matches!(take(Some(&now)), Gone::NotOurs(_)));
}

#[test]
fn a_folder_in_its_place_is_an_error_with_a_remedy() {
    let scene = scene();
    fs::create_dir_all(scene.cni.conflist()).unwrap();
    let now = template(&json!([{"type": "vxlan"}]));
    let error = write(&scene.cni, &scene.state(), &now).unwrap_err();
    assert!(error.contains("10-ferrule.conflist: "), "{error}");
    assert_eq!(scene.names(), ["10-ferrule.conflist"]);
}
