//! Changes, as they come to the kernel and the log.

use super::Sync;
use crate::routes::diff::{Change, Object};
use tracing::{info, warn};

/// Why what others did to our objects is undone.
pub(super) const REPAIR: &str = "somebody changed it";
/// Changes of one pass that are logged one by one; of more only their number.
pub(super) const LOGGED: usize = 20;
/// Lines in a minute about changes of what is heard by BGP: peers cause them.
pub(super) const LEARNED_LOGGED: u32 = 200;
/// Changes that are messages at the same time: those of 5,000 nodes would take 10 MB.
const AT_ONCE: usize = 512;

impl Sync {
    /// Carries out single changes.
    pub(super) fn change(&mut self, changes: &[Change], why: &'static str) {
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.apply(changes, why, false) {
            self.trouble("netlink", &error);
        }
        self.conditions_of(changes);
    }

    /// Carries out changes, and gives those that the kernel took; `full`: dumps showed them.
    pub(super) fn apply<'a>(
        &mut self,
        changes: &'a [Change],
        why: &'static str,
        full: bool,
    ) -> net::Result<Vec<&'a Change>> {
        let mut done = Vec::new();
        if changes.is_empty() {
            return Ok(done);
        }
        let mut told = 0;
        for some in changes.chunks(AT_ONCE) {
            let verbs: Vec<_> = some.iter().map(Change::verb).collect();
            let outcomes = self.socket.set_each(&verbs)?;
            let before = done.len();
            for (change, outcome) in some.iter().zip(outcomes) {
                match outcome {
                    // A full pass tells whether what is in the way is ours.
                    Err(error)
                        if !full
                            && self.is_new_conflict(change, &error)
                            && !self.is_others(change) =>
                    {
                        self.pending = Some("a repair was refused");
                    }
                    Err(error) if !(change.deletes() && error.is_gone()) => {
                        told += usize::from(self.refused(change, &error, told < LOGGED));
                    }
                    _ => {
                        done.push(change);
                        self.carried_out(change);
                        if changes.len() <= LOGGED
                            && let Some(end) = self.line(why, full)
                        {
                            info!(why, "{change}{end}");
                        }
                    }
                }
            }
            self.figures.changes += (done.len() - before) as u64;
        }
        if told > LOGGED
            && let Some(end) = self.line(why, full)
        {
            warn!("{} more are refused: see `route-sync status`{end}", told - LOGGED);
        }
        if let Some(end) = self.line(why, full) {
            let refused = changes.len() - done.len();
            info!(why, changes = done.len(), refused, "applied{end}");
        }
        Ok(done)
    }

    /// How a line about a change ends, if it may be logged: peers cause those that are neither
    /// of a `full` pass nor repairs.
    fn line(&mut self, why: &str, full: bool) -> Option<String> {
        let by_peers = !full && why != REPAIR;
        if by_peers { self.lines.line().map(|end| end.to_string()) } else { Some(String::new()) }
    }

    pub(super) fn repaired(&mut self, object: &'static str, count: u64) {
        match self.figures.repairs.iter_mut().find(|(name, _)| *name == object) {
            Some((_, total)) => *total += count,
            None => self.figures.repairs.push((object, count)),
        }
    }

    pub(super) fn count_repairs(&mut self, changes: &[&Change]) {
        for change in changes {
            let object = match change.object() {
                Object::Route(_) => "route",
                Object::Neighbour(_) => "neighbour",
                Object::Fdb(_) => "fdb",
            };
            self.repaired(object, 1);
        }
    }
}
