//! What is to be done at the end of a turn of the daemon's loop.

use crate::routes::diff::{Change, Object};
use std::collections::HashMap;

/// A full pass, or changes of single objects.
#[derive(Debug, Default)]
pub struct Work {
    full: Option<&'static str>,
    repairs: Vec<Change>,
}

/// What a notification of the kernel asks for.
#[derive(Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// This object is as it must be.
    Right(Object),
    /// Single changes.
    Repair(Vec<Change>),
    /// A full pass, and why.
    Full(&'static str),
}

impl Work {
    /// A full pass is needed; `why` is logged.
    pub fn full(&mut self, why: &'static str) {
        self.full = Some(why);
    }

    /// Whether a full pass is due.
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Why a full pass is due; then none is.
    pub fn take_full(&mut self) -> Option<&'static str> {
        self.full.take()
    }

    /// The single changes that are due; then none are.
    pub fn take_repairs(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.repairs)
    }

    /// Nothing is due any more.
    pub fn clear(&mut self) {
        self.full = None;
        self.repairs.clear();
    }

    /// Notes what notifications ask for, in their order.
    pub fn note(&mut self, effects: impl Iterator<Item = Effect>) {
        let mut right = HashMap::new();
        for effect in effects {
            match effect {
                Effect::None => {}
                Effect::Right(object) => drop(right.insert(object, self.repairs.len())),
                Effect::Repair(changes) => self.repairs.extend(changes),
                Effect::Full(why) => self.full = Some(why),
            }
        }
        // An object that was missing exists again: of what the daemon itself removes and makes in one
        // step the kernel reports a deletion, then an addition.
        let mut nth = 0..;
        self.repairs.retain(|change| {
            let noted = nth.next().zip(right.get(&change.object()));
            change.deletes() || noted.is_none_or(|(nth, right)| nth >= *right)
        });
    }
}
