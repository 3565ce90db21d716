//! The programs that suites run beside ours: those of `tests/peers/`, built by `scripts/peers`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::tool;

/// A first build fetches modules, and waits for another that builds the same.
const LIMIT: Duration = Duration::from_secs(600);

/// The folder of a peer's executables, built when it is not there yet.
pub fn folder(name: &str) -> PathBuf {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().expect("no test dies while it asks for a peer");
    found.entry(name.to_owned()).or_insert_with(|| ask(name)).clone()
}

fn ask(name: &str) -> PathBuf {
    let script = workspace().join("scripts/peers");
    PathBuf::from(tool::succeed_within(Command::new(script).arg(name), LIMIT).trim())
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}
