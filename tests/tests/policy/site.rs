//! A node with policy-sync on objects in files, and pods on one bridge with both families.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ferrule_tests::conf::dual;
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::{Place, words};
use ferrule_tests::{Background, Bins, Node, Pod, patience, within};
use serde_json::{Value, json};

const FOLDER: &str = "/run/policies";
const LOG: &str = "/run/policy-sync.log";

/// The node.
pub struct Site {
    pub node: Node,
    daemon: Option<Background>,
}

/// A pod with its addresses, IPv4 first.
pub struct Member {
    pub pod: Pod,
    pub namespace: String,
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub result: Value,
}

/// What a probe sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Tcp(u16),
    Udp(u16),
    Ping,
}

impl Site {
    /// With policy-sync running; the namespaces' names are labels of theirs too.
    pub fn new() -> Site {
        Site::with("")
    }

    /// As [`Site::new`], with more keys.
    pub fn with(keys: &str) -> Site {
        let node = Node::new();
        for family in ["", "6"] {
            node.set_sysctl(&format!("net/bridge/bridge-nf-call-ip{family}tables"), "0");
        }
        let config = format!(
            "node-name = \"node\"\n{keys}\n[source]\ntype = \"files\"\npath = \"{FOLDER}\"\n"
        );
        node.write("/run/policy-sync.toml", &config);
        node.run(&format!("mkdir {FOLDER}"));
        let mut site = Site { node, daemon: None };
        for namespace in ["shop", "other"] {
            site.put(&format!("namespace-{namespace}"), &[json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}},
            })]);
        }
        site.start();
        let ready = || site.node.exists("/run/ferrule/policy.json").then_some(());
        within(Duration::from_secs(20), ready).unwrap_or_else(|| panic!("{}", site.log()));
        site
    }

    pub fn command(&self, arguments: &str) -> String {
        let exe = Bins::ours().exe("policy-sync");
        format!("{} --config /run/policy-sync.toml {arguments}", exe.display())
    }

    pub fn start(&mut self) {
        let command = words(&self.command(""));
        self.daemon = Some(Background::start_in(self.node.ns(), None, &command, LOG));
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    pub fn log(&self) -> String {
        self.node.read(LOG)
    }

    /// Puts objects into a file, in one step.
    pub fn put(&self, file: &str, objects: &[Value]) {
        let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        self.node.write(&format!("/run/{file}.new"), &texts.join("\n---\n"));
        self.node.run(&format!("mv /run/{file}.new {FOLDER}/{file}.yaml"));
    }

    pub fn remove(&self, file: &str) {
        self.node.run(&format!("rm {FOLDER}/{file}.yaml"));
    }

    /// The object of a pod.
    pub fn describe(&self, namespace: &str, name: &str, labels: &Value) {
        let file = format!("pod-{namespace}-{name}");
        self.put(
            &file,
            &[json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "spec": {"nodeName": "node", "containers": [{"name": "main", "ports": [
                    {"name": "web", "containerPort": 8080, "protocol": "TCP"},
                ]}]},
            })],
        );
    }

    /// The pod, attached; its object is [`Site::describe`]'s.
    pub fn attach(&self, namespace: &str, name: &str) -> Member {
        let pod = Pod::new();
        let result = self.attachment(&pod, namespace, name).add();
        let addresses = addresses(&result).into_iter();
        let addresses = addresses.map(|text| text.split('/').next().unwrap().parse().unwrap());
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Member { pod, namespace, name, addresses: addresses.collect(), result }
    }

    pub fn attachment(
        &self,
        pod: &Pod,
        namespace: &str,
        name: &str,
    ) -> ferrule_tests::Attachment<'_> {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID=u"
        );
        self.node.attach(&dual(), pod).args(&args)
    }

    /// A pod with a label `app` of its name.
    pub fn pod(&self, namespace: &str, name: &str) -> Member {
        self.describe(namespace, name, &json!({"app": name}));
        self.attach(namespace, name)
    }

    /// A policy of a namespace, put into its place.
    pub fn policy(&self, namespace: &str, name: &str, spec: &Value) {
        self.put(
            &format!("policy-{namespace}-{name}"),
            &[json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"namespace": namespace, "name": name}, "spec": spec,
            })],
        );
    }

    pub fn no_policy(&self, namespace: &str, name: &str) {
        self.remove(&format!("policy-{namespace}-{name}"));
    }

    pub fn no_policy_if_any(&self, namespace: &str, name: &str) {
        self.node.run(&format!("rm -f {FOLDER}/policy-{namespace}-{name}.yaml"));
    }

    /// Waits until what a probe shows is as wanted, over both families.
    #[track_caller]
    pub fn expect(&self, from: &Member, to: &Member, probe: Probe, passes: bool) {
        for address in &to.addresses {
            let as_wanted =
                || (reaches(&from.pod, &to.pod, *address, probe) == passes).then_some(());
            if within(Duration::from_secs(10), as_wanted).is_none() {
                let rules = self.node.run("nft list ruleset");
                panic!(
                    "{probe:?} from {} to {} at {address} passes: {}, and not {passes}\n{rules}\n{}",
                    from.name,
                    to.name,
                    !passes,
                    self.log()
                );
            }
        }
    }
}

/// How long a packet may take that is to arrive, or is not.
fn limit() -> Duration {
    patience(Duration::from_millis(400))
}

/// Whether a probe is answered.
pub fn reaches(from: &Pod, to: &Pod, address: IpAddr, probe: Probe) -> bool {
    match probe {
        Probe::Tcp(port) => tcp(from, to, SocketAddr::new(address, port)),
        Probe::Udp(port) => udp(from, to, SocketAddr::new(address, port)),
        Probe::Ping => from.try_run(&format!("ping -n -c1 -W0.4 {address}")).status.success(),
    }
}

fn tcp(from: &Pod, to: &Pod, at: SocketAddr) -> bool {
    let _listener = to.ns().enter(|| TcpListener::bind(at)).expect("listen");
    from.ns().enter(|| TcpStream::connect_timeout(&at, limit())).is_ok()
}

fn udp(from: &Pod, to: &Pod, at: SocketAddr) -> bool {
    let server = to.ns().enter(|| UdpSocket::bind(at)).expect("bind");
    server.set_read_timeout(Some(limit())).expect("a limit");
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = from.ns().enter(|| UdpSocket::bind(any)).expect("bind");
    client.send_to(b"ask", at).is_ok() && server.recv_from(&mut [0; 8]).is_ok()
}

/// Which pods a policy selects: those with this label `app`.
pub fn app(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}
