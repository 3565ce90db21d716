//! The executables that a network needs.

use super::conflists::ConfFile;
use crate::places::{self, Places};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An executable that the first conflist names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// The plugin's type.
    pub kind: String,
    /// What is there.
    pub state: State,
}

/// What is where an executable must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Missing,
    /// What cannot be executed, and why.
    Unusable(String),
    /// An executable; of Ferrule its version.
    Usable(Option<String>),
}

/// The executables of the first network.
#[must_use]
pub fn read(places: &Places, files: &[ConfFile]) -> Vec<Executable> {
    let kinds = files.first().map(ConfFile::kinds).unwrap_or_default();
    let read = |kind: String| Executable { state: state(&places.bin_dir.join(&kind), &kind), kind };
    kinds.into_iter().map(read).collect()
}

fn state(path: &Path, kind: &str) -> State {
    let Ok(meta) = path.metadata() else { return State::Missing };
    if !meta.is_file() {
        return State::Unusable("it is no file".to_owned());
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return State::Unusable(format!("its mode is {:o}", meta.permissions().mode() & 0o7777));
    }
    match places::bytes(path) {
        Ok(bytes) if bytes.is_empty() => State::Unusable("it is empty".to_owned()),
        Ok(bytes) => State::Usable(version(&bytes, kind)),
        Err(error) => State::Unusable(error.to_string()),
    }
}

/// The version that an executable of Ferrule holds (`cni::About::stamp`); it is not run for that.
fn version(bytes: &[u8], kind: &str) -> Option<String> {
    let stamp = format!("Ferrule {kind} v");
    let at = bytes.windows(stamp.len()).position(|part| part == stamp.as_bytes())?;
    let rest = bytes.get(at + stamp.len()..)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_graphic())?;
    String::from_utf8(rest[..end].to_vec()).ok().filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_behind_the_name() {
        let bytes = b"x\0Ferrule bridge v0.1.0 and so on";
        assert_eq!(version(bytes, "bridge"), Some("0.1.0".to_owned()));
        assert_eq!(version(bytes, "vxlan"), None);
        assert_eq!(version(b"another program", "bridge"), None);
    }
}
