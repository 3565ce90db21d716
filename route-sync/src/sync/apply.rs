//! Changes, as they come to the kernel and the log.

use super::Sync;
use super::log::{LOGGED, REPAIR};
use crate::routes::diff::{Change, Object};
use crate::routes::failures::same_place;
use crate::routes::protocols::is_ours;
use net::route;
use nix::errno::Errno;
use tracing::{info, warn};

/// Changes that are messages at the same time: those of 5,000 nodes would take 10 MB.
const AT_ONCE: usize = 512;

impl Sync {
    /// Carries out single changes.
    pub(super) fn change(&mut self, changes: &[Change], why: &'static str) {
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.apply(changes, why, false) {
            self.problems.add("netlink", &error);
        }
        self.conditions.note_changed(changes, &self.view, &self.failures);
    }

    /// Carries out changes, and returns those that the kernel accepted; `full`: dumps showed them.
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
        let mut refused = 0;
        for some in changes.chunks(AT_ONCE) {
            let verbs: Vec<_> = some.iter().map(Change::verb).collect();
            let outcomes = self.socket.set_each(&verbs)?;
            let before = done.len();
            for (change, outcome) in some.iter().zip(outcomes) {
                match outcome {
                    // A full pass shows whether what is in the way is ours.
                    Err(error)
                        if !full
                            && self.failures.is_new_conflict(change, &error)
                            && !self.is_others(change) =>
                    {
                        self.work.full("a repair was refused");
                    }
                    Err(error) if !(change.deletes() && error.is_gone()) => {
                        refused += usize::from(self.refused(change, &error, refused < LOGGED));
                    }
                    _ => {
                        done.push(change);
                        self.failures.carried_out(change);
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
        if refused > LOGGED
            && let Some(end) = self.line(why, full)
        {
            warn!("{} more are refused: see `route-sync status`{end}", refused - LOGGED);
        }
        if let Some(end) = self.line(why, full) {
            let refused = changes.len() - done.len();
            info!(why, changes = done.len(), refused, "applied{end}");
        }
        Ok(done)
    }

    /// Notes a change that the kernel refused; whether that is new, which is logged if `log`.
    fn refused(&mut self, change: &Change, error: &net::Error, log: bool) -> bool {
        if error.errno == Errno::ENODEV as i32 {
            self.work.full("a device is gone");
        }
        self.failures.refused(change, error, log)
    }

    /// Whether the kernel shows another program's route in the place of one that is to be made. Where
    /// it does not, that proves nothing: packets may take a longer prefix, or the route be a
    /// blackhole.
    fn is_others(&mut self, change: &Change) -> bool {
        let Change::Create(wanted) = change else { return false };
        let found = self.socket.get(&route::toward(wanted.dst.network()));
        matches!(found, Ok(Some(found)) if same_place(&found, wanted) && !is_ours(found.protocol))
    }

    /// How a line about a change ends, if it may be logged: peers cause those that are neither
    /// of a `full` pass nor repairs.
    fn line(&mut self, why: &str, full: bool) -> Option<String> {
        let by_peers = !full && why != REPAIR;
        if by_peers { self.failures.line().map(|end| end.to_string()) } else { Some(String::new()) }
    }

    pub(super) fn count_repairs(&mut self, changes: &[&Change]) {
        for change in changes {
            let object = match change.object() {
                Object::Route(_) => "route",
                Object::Neighbour(_) => "neighbour",
                Object::Fdb(_) => "fdb",
            };
            self.figures.repaired(object, 1);
        }
    }
}
