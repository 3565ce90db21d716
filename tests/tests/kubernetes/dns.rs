//! Names, by CoreDNS behind its Service.

use ferrule_tests::kubernetes::{Scope, shared};
use serde_json::json;

/// Go's resolver, which agnhost has, reads the pod's resolv.conf; busybox's asks one server.
#[test]
fn names_resolve_in_every_pod_by_both_families() {
    let cluster = shared();
    cluster.kubectl("-n kube-system rollout status deployment/coredns --timeout=120s");
    let scope = Scope::new(&cluster, "names");
    scope.deploy("web", 3);
    scope.service("web", &json!({}));
    for pod in scope.pod_on_each("client") {
        let full = format!("web.{}.svc.cluster.local", scope.name);
        for name in ["web", &full, "outside.example", "kubernetes.default"] {
            let port = if name == "kubernetes.default" { 443 } else { 80 };
            scope.exec_soon(&pod, &format!("agnhost connect {name}:{port} --timeout=5s"));
        }
        for server in ["10.96.0.10", "fd00:10:96::a"] {
            let found = scope.exec_soon(&pod, &format!("nslookup {full} {server}"));
            assert!(found.contains("fd00:10:96:") && found.contains("10.96."), "{found}");
        }
    }
}
