//! The Helm chart: its template is ferrule.yaml with values in the place of some of its lines.
//! `FERRULE_REWRITE_FIXTURES=1` makes it again.

use std::process::Command;

use ferrule_tests::{peers, tool};

use crate::text::{documents, path, read};

const TEMPLATE: &str = "chart/templates/ferrule.yaml";
const HEAD: &str = "{{- /* Made from conf/kubernetes/ferrule.yaml. Change that, then run
FERRULE_REWRITE_FIXTURES=1 cargo test -p ferrule-tests --test manifests chart */ -}}\n";

/// Text of ferrule.yaml, how often it is there, and what the template has in its place.
const VALUES: &[(&str, usize, &str)] = &[
    ("namespace: ferrule\n", 5, "namespace: {{ .Release.Namespace }}\n"),
    (
        "image: localhost/ferrule:0.1.0",
        1,
        "image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}",
    ),
    ("imagePullPolicy: IfNotPresent", 1, "imagePullPolicy: {{ .Values.image.pullPolicy }}"),
    ("    mode = \"auto\"", 1, "    mode = {{ .Values.mode | quote }}"),
    ("    cluster-cidrs = []", 1, "    cluster-cidrs = {{ toJson .Values.clusterCIDRs }}"),
    ("    service-cidrs = []", 1, "    service-cidrs = {{ toJson .Values.serviceCIDRs }}"),
    ("    vni = 100\n", 1, "    vni = {{ .Values.vxlan.vni | int }}\n"),
    ("    port = 4789\n", 1, "    port = {{ .Values.vxlan.port | int }}\n"),
    ("    enabled = true\n", 1, "    enabled = {{ .Values.masquerade }}\n"),
    (
        "    listen = \"127.0.0.1:9478\"\n",
        1,
        "    listen = \"127.0.0.1:{{ .Values.metricsPort | int }}\"\n    {{- with .Values.moreConfig }}\n    \
         {{- . | nindent 4 }}\n    {{- end }}\n",
    ),
    ("port: 9478\n", 2, "port: {{ .Values.metricsPort | int }}\n"),
    (
        "            requests:\n              cpu: 10m\n              memory: 20Mi\n",
        1,
        "            {{- toYaml .Values.resources | nindent 12 }}\n",
    ),
    (
        "        kubernetes.io/os: linux\n",
        1,
        "        kubernetes.io/os: linux\n        {{- with .Values.nodeSelector }}\n        {{- toYaml . | nindent 8 \
         }}\n        {{- end }}\n",
    ),
];

/// The template as it must be.
fn template() -> String {
    let manifest = read("ferrule.yaml");
    // Helm makes the release's namespace.
    let (_, mut text) = manifest.split_once("\n---\n").unwrap();
    let mut made = text.to_owned();
    for (old, count, new) in VALUES {
        let found = made.matches(old).count();
        assert_eq!(found, *count, "{old:?} in ferrule.yaml");
        made = made.replace(old, new);
    }
    // The plugin that attaches pods follows from the mode.
    let [tunnel, bridge, routed] = ["", "direct", "bgp"].map(attaching);
    assert_eq!(made.matches(&tunnel).count(), 1);
    let choice = format!(
        "        {{{{- if .Values.bgp }}}}\n{routed}        {{{{- else if eq .Values.mode \"direct\" }}}}\n{bridge}        \
         {{{{- else }}}}\n{tunnel}        {{{{- end }}}}\n"
    );
    made = made.replace(&tunnel, &choice);
    text = &made;
    format!("{HEAD}{text}")
}

/// The first plugin of a variant's network, as the manifest indents it.
fn attaching(variant: &str) -> String {
    let list = if variant.is_empty() {
        crate::text::embedded(&read("ferrule.yaml"), "10-ferrule.conflist")
    } else {
        read(&format!("{variant}/10-ferrule.conflist"))
    };
    let lines = list.lines().skip_while(|line| *line != "    {");
    let end = lines.clone().position(|line| line == "    },").unwrap();
    lines.take(end + 1).map(|line| format!("    {line}\n")).collect()
}

#[test]
fn the_template_is_made_from_the_manifest() {
    if std::env::var_os("FERRULE_REWRITE_FIXTURES").is_some() {
        std::fs::write(path(TEMPLATE), template()).unwrap();
    }
    assert!(
        read(TEMPLATE) == template(),
        "{TEMPLATE} is not what ferrule.yaml makes: run this test with FERRULE_REWRITE_FIXTURES=1"
    );
}

fn helm(arguments: &[&str]) -> String {
    let mut command = Command::new(peers::folder("helm").join("helm"));
    command.args(arguments).arg(path("chart"));
    // Where it would look for plugins and a cluster.
    command.env("HOME", "/nonexistent").env_remove("KUBECONFIG");
    tool::succeed(&mut command)
}

fn rendered(more: &[&str]) -> String {
    helm(&[&["template", "--namespace", "ferrule", "--name-template", "ferrule"], more].concat())
}

#[test]
fn the_charts_defaults_are_the_manifest() {
    let mut expected = documents(&read("ferrule.yaml"));
    expected.retain(|document| !document.lines().any(|line| line == "kind: Namespace"));
    assert_eq!(documents(&rendered(&[])), expected);
    assert!(helm(&["lint", "--strict"]).contains("0 chart(s) failed"));
}

/// Each value arrives where it belongs, and what it configures is valid.
#[test]
fn every_value_has_its_effect() {
    let yaml = rendered(&[
        "--set=mode=direct,image.repository=registry.example/f,image.tag=x,image.pullPolicy=Always",
        "--set=clusterCIDRs={10.1.0.0/16,fd00::/48},serviceCIDRs={10.96.0.0/12},masquerade=false",
        "--set=vxlan.vni=16777215,vxlan.port=8472,metricsPort=9999,nodeSelector.zone=a",
        "--set=resources.requests.cpu=1,moreConfig=[probe]\nenabled = true",
    ]);
    for line in [
        "image: registry.example/f:x",
        "imagePullPolicy: Always",
        "mode = \"direct\"",
        "cluster-cidrs = [\"10.1.0.0/16\",\"fd00::/48\"]",
        "service-cidrs = [\"10.96.0.0/12\"]",
        "vni = 16777215",
        "port = 8472",
        "enabled = false",
        "listen = \"127.0.0.1:9999\"",
        "port: 9999",
        "[probe]",
        "zone: a",
        "cpu: 1",
        "\"type\": \"bridge\",",
    ] {
        assert!(yaml.lines().any(|it| it.trim() == line), "{line}\n{yaml}");
    }
    assert!(!yaml.contains("\"type\": \"vxlan\""));
    let routed = rendered(&["--set=bgp=true,moreConfig=[bgp]\nasn = 65001"]);
    assert!(routed.contains("\"type\": \"bgp\"") && !routed.contains("\"type\": \"bridge\""));
}
