//! Whether the node can take pods, as the daemon sees it.

use super::Sync;
use crate::duties::template::Values;

impl Sync {
    /// Why the node cannot take pods yet. One that could, and is in the node set no more, can; one
    /// that waits for a new pod CIDR cannot.
    pub(super) fn not_ready(&self) -> Option<String> {
        let unlisted = self.own().is_none() && !self.view.nodes.unassigned;
        let left = self.view.convergence.is_synced() && unlisted;
        if left { None } else { self.ready().err() }
    }

    /// This node, once its routes are made.
    ///
    /// # Errors
    /// Why they are not, in words.
    pub fn ready(&self) -> Result<Values, String> {
        let name = &self.view.config.node_name;
        if !self.view.convergence.has_set() {
            let error = self.source.error.as_ref();
            return Err(match error {
                Some(error) => format!("there is no node set: {error}"),
                None => "the source has sent no node set yet".to_owned(),
            });
        }
        let own = self.own().ok_or_else(|| {
            let what = format!("node {name}");
            let problem = self.view.desired.problems.iter().find(|problem| problem.0 == what);
            problem
                .map_or(format!("{what} is not in the node set"), |it| format!("{what}: {}", it.1))
        })?;
        if own.pod_cidrs.is_empty() {
            return Err(format!("node {name} has no pod CIDR yet"));
        }
        if !self.view.convergence.is_synced() {
            let first = self.all_problems().into_iter().next();
            return Err(match first {
                Some(problem) => {
                    format!("its routes are not made yet: {}: {}", problem.what, problem.error)
                }
                None => "its routes are not made yet".to_owned(),
            });
        }
        Ok(Values { node: own.name.clone(), pod_cidrs: own.pod_cidrs.clone() })
    }
}
