//! The variants of kustomize: their configurations and networks.

use ferrule_tests::bins::workspace;
use serde_json::Value;

use crate::text::{embedded, of_kind, path, read};

pub const VARIANTS: [&str; 5] = ["auto", "direct", "vxlan", "bgp", "from-flannel"];

/// The files of a variant's ConfigMap: its own, else those of the manifest.
pub fn file(variant: &str, name: &str) -> String {
    let own = path(variant).join(name);
    std::fs::read_to_string(own).unwrap_or_else(|_| embedded(&read("ferrule.yaml"), name))
}

/// kustomize takes no file from outside of a folder, and no folder that holds the one it builds. So the
/// base of all variants has a copy of the manifest, which `FERRULE_REWRITE_FIXTURES=1` makes again.
#[test]
fn the_base_of_the_variants_is_the_manifest() {
    if std::env::var_os("FERRULE_REWRITE_FIXTURES").is_some() {
        std::fs::copy(path("ferrule.yaml"), path("auto/ferrule.yaml")).unwrap();
    }
    let same = read("ferrule.yaml") == read("auto/ferrule.yaml");
    assert!(same, "auto/ferrule.yaml differs: run this test with FERRULE_REWRITE_FIXTURES=1");
}

/// Modes differ in one line; what else a variant changes is named here.
#[test]
fn variants_of_one_mode_say_the_same_otherwise() {
    let plain = file("auto", "route-sync.toml");
    assert_eq!(
        file("vxlan", "route-sync.toml"),
        plain.replace("mode = \"auto\"", "mode = \"vxlan\"")
    );
    let tunnel = "[vxlan]\nvni = 100\nport = 4789\n\n";
    assert!(plain.contains(tunnel));
    let direct = plain.replace("mode = \"auto\"", "mode = \"direct\"").replace(tunnel, "");
    assert_eq!(file("direct", "route-sync.toml"), direct);
}

#[test]
fn every_network_chains_plugins_that_are_in_the_image() {
    for variant in VARIANTS {
        let list: Value = serde_json::from_str(&file(variant, "10-ferrule.conflist")).unwrap();
        let plugins = list["plugins"].as_array().unwrap();
        let types: Vec<&str> = plugins.iter().map(|it| it["type"].as_str().unwrap()).collect();
        assert_eq!(types.get(1..), Some(["portmap", "bandwidth"].as_slice()), "{variant}");
        for plugin in types {
            let crate_of = workspace().join("plugins").join(plugin);
            assert!(crate_of.is_dir(), "{variant}: {plugin}");
        }
        let ranges = &plugins[0]["ipam"]["ranges"];
        // vxlan and bgp take them from node.json.
        assert_eq!(ranges == "${ranges}", plugins[0]["type"] == "bridge", "{variant}");
    }
}

#[test]
fn the_release_is_named_everywhere() {
    let image = format!("image: localhost/ferrule:{}", env!("CARGO_PKG_VERSION"));
    for (file, count) in [("ferrule.yaml", 1), ("uninstall.yaml", 1)] {
        let named = read(file).lines().filter(|line| line.trim() == image).count();
        assert_eq!(named, count, "{file}");
    }
    let chart = read("chart/Chart.yaml");
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", env!("CARGO_PKG_VERSION"));
        assert!(chart.lines().any(|it| it.replace('"', "") == line), "Chart.yaml: {line}");
    }
}

/// What the daemon of the manifest may do on its node, uninstall's too.
#[test]
fn the_container_has_net_admin_and_nothing_else() {
    for file in ["ferrule.yaml", "uninstall.yaml"] {
        let daemon_set = of_kind(&read(file), "DaemonSet");
        let says = |line: &str| daemon_set.lines().filter(|it| it.trim() == line).count();
        for line in [
            "readOnlyRootFilesystem: true",
            "allowPrivilegeEscalation: false",
            "drop: [\"ALL\"]",
            "add: [\"NET_ADMIN\"]",
            "priorityClassName: system-node-critical",
            "hostNetwork: true",
        ] {
            assert_eq!(says(line), 1, "{file}: {line}");
        }
        assert!(!daemon_set.contains("privileged: true"), "{file}");
        let effects = ["- effect: NoSchedule", "- effect: NoExecute"];
        assert!(effects.into_iter().all(|line| says(line) == 1), "{file}");
        assert_eq!(says("operator: Exists"), 2, "{file}");
    }
}
