//! Results byte for byte: one folder below `fixtures/` for each call.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Call, Node, Pod};
use serde_json::Value;

fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !path.ends_with("conflists"));
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn parsed(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the call of a folder prints, what a run makes up replaced by what it stands for.
fn printed(folder: &Path) -> String {
    let (node, pod) = (Node::new(), Pod::new());
    let environment = parsed(&folder.join("environment.json"));
    let config = fs::read(folder.join("conf.json")).unwrap();
    for (path, text) in environment["files"].as_object().into_iter().flatten() {
        node.write(path, text.as_str().unwrap());
    }
    let ours = Bins::ours();
    let kind = environment["plugin"].as_str().map(str::to_owned);
    let kind =
        kind.unwrap_or_else(|| parsed(&folder.join("conf.json"))["type"].as_str().unwrap().into());
    let mut call = Call::new(ours.exe(&kind), &Value::Null)
        .env("CNI_NETNS", &pod.netns())
        .env("CNI_PATH", &ours.dir().to_string_lossy());
    call.stdin = config;
    for (key, value) in environment.as_object().into_iter().flatten() {
        if key.starts_with("CNI_") {
            call = call.env(key, value.as_str().unwrap());
        }
    }
    let text = call.run(&node).stdout;
    with_placeholders(text, &node, &pod)
}

fn with_placeholders(text: String, node: &Node, pod: &Pod) -> String {
    let mut text = text.replace(&pod.netns(), "<netns>");
    for links in [node.json("ip -j link"), pod.json("ip -j link")] {
        for link in links.as_array().into_iter().flatten().filter(|link| link["ifname"] != "lo") {
            let (name, mac) = (link["ifname"].as_str().unwrap(), link["address"].as_str().unwrap());
            text = text.replace(mac, &format!("<MAC of {name}>"));
        }
    }
    text
}

#[test]
fn fixtures_are_what_is_printed() {
    let rewrite = std::env::var_os("FERRULE_REWRITE_FIXTURES").is_some();
    let mut text = String::new();
    let all = folders();
    assert!(all.len() > 20, "only {} fixtures", all.len());
    for folder in all {
        let (path, printed) = (folder.join("expected.json"), printed(&folder));
        if rewrite {
            fs::write(&path, &printed).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if printed != expected {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            writeln!(text, "{name}: expected\n{expected}\nprinted\n{printed}").unwrap();
        }
    }
    assert!(text.is_empty(), "{text}");
}
