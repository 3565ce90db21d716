//! What fails as a whole, and not for one object: `vxlan …`, `nftables`, `forwarding`.

use crate::failure::Failure;
use crate::report::Problem;
use std::collections::HashMap;
use std::fmt::Display;
use std::time::Instant;
use tracing::{info, warn};

/// Problems by what they are about, as `status` names it.
#[derive(Debug, Default)]
pub struct Problems {
    of: HashMap<String, Failure>,
    /// How often something failed since the start.
    errors: u64,
}

impl Problems {
    /// Something failed. It is logged unless the last error was the same.
    pub fn add(&mut self, what: &str, error: &impl Display) {
        let text = error.to_string();
        let before = self.of.get(what);
        if before.is_none_or(|before| before.error != text) {
            warn!("{what}: {text}");
        }
        let failure = Failure::after(before, text, false);
        self.errors += 1;
        self.of.insert(what.to_owned(), failure);
    }

    /// Something did not fail. If it did before, that is logged.
    pub fn solved(&mut self, what: &str) {
        if self.of.remove(what).is_some() {
            info!("{what}: well again");
        }
    }

    /// Forgets those that nothing would ever solve.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.of.retain(|what, _| keep(what));
    }

    /// Whether there is a problem of this name.
    pub fn has(&self, what: &str) -> bool {
        self.of.contains_key(what)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.of.len()
    }

    /// When the next one is tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.of.values().map(|failure| failure.again).min()
    }

    /// After a full pass none is due.
    pub fn postpone(&mut self) {
        self.of.values_mut().for_each(Failure::postpone);
    }

    /// How often something failed since the start.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = Problem> {
        self.of.iter().map(|(what, failure)| Problem {
            what: what.clone(),
            error: failure.error.clone(),
            since: failure.since,
        })
    }
}
