//! `check FILE…`: what is wrong with policies, and what is right for the API and probably not meant.

mod suspicions;

use crate::follow::Follower;
use crate::source::{Update, files, implied, yaml::Objects};
use crate::state::State;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The node that pods of files run on, unless they say another.
const NODE: &str = "this node";

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// For people, a line for each finding, and one that says what was looked at.
    pub text: String,
    /// Nothing was found.
    pub is_well: bool,
}

/// Checks the policies of files.
///
/// # Errors
/// A file cannot be read or understood: in words.
pub fn check(
    files: &[PathBuf],
    pod_cidrs: Vec<IpNetwork>,
    run_dir: &Path,
) -> Result<Checked, String> {
    let objects = read(files)?;
    let pod_cidrs = match pod_cidrs.as_slice() {
        [] => known_pod_cidrs(run_dir),
        _ => pod_cidrs,
    };
    let (state, faults) = load(&objects);
    let warnings = suspicions::find(&state, &objects, &pod_cidrs);
    let mut text = String::new();
    // Writing to a String never fails.
    for fault in &faults {
        let _ = writeln!(text, "error: {fault}");
    }
    for warning in &warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let (policies, pods) = (state.policies().len(), objects.pods.len());
    let found = faults.len() + warnings.len();
    let _ = writeln!(text, "{policies} policies and {pods} pods were read; {found} findings");
    if pods == 0 && policies > 0 {
        text.push_str("no pod is in these files, so what policies select was not checked\n");
    }
    Ok(Checked { text, is_well: found == 0 })
}

/// The state that files describe.
///
/// # Errors
/// A file cannot be read or understood: in words.
pub fn state(files: &[PathBuf]) -> Result<State, String> {
    let (state, faults) = load(&read(files)?);
    if faults.is_empty() { Ok(state) } else { Err(faults.join("; ")) }
}

/// The pods' ranges that route-sync knows, if it runs here.
fn known_pod_cidrs(run_dir: &Path) -> Vec<IpNetwork> {
    let node = node::Node::read(run_dir).ok().flatten();
    node.map(|node| node.cluster_cidrs).unwrap_or_default()
}

fn read(paths: &[PathBuf]) -> Result<Objects, String> {
    let mut objects = Objects::default();
    for path in paths {
        files::read_into(path, &mut objects)?;
    }
    Ok(objects)
}

fn load(objects: &Objects) -> (State, Vec<String>) {
    let Objects { pods, namespaces, policies, cluster_policies, .. } =
        implied::complete(objects, &BTreeMap::new(), NODE);
    let mut state = State::new(NODE);
    let mut follower = Follower::default();
    for update in [
        Update::Namespaces(namespaces),
        Update::Pods(pods),
        Update::Policies(policies),
        Update::ClusterPolicies(cluster_policies),
    ] {
        follower.update(update, &mut state);
    }
    (state, follower.problems())
}

#[cfg(test)]
mod tests;
