//! Pods of a bridge whose addresses a DHCP server leases, and what is left of one.

use super::lan::{Lan, SERVER, address};
use super::{Daemon, pods, records};
use crate::node::Place;
use crate::packets::ping;
use crate::{Attachment, Background, Bins, Pod};
use serde_json::{Value, json};

/// A link with dhcpd, a daemon on the node, and a pod.
pub struct Bench<'a> {
    /// The link.
    pub lan: &'a Lan,
    /// The pod.
    pub pod: Pod,
    /// The daemon.
    pub daemon: Daemon<'a>,
    _server: Background,
}

impl<'a> Bench<'a> {
    /// All of it; the pod is not attached yet.
    pub fn new(lan: &'a Lan) -> Self {
        Self::with(lan, "")
    }

    /// With more options of the server; those of routes are requested.
    pub fn with(lan: &'a Lan, options: &str) -> Self {
        let server = lan.dhcpd(600, (100, 199), options);
        let daemon = Daemon::start(&lan.node, "-timeout 2s -resendtimeout 10s");
        Self { lan, pod: Pod::new(), daemon, _server: server }
    }

    /// The attachment of a pod, with rules of its own on the node.
    pub fn attach(&self, pod: &Pod) -> Attachment<'a> {
        let keys = json!({"ipMasq": true, "macspoofchk": true});
        self.lan
            .node
            .attach(&crate::conf::with(&pods(&json!({"request": [{"option": "33"}]})), &keys), pod)
    }

    /// The same by other executables; the daemon's stays.
    pub fn attach_by(&self, bins: &Bins) -> Attachment<'a> {
        self.attach(&self.pod).by(bins)
    }

    /// Fails unless the pod's packets reach the server, and CHECK passes.
    #[track_caller]
    pub fn works(&self, pod: &Pod, result: &Value) {
        ping(pod, SERVER);
        self.attach(pod).check(result);
    }

    /// What is there of pods: links, rules, records of attachments and leases; empty when nothing is.
    pub fn left(&self) -> String {
        let node = &self.lan.node;
        let leases = self.daemon.leases().into_iter().map(|lease| format!("lease {lease}\n"));
        let mut left: String = leases.collect();
        left += &records(node).iter().map(|kept| format!("kept {kept}\n")).collect::<String>();
        left += &node.veths().iter().map(|name| format!("{name}\n")).collect::<String>();
        left += &self.pod.links().iter().map(|name| format!("pod {name}\n")).collect::<String>();
        left += &node.sh("nft list ruleset; ls -A /run/ferrule/attachments 2>/dev/null || :");
        left
    }

    /// Fails unless nothing is left, and the server has the address back.
    #[track_caller]
    pub fn is_clean(&self, leased: Option<&str>) {
        assert_eq!(self.left(), "");
        if let Some(address) = leased {
            self.lan.becomes(address, "free");
        }
    }

    /// ADD of the pod: its address, and the result.
    #[track_caller]
    pub fn add(&self) -> (String, Value) {
        let result = self.attach(&self.pod).add();
        (address(&self.pod), result)
    }
}
