//! What `kubectl apply -k` sends for a variant.

use std::collections::BTreeSet;
use std::process::Command;

use ferrule_tests::{peers, tool};

use crate::text::{documents, embedded, of_kind, path, read};
use crate::variants::{VARIANTS, file};

/// What `kubectl apply -k` sends.
fn built(variant: &str) -> String {
    let kubectl = peers::folder("kubernetes").join("kubectl");
    tool::succeed(Command::new(kubectl).arg("kustomize").arg(path(variant)))
}

/// The lines of the document of a kind.
fn lines(yaml: &str, kind: &str) -> BTreeSet<String> {
    of_kind(yaml, kind).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn each_variant_is_the_manifest_with_another_configuration() {
    let plain = built("auto");
    assert_eq!(documents(&plain).len(), documents(&read("ferrule.yaml")).len());
    for variant in VARIANTS {
        let built = built(variant);
        for name in ["route-sync.toml", "10-ferrule.conflist"] {
            assert_eq!(embedded(&built, name), file(variant, name), "{variant}: {name}");
        }
        for kind in ["Namespace", "ServiceAccount", "ClusterRole", "Role"] {
            assert_eq!(of_kind(&built, kind), of_kind(&plain, kind), "{variant}");
        }
        let (daemons, those) = (lines(&built, "DaemonSet"), lines(&plain, "DaemonSet"));
        let more: Vec<&String> = daemons.symmetric_difference(&those).collect();
        let expected: &[&str] =
            if variant == "from-flannel" { &["ferrule.io/network: ferrule"] } else { &[] };
        assert_eq!(more, expected, "{variant}");
    }
}
