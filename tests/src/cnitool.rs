//! The reference's own client, which calls the plugins of a network's list.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::node::{Node, Place, Pod};
use crate::tool::{self, Finished};
use crate::{Bins, peers};

/// `$FERRULE_CNITOOL`, or the one that scripts/peers builds.
fn cnitool() -> PathBuf {
    let given = std::env::var_os("FERRULE_CNITOOL").filter(|path| !path.is_empty());
    given.map_or_else(|| peers::folder("cnitool").join("cnitool"), PathBuf::from)
}

/// cnitool in a node, on the configurations in its /run/net.d; with `capabilities` for the plugins
/// that have them, `{}` for none.
pub fn call(node: &Node, verb: &str, network: &str, pod: &Pod, capabilities: &Value) -> Finished {
    node.ns().enter(|| {
        let mut command = Command::new(cnitool());
        command.args([verb, network, &pod.netns()]).current_dir("/");
        command.env("NETCONFPATH", "/run/net.d").env("CNI_PATH", Bins::ours().dir());
        command.env("CAP_ARGS", capabilities.to_string());
        tool::finish(&mut command, b"")
    })
}

/// The same, which must succeed; gives what it prints.
#[track_caller]
pub fn must(node: &Node, verb: &str, network: &str, pod: &Pod, capabilities: &Value) -> String {
    let done = call(node, verb, network, pod, capabilities);
    assert!(done.status.success(), "cnitool {verb}: {}{}", done.stdout, done.stderr);
    done.stdout
}
