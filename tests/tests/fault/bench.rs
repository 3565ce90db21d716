//! A node whose state is known, a pod, and what is left of the pod on the node.

use std::collections::BTreeSet;
use std::fmt;

use ferrule_tests::conf::BRIDGE;
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Node, Pod, Snapshot};
use serde_json::Value;

use crate::seam::Seam;

/// A node with the seam in place, its state, and a pod.
pub struct Bench {
    /// The node.
    pub node: Node,
    /// The pod.
    pub pod: Pod,
    before: Snapshot,
}

impl Bench {
    /// A node that never had a pod.
    pub fn fresh() -> Self {
        let (node, pod) = (Node::new(), Pod::new());
        Seam::install(&node);
        let before = state(&node);
        Self { node, pod, before }
    }

    /// A node that had one.
    pub fn used(config: &Value) -> Self {
        let bench = Self::fresh();
        bench.attach(config).add();
        bench.attach(config).del(None);
        bench
    }

    /// The pod's attachment, by the executables behind the seam.
    pub fn attach(&self, config: &Value) -> Attachment<'_> {
        self.node.attach(config, &self.pod).by(&Seam::bins())
    }

    /// The same by the executables themselves.
    pub fn attach_plainly(&self, config: &Value) -> Attachment<'_> {
        self.node.attach(config, &self.pod)
    }

    /// The seam.
    pub fn seam(&self) -> Seam<'_> {
        Seam::of(&self.node)
    }

    /// What is on the node, or in the pod, that was not before, and what is gone.
    pub fn left(&self) -> Left {
        let mut text = self.before.difference(&state(&self.node));
        for link in &self.node.veths() {
            let up = self.node.read(&format!("/sys/class/net/{link}/flags"));
            let up = i32::from_str_radix(up.trim_start_matches("0x"), 16).is_ok_and(|f| f & 1 == 1);
            text += if up { "veth + up\n" } else { "veth + down\n" };
        }
        for link in self.pod.links() {
            text += &format!("pod + {link}\n");
        }
        Left(text)
    }
}

/// A node's state, but for what the README says that stays after the last pod.
fn state(node: &Node) -> Snapshot {
    Snapshot::of(node).without_first_use(BRIDGE).without_files(&[Seam::folder()])
}

/// A difference of a node to its earlier state.
pub struct Left(String);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // A link brings a hundred sysctls.
        let shown = self.0.lines().filter(|line| !line.starts_with("sysctls "));
        shown.into_iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Left {
    /// Whether there is none.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the pod can still send.
    pub fn is_connected(&self) -> bool {
        self.0.contains("veth + up")
    }

    /// Whether an address is leased.
    pub fn has_lease(&self) -> bool {
        self.0.contains("files + /var/lib/cni/networks/")
    }

    /// Whether a rule, or an element of a set, is there.
    pub fn has_rules(&self) -> bool {
        self.0.lines().any(|line| line.starts_with("nft + "))
    }

    /// In a few words.
    pub fn brief(&self) -> String {
        let kind = |line: &str| match line.split_once(' ').unwrap_or((line, "")) {
            ("veth", rest) if rest.contains("down") => "link (down)".to_owned(),
            ("veth", _) => "link".to_owned(),
            ("nft", _) => "rules".to_owned(),
            ("files", rest) if rest.starts_with("+ /var/lib/cni/") => "lease".to_owned(),
            ("files", rest) if rest.starts_with("+ /run/ferrule/") => "record".to_owned(),
            ("files" | "mounts" | "processes" | "forwarding", _) => line.to_owned(),
            // They come and go with the link.
            _ => String::new(),
        };
        let kinds: BTreeSet<String> = self.0.lines().map(kind).filter(|k| !k.is_empty()).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        match (kinds.is_empty(), self.is_nothing()) {
            (true, true) => "nothing left".to_owned(),
            (true, false) => self.0.trim().replace('\n', "; "),
            _ => kinds.join(", ") + " left",
        }
    }
}
