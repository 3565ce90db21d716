//! scripts/image: the archive and what is in it. That containerd runs it is shown by suite `containerd`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrule_tests::bins::workspace;
use ferrule_tests::{Bins, tool};
use serde_json::Value;

/// A busy machine takes a minute to compress an image.
const LIMIT: Duration = Duration::from_secs(300);

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("ferrule-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn build(output: &Path, more: &[&str]) -> String {
    let mut command = Command::new(workspace().join("scripts/image"));
    command.env("FERRULE_BIN_DIR", Bins::ours().dir()).env("SOURCE_DATE_EPOCH", "1700000000");
    command.arg("--output").arg(output).args(more);
    tool::succeed_within(&mut command, LIMIT)
}

fn entry(archive: &Path, name: &str) -> Value {
    let mut tar = Command::new("tar");
    tar.arg("-xOf").arg(archive).arg(format!("./{name}"));
    serde_json::from_str(&tool::succeed(&mut tar)).unwrap()
}

fn blob(archive: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    entry(archive, &format!("blobs/{digest}"))
}

#[test]
fn equal_executables_make_an_equal_image() {
    let folder = Folder::new("image-equal");
    let archives = ["a", "b"].map(|name| folder.0.join(name));
    let printed = archives.each_ref().map(|archive| build(archive, &[]));
    assert!(printed[0].contains("localhost/ferrule:"), "{printed:?}");
    let [a, b] = archives.each_ref().map(|archive| std::fs::read(archive).unwrap());
    assert!(a == b, "{} and {} bytes differ", a.len(), b.len());
}

#[test]
fn it_has_each_tag_and_every_executable_and_nothing_else() {
    let folder = Folder::new("image-tags");
    let archive = folder.0.join("image");
    build(&archive, &["--name", "registry.example/net/ferrule", "--tag", "one", "--tag", "two"]);
    let index = entry(&archive, "index.json");
    let manifests = index["manifests"].as_array().unwrap();
    let names = manifests.iter().map(|it| it["annotations"]["io.containerd.image.name"].clone());
    let expected = ["one", "two"].map(|tag| format!("registry.example/net/ferrule:{tag}"));
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let manifest = blob(&archive, &manifests[0]);
    let config = blob(&archive, &manifest["config"]);
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/bin/route-sync"]));
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    let found = files(&archive, manifest["layers"].as_array().unwrap(), &folder.0);
    assert_eq!(found, executables());
}

/// The files of all layers, sorted.
fn files(archive: &Path, layers: &[Value], folder: &Path) -> Vec<String> {
    let mut found = vec![];
    for layer in layers {
        let digest = layer["digest"].as_str().unwrap().replace(':', "/");
        let script = format!(
            "cd {} && tar -xf {} ./blobs/{digest} && tar -tf blobs/{digest}",
            folder.display(),
            archive.display()
        );
        let list = tool::succeed(Command::new("sh").args(["-ec", &script]));
        found.extend(list.lines().filter(|name| !name.ends_with('/')).map(str::to_owned));
    }
    found.sort_unstable();
    found
}

/// Where each executable of this workspace is in the image, sorted.
fn executables() -> Vec<String> {
    let packages = |room: &str, folder: &str| {
        let all = std::fs::read_dir(workspace().join(room)).unwrap().flatten();
        let names = all.filter(|entry| entry.path().join("Cargo.toml").exists());
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    let mut all = [packages("plugins", "cni"), packages("ipam", "cni")].concat();
    let tools = ["route-sync", "policy-sync", "service-sync", "ferrule"];
    let there = tools.into_iter().filter(|name| workspace().join(name).join("Cargo.toml").exists());
    all.extend(there.map(|name| format!("bin/{name}")));
    all.sort_unstable();
    all
}

#[test]
fn what_cannot_be_built_is_named() {
    let folder = Folder::new("image-refused");
    let run = |bins: &Path, arguments: &[&str]| {
        let mut command = Command::new(workspace().join("scripts/image"));
        command.env("FERRULE_BIN_DIR", bins).arg("--output").arg(folder.0.join("image"));
        let done = tool::finish_within(command.args(arguments), b"", LIMIT);
        assert!(!done.status.success());
        done.stderr
    };
    let ours = Bins::ours();
    assert!(run(&folder.0, &[]).contains("run scripts/build first"));
    assert!(run(ours.dir(), &["--tag", "a b"]).contains("--tag a b is no tag"));
    assert!(run(ours.dir(), &["--name", "Ferrule"]).contains("--name Ferrule is no image name"));
    assert!(!folder.0.join("image").exists());
}
