//! That the daemon accepts every configuration of conf/kubernetes.

use std::path::{Path, PathBuf};
use std::process::Command;

use ferrule_tests::{Bins, tool};

use crate::text::{embedded, read};
use crate::variants::{VARIANTS, file};

#[test]
fn the_daemon_accepts_every_configuration() {
    let folder = folder();
    for variant in VARIANTS {
        let config = folder.join(format!("{variant}.toml"));
        std::fs::write(&config, file(variant, "route-sync.toml")).unwrap();
        check(&config);
    }
    let config = folder.join("uninstall.toml");
    std::fs::write(&config, embedded(&read("uninstall.yaml"), "route-sync.toml")).unwrap();
    check(&config);
    std::fs::remove_dir_all(folder).unwrap();
}

fn check(config: &Path) {
    let mut command = Command::new(Bins::ours().exe("route-sync"));
    tool::succeed(command.arg("check-config").arg(config).env("NODE_NAME", "one"));
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ferrule-manifests-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
