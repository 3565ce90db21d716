//! A test's namespace in the cluster, and its pods.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::{Kubernetes, NODES};
use crate::within;

/// What pods run: busybox, and agnhost.
pub const IMAGE: &str = "ferrule.test/tools:1";

/// A namespace for one test.
pub struct Scope<'a> {
    /// The cluster that it is in.
    pub cluster: &'a Kubernetes,
    /// Its name.
    pub name: String,
}

/// A pod that runs.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<String>,
}

impl<'a> Scope<'a> {
    /// A namespace whose name begins so; it is removed with all that is in it when this is dropped.
    pub fn new(cluster: &'a Kubernetes, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.kubectl(&format!("create namespace {name}"));
        // Pods are refused before their account is there.
        cluster
            .kubectl(&format!("-n {name} wait --for=create serviceaccount/default --timeout=60s"));
        Self { cluster, name }
    }

    /// Runs kubectl in the namespace.
    #[track_caller]
    pub fn kubectl(&self, arguments: &str) -> String {
        self.cluster.kubectl(&format!("-n {} {arguments}", self.name))
    }

    /// Applies one object to the namespace.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.name);
        self.cluster.apply(&object.to_string());
    }

    /// A Deployment whose pods run `agnhost netexec` (HTTP on 8080, UDP on 8081), spread over
    /// the nodes; all of them run when this returns.
    #[track_caller]
    pub fn deploy(&self, name: &str, replicas: u32) -> Vec<Pod> {
        let mut spec = pod_spec(&json!({}));
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": name}},
            "nodeTaintsPolicy": "Honor",
        }]);
        self.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
        }));
        self.kubectl(&format!("rollout status deployment/{name} --timeout=150s"));
        self.pods(&format!("app={name}"))
    }

    /// A pod on a node, with more in its container's description; it runs when this returns.
    #[track_caller]
    pub fn pod_on(&self, node: &str, name: &str, container: &Value) -> Pod {
        let mut spec = pod_spec(container);
        spec["nodeName"] = json!(node);
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}}, "spec": spec,
        }));
        self.kubectl(&format!("wait --for=condition=Ready pod/{name} --timeout=150s"));
        self.pods(&format!("app={name}")).remove(0)
    }

    /// A pod on each node.
    #[track_caller]
    pub fn pod_on_each(&self, name: &str) -> Vec<Pod> {
        let on = |node: &&str| self.pod_on(node, &format!("{name}-{node}"), &json!({}));
        NODES.iter().map(on).collect()
    }

    /// A Service of the pods with this label `app`, with a cluster IP of each family. Answers
    /// these addresses.
    #[track_caller]
    pub fn service(&self, app: &str, more: &Value) -> Vec<String> {
        let mut spec = json!({
            "ipFamilyPolicy": "RequireDualStack", "selector": {"app": app},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        });
        merge(&mut spec, more);
        let meta = json!({"name": app});
        self.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}));
        let made = self.cluster.get(&format!("-n {} service {app}", self.name));
        strings(&made["spec"]["clusterIPs"])
    }

    /// The pods with a label that are not about to end.
    pub fn pods(&self, label: &str) -> Vec<Pod> {
        let found = self.cluster.get(&format!("-n {} pods -l {label}", self.name));
        let live = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        found["items"].as_array().expect("a list").iter().filter(live).map(Pod::from).collect()
    }

    /// Runs a shell script in a pod; it may fail. Output, and whether it succeeded.
    pub fn try_exec(&self, pod: &Pod, script: &str) -> (String, bool) {
        let words = ["-n", &self.name, "exec", &pod.name, "--", "sh", "-c", script];
        let done = self.cluster.try_kubectl(&words, "");
        (done.stdout + &done.stderr, done.status.success())
    }

    /// Runs a shell script in a pod, which must succeed.
    #[track_caller]
    pub fn exec(&self, pod: &Pod, script: &str) -> String {
        let (output, success) = self.try_exec(pod, script);
        assert!(success, "{} on {}: `{script}`: {output}", pod.name, pod.node);
        output
    }

    /// Runs a shell script in a pod until it succeeds: a Service takes a moment to be in force.
    #[track_caller]
    pub fn exec_soon(&self, pod: &Pod, script: &str) -> String {
        let mut last = String::new();
        let done = within(Duration::from_secs(60), || {
            let (output, success) = self.try_exec(pod, script);
            last = output;
            success.then(|| last.clone())
        });
        done.unwrap_or_else(|| panic!("{} on {}: `{script}`: {last}", pod.name, pod.node))
    }

    /// Each pod pings each address of the others.
    #[track_caller]
    pub fn all_reach_each_other(&self, pods: &[Pod]) {
        for pod in pods {
            let others = pods.iter().filter(|other| other.name != pod.name);
            let addresses: Vec<_> = others.flat_map(|other| other.addresses.clone()).collect();
            self.exec(pod, &pings(&addresses));
        }
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let words = ["delete", "namespace", &self.name, "--wait=false"];
        let done = self.cluster.try_kubectl(&words, "");
        assert!(done.status.success() || std::thread::panicking(), "{}", done.stderr);
    }
}

impl From<&Value> for Pod {
    fn from(pod: &Value) -> Self {
        let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
        Self {
            name: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            addresses: ips.filter_map(|ip| ip["ip"].as_str()).map(str::to_owned).collect(),
        }
    }
}

/// A script that pings each address once.
pub fn pings(addresses: &[String]) -> String {
    let one = |address: &String| {
        format!(
            "ping -c1 -W5 {address} >/dev/null || {{ echo no answer from {address}; exit 1; }}\n"
        )
    };
    addresses.iter().map(one).collect()
}

/// An address as it stands in a URL.
pub fn in_url(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// A script that prints what HTTP answers: in a pod, or outside of the cluster.
pub fn fetch(address: &str, port: u16, path: &str) -> String {
    format!("timeout 5 busybox wget -q -O- http://{}:{port}/{path}", in_url(address))
}

fn pod_spec(container: &Value) -> Value {
    let mut made = json!({
        "name": "main", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/agnhost", "netexec"],
    });
    merge(&mut made, container);
    json!({"terminationGracePeriodSeconds": 1, "containers": [made]})
}

/// Puts the keys of one object into another.
fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
