use super::*;
use std::fs;

fn checked(text: &str, pod_cidrs: &[&str]) -> Checked {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.yaml");
    fs::write(&file, text).unwrap();
    let cidrs = pod_cidrs.iter().map(|it| it.parse().unwrap()).collect();
    check(&[file], cidrs, dir.path()).unwrap()
}

const POD: &str = "
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
";

fn policy(spec: &str) -> String {
    format!("{POD}kind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n")
}

#[test]
fn what_is_well_is_well() {
    let text = policy(
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: http}, {port: 8080}]}]}",
    );
    let checked = checked(&text, &["10.0.0.0/16"]);
    assert_eq!(checked.text, "1 policies and 1 pods were read; 0 findings\n");
    assert!(checked.is_well);
}

#[test]
fn each_suspicion_is_named_with_its_remedy() {
    for (spec, words) in [
        ("{podSelector: {matchLabels: {app: db}}}", "it selects no pod of these files"),
        (
            "{podSelector: {}, ingress: [{ports: [{port: https}]}]}",
            "ingress rule 1 names TCP \"https\", and no container of the selected pods declares it",
        ),
        (
            "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}",
            "ingress rule 1 names TCP 80, and no container of the selected pods declares it",
        ),
        (
            "{podSelector: {}, egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}",
            "egress rule 1 names pods with app=db of namespace shop, and no pod of these files is one",
        ),
        (
            "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.3.0/24}}]}]}",
            "egress rule 1 has 10.0.3.0/24, which is inside of the pods' range 10.0.0.0/16",
        ),
        (
            "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 192.0.2.1/24}}]}]}",
            "\"192.0.2.1/24\" has host bits set: write \"192.0.2.0/24\"",
        ),
    ] {
        let checked = checked(&policy(spec), &["10.0.0.0/16"]);
        assert!(checked.text.starts_with("warning: NetworkPolicy shop/p: "), "{}", checked.text);
        assert!(checked.text.contains(words), "{words}: {}", checked.text);
        assert!(checked.text.ends_with("; 1 findings\n"), "{}", checked.text);
        assert!(!checked.is_well);
    }
}

#[test]
fn what_the_api_refuses_is_an_error() {
    for (spec, words) in [
        (
            "{podSelector: {}, ingress: [{from: [{}]}]}",
            "ingress rule 1: a peer is empty: write podSelector",
        ),
        (
            "{podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
            "a peer has ipBlock and a selector",
        ),
        (
            "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}",
            "\"10.0.0.0\" is no network",
        ),
        (
            "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}",
            "except \"11.0.0.0/8\" is no part of 10.0.0.0/8",
        ),
        (
            "{podSelector: {}, ingress: [{ports: [{port: http, endPort: 9}]}]}",
            "write a number as port",
        ),
        (
            "{podSelector: {}, ingress: [{ports: [{endPort: 9}]}]}",
            "port is missing: write the first port",
        ),
        (
            "{podSelector: {}, ingress: [{ports: [{port: 8080, endPort: 9}]}]}",
            "endPort is 9, below port 8080",
        ),
        ("{podSelector: {}, ingress: [{ports: [{port: 0}]}]}", "port is 0: write 1 to 65535"),
    ] {
        let checked = checked(&policy(spec), &[]);
        assert!(checked.text.starts_with("error: NetworkPolicy shop/p: "), "{}", checked.text);
        assert!(checked.text.contains(words), "{words}: {}", checked.text);
    }
    let cluster = |spec: &str| {
        let text = format!("kind: ClusterNetworkPolicy\nmetadata: {{name: c}}\nspec: {spec}\n");
        checked(&text, &[]).text
    };
    let text = cluster(
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{action: Accept, to: [{nodes: {}}]}]}",
    );
    assert!(
        text.contains("egress rule 1: a peer is of a kind that policy-sync does not know"),
        "{text}"
    );
    assert!(text.contains("until then it accepts nothing"), "{text}");
    let text = cluster("{tier: Admin, priority: 1, subject: {}, egress: []}");
    assert!(text.contains("subject has not one of namespaces and pods"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = check(&["/nowhere/f.yaml".into()], Vec::new(), Path::new("/nowhere")).unwrap_err();
    assert!(error.starts_with("/nowhere/f.yaml: No such file"), "{error}");
}
