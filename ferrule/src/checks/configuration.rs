//! What the runtime needs before it calls a plugin.

use crate::check::Check;
use crate::facts::Facts;
use crate::facts::conflists::ConfFile;
use crate::facts::executables::State;
use crate::finding::Finding;
use std::collections::BTreeMap;

/// Symptom 1.
pub const CONFLIST: Check = Check {
    id: "conflist",
    symptom: "The node is NotReady: \"cni config uninitialized\", \"no networks found in /etc/cni/net.d\"",
    cause: "The runtime takes the first file of /etc/cni/net.d by name. Either there is none, or the first one \
            is not a network configuration; then no later file is looked at.",
    remedy: "Put a conflist into /etc/cni/net.d, correct the file that is named, or remove it.",
    run: conflist,
};

fn conflist(facts: &Facts) -> Vec<Finding> {
    let Ok(files) = &facts.conflists else { return vec![] };
    let folder = facts.places.conf_dir.display();
    let finding = match files.first() {
        None => Finding::certain(format!("there is no network configuration in {folder}"))
            .because(format!("{folder} has no file that ends with .conf, .conflist or .json"))
            .mend(format!("cp 10-ferrule.conflist {folder}/   # README.md has one to copy")),
        Some(ConfFile { name, problem: Some(problem), .. }) => {
            let what = format!("the runtime takes {folder}/{name} first and cannot use it");
            let count = files.len();
            Finding::certain(what)
                .because(problem.clone())
                .because(format!(
                    "files in {folder}, in the runtime's order: {}",
                    listed(files, count)
                ))
                .mend(format!("correct {folder}/{name}, or move it to another folder"))
        }
        Some(_) => return vec![],
    };
    vec![finding]
}

fn listed(files: &[ConfFile], most: usize) -> String {
    let names: Vec<&str> = files.iter().take(most).map(|file| file.name.as_str()).collect();
    names.join(", ")
}

/// Main plugins of other suites.
const OTHERS: &[(&str, &str)] = &[
    ("flannel", "flannel"),
    ("calico", "Calico"),
    ("cilium-cni", "Cilium"),
    ("weave-net", "Weave"),
    ("antrea", "Antrea"),
    ("ovn-k8s-cni-overlay", "OVN-Kubernetes"),
    ("aws-cni", "the AWS VPC CNI"),
    ("azure-vnet", "the Azure CNI"),
    ("kindnet", "kindnet"),
];

/// Symptom 3.
pub const OTHER_FIRST: Check = Check {
    id: "other-conflist-first",
    symptom: "Pods do not start: \"/run/flannel/subnet.env: no such file\", or an error of another CNI suite",
    cause: "The runtime takes the first file of /etc/cni/net.d by name, and that is another suite's, mostly one \
            that was installed before. Ferrule's own configuration is never read.",
    remedy: "Remove the other suite's file, or give Ferrule's a name that sorts before it.",
    run: other_first,
};

fn other_first(facts: &Facts) -> Vec<Finding> {
    let Ok(files) = &facts.conflists else { return vec![] };
    let Some((first, rest)) = files.split_first() else { return vec![] };
    let suite = OTHERS.iter().find(|(kind, _)| first.plugins.iter().any(|p| p.kind == *kind));
    let ours = |file: &&ConfFile| {
        file.main().is_some_and(|main| ["bridge", "vxlan", "bgp"].contains(&main.kind.as_str()))
    };
    let (Some((kind, suite)), Some(later)) = (suite, rest.iter().find(ours)) else { return vec![] };
    let folder = facts.places.conf_dir.display();
    let what = format!("{}, of {suite}, sorts before {}", first.name, later.name);
    let finding = Finding::certain(what)
        .because(format!("its first plugin is {kind:?}"))
        .because(format!("files in {folder}: {}", listed(files, files.len())))
        .mend(format!(
            "mv {folder}/{} /var/tmp/   # then delete the pods that it served",
            first.name
        ));
    vec![finding]
}

/// Symptom 2.
pub const EXECUTABLES: Check = Check {
    id: "executables",
    symptom: "Pods do not start: \"failed to find plugin\", \"permission denied\", or an error about versions",
    cause: "The network configuration names plugins by their type, and the runtime looks for an executable of \
            that name in /opt/cni/bin. One is missing, cannot be executed, or is of another release of Ferrule \
            than the others.",
    remedy: "Run scripts/install again, which installs all executables of one release.",
    run: executables,
};

fn executables(facts: &Facts) -> Vec<Finding> {
    let folder = facts.places.bin_dir.display();
    let network = facts.first().map_or("", |file| file.name.as_str());
    let mut found = Vec::new();
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for executable in &facts.executables {
        let kind = &executable.kind;
        let named = format!("{network} names the plugin {kind:?}");
        match &executable.state {
            State::Missing => found.push(
                Finding::certain(format!("{folder}/{kind} is missing"))
                    .because(named)
                    .mend(format!("scripts/install --bin-dir {folder}")),
            ),
            State::Unusable(why) => found.push(
                Finding::certain(format!("{folder}/{kind} cannot be executed: {why}"))
                    .because(named)
                    .mend(format!("chmod 755 {folder}/{kind}   # or scripts/install again")),
            ),
            State::Usable(Some(version)) => versions.entry(version).or_default().push(kind),
            State::Usable(None) => {}
        }
    }
    if versions.len() > 1 {
        let finding =
            Finding::likely(format!("{folder} holds plugins of {} releases", versions.len()));
        let mut finding = finding.mend(format!("scripts/install --bin-dir {folder}"));
        for (version, kinds) in &versions {
            finding = finding.because(format!("v{version}: {}", kinds.join(", ")));
        }
        found.push(finding);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::conflists::Plugin;
    use crate::facts::executables::Executable;
    use crate::facts::nothing;

    fn file(name: &str, kind: &str) -> ConfFile {
        let plugin = Plugin { kind: kind.to_owned(), ..Plugin::default() };
        ConfFile { name: name.to_owned(), plugins: vec![plugin], ..ConfFile::default() }
    }

    #[test]
    fn a_broken_first_file_is_named_with_its_fault() {
        let mut facts = nothing();
        let broken =
            ConfFile { problem: Some("it is no JSON".to_owned()), ..file("05-a.conf", "x") };
        facts.conflists = Ok(vec![broken, file("10-b.conflist", "bridge")]);
        let found = conflist(&facts);
        assert!(found[0].what.contains("05-a.conf first"), "{found:?}");
        assert_eq!(found[0].evidence[0], "it is no JSON");
        facts.conflists = Ok(vec![file("10-b.conflist", "bridge")]);
        assert_eq!(conflist(&facts), []);
    }

    #[test]
    fn another_suites_file_that_sorts_first_is_named() {
        let mut facts = nothing();
        let (theirs, ours) =
            (file("10-flannel.conflist", "flannel"), file("20-f.conflist", "vxlan"));
        facts.conflists = Ok(vec![theirs.clone(), ours.clone()]);
        let found = other_first(&facts);
        assert_eq!(found[0].what, "10-flannel.conflist, of flannel, sorts before 20-f.conflist");
        facts.conflists = Ok(vec![ours, theirs]);
        assert_eq!(other_first(&facts), []);
    }

    #[test]
    fn executables_that_are_missing_or_of_two_releases_are_named() {
        let mut facts = nothing();
        let of = |kind: &str, state: State| Executable { kind: kind.to_owned(), state };
        let version = |text: &str| State::Usable(Some(text.to_owned()));
        facts.executables = vec![
            of("bridge", version("0.1.0")),
            of("host-local", version("0.2.0")),
            of("portmap", State::Missing),
            of("tuning", State::Unusable("its mode is 644".to_owned())),
            of("macvlan", State::Usable(None)),
        ];
        let found: Vec<String> = executables(&facts).into_iter().map(|one| one.what).collect();
        assert_eq!(found[0], "/opt/cni/bin/portmap is missing");
        assert_eq!(found[1], "/opt/cni/bin/tuning cannot be executed: its mode is 644");
        assert_eq!(found[2], "/opt/cni/bin holds plugins of 2 releases");
    }
}
