//! Where the executables under test are, and the reference's.

use std::env;
use std::path::{Path, PathBuf};

use crate::peers;
pub use crate::peers::workspace;

/// The variable that names another folder of the reference's executables.
const GIVEN: &str = "FERRULE_REFERENCE_DIR";
/// Where Debian puts them.
const OLD: &str = "/usr/lib/cni";

/// A folder of CNI executables.
#[derive(Clone, Debug)]
pub struct Bins {
    dir: PathBuf,
}

impl Bins {
    /// Ours: `$FERRULE_BIN_DIR`, or the workspace's `dist/`.
    pub fn ours() -> Self {
        let dir =
            env::var_os("FERRULE_BIN_DIR").map_or_else(|| workspace().join("dist"), PathBuf::from);
        assert!(
            dir.join("bridge").is_file(),
            "no executables in {}: run scripts/build first",
            dir.display()
        );
        Self { dir }
    }

    /// The reference suite, at its newest: `$FERRULE_REFERENCE_DIR`, or what scripts/peers builds.
    pub fn reference() -> Self {
        let given = env::var_os(GIVEN).filter(|dir| !dir.is_empty());
        let dir = given.map_or_else(|| peers::folder("reference"), PathBuf::from);
        assert!(dir.join("bridge").is_file(), "no plugins in {}, named in {GIVEN}", dir.display());
        Self { dir }
    }

    /// The reference suite as nodes of four years ago have it: Debian's package, 1.1.1.
    pub fn old_reference() -> Self {
        let dir = PathBuf::from(OLD);
        assert!(
            dir.join("bridge").is_file(),
            "no reference plugins in {OLD}: apt-get install containernetworking-plugins"
        );
        Self { dir }
    }

    /// Whether these are the reference suite's, of any version.
    pub fn is_reference(&self) -> bool {
        is_reference(&self.dir)
    }

    /// A folder with executables of the caller's choice.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The folder, which is also CNI_PATH.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One executable.
    pub fn exe(&self, plugin: &str) -> PathBuf {
        self.dir.join(plugin)
    }
}

/// Whether a path is in a folder of the reference's executables.
pub(crate) fn is_reference(path: &Path) -> bool {
    let given = env::var_os(GIVEN).filter(|dir| !dir.is_empty());
    given.is_some_and(|dir| path.starts_with(dir))
        || path.starts_with(OLD)
        || path.iter().any(|part| part.to_string_lossy().starts_with("reference-v"))
}
