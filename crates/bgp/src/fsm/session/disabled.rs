//! Families that are ignored for the rest of a session (RFC 4760 section 7, RFC 7606 section 2).

use super::Session;
use crate::codec::{Family, Update};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;

impl Session {
    /// Families of the established session whose routes are ignored, since the peer sent some that
    /// could not be read; and what was wrong. The next session takes them again.
    pub fn disabled(&self) -> &BTreeMap<Family, String> {
        &self.disabled
    }

    /// Notes what could not be read, and takes out what is ignored.
    pub(super) fn ignore_disabled(&mut self, update: &mut Update) {
        for family in &update.disabled {
            self.disabled.entry(*family).or_insert_with(|| update.faults.join("; "));
        }
        if self.disabled.is_empty() {
            return;
        }
        let taken = |prefix: &IpNetwork| !self.disabled.contains_key(&Family::of(prefix));
        update.withdrawn.retain(taken);
        update.announced.iter_mut().for_each(|announced| announced.prefixes.retain(taken));
        update.announced.retain(|announced| !announced.prefixes.is_empty());
    }
}
