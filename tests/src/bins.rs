//! Where the executables under test are, and the reference's.

use std::env;
use std::path::{Path, PathBuf};

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

    /// The reference suite: `$FERRULE_REFERENCE_DIR`, or where Debian puts it.
    pub fn reference() -> Self {
        let dir = reference_dir();
        assert!(
            dir.join("bridge").is_file(),
            "no reference plugins in {}: apt-get install containernetworking-plugins, \
             or name their folder in FERRULE_REFERENCE_DIR",
            dir.display()
        );
        Self { dir }
    }

    /// Whether these are the reference suite's.
    pub fn is_reference(&self) -> bool {
        self.dir == reference_dir()
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

fn reference_dir() -> PathBuf {
    env::var_os("FERRULE_REFERENCE_DIR")
        .map_or_else(|| PathBuf::from("/usr/lib/cni"), PathBuf::from)
}

/// Whether an executable is one of the reference's.
pub(crate) fn is_reference(exe: &Path) -> bool {
    exe.starts_with(reference_dir())
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}
