//! Which occurrences become Events: a pure decision.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Between two counts of one Event.
const COUNTS: Duration = Duration::from_secs(300);
/// An occurrence that did not happen for so long begins a new Event.
const SERIES: Duration = Duration::from_secs(1800);
/// New Events in a row; then one more every [`REFILL`]. As client-go limits them.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);

/// What an occurrence asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is counted, or there are too many.
    None,
    /// A new Event.
    Create,
    /// The Event of this name is to say how often it happened.
    Count { name: String, count: u32 },
}

#[derive(Debug)]
struct Series {
    name: String,
    count: u32,
    last: Instant,
    counted: Instant,
}

/// The Events that were sent.
#[derive(Debug)]
pub(super) struct Ledger<K> {
    series: HashMap<K, Series>,
    room: u32,
    refilled: Option<Instant>,
}

impl<K> Default for Ledger<K> {
    fn default() -> Ledger<K> {
        Ledger { series: HashMap::new(), room: BURST, refilled: None }
    }
}

impl<K: Clone + Eq + Hash> Ledger<K> {
    /// Something happened.
    pub(super) fn note(&mut self, key: &K, now: Instant) -> Step {
        self.series.retain(|_, series| now.duration_since(series.last) < SERIES);
        if let Some(series) = self.series.get_mut(key) {
            series.count += 1;
            series.last = now;
            if now.duration_since(series.counted) < COUNTS || series.name.is_empty() {
                return Step::None;
            }
            series.counted = now;
            return Step::Count { name: series.name.clone(), count: series.count };
        }
        if !self.has_room(now) {
            return Step::None;
        }
        let series = Series { name: String::new(), count: 1, last: now, counted: now };
        self.series.insert(key.clone(), series);
        Step::Create
    }

    /// Its Event has this name.
    pub(super) fn sent(&mut self, key: &K, name: String) {
        if let Some(series) = self.series.get_mut(key) {
            series.name = name;
        }
    }

    /// Its Event was not sent.
    pub(super) fn forget(&mut self, key: &K) {
        self.series.remove(key);
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let more = (now.duration_since(since).as_secs() / REFILL.as_secs()) as u32;
        if more > 0 {
            self.room = self.room.saturating_add(more).min(BURST);
            self.refilled = Some(since + REFILL * more);
        }
        let room = self.room > 0;
        self.room = self.room.saturating_sub(1);
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_occurrences_are_one_event_that_is_counted_now_and_then() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        assert_eq!(ledger.note(&"a", now), Step::Create);
        ledger.sent(&"a", "a.1".to_owned());
        for _ in 0..8 {
            assert_eq!(ledger.note(&"a", now), Step::None);
        }
        let counted = Step::Count { name: "a.1".to_owned(), count: 10 };
        assert_eq!(ledger.note(&"a", now + COUNTS), counted);
        assert_eq!(ledger.note(&"a", now + COUNTS), Step::None);
        assert_eq!(ledger.note(&"a", now + COUNTS + SERIES), Step::Create);
        // One that could not be sent is tried at its next occurrence.
        assert_eq!(ledger.note(&"b", now), Step::Create);
        ledger.forget(&"b");
        assert_eq!(ledger.note(&"b", now), Step::Create);
    }

    #[test]
    fn new_events_are_limited() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let created = |ledger: &mut Ledger<u32>, from: u32, now| {
            (from..from + 1000).filter(|key| ledger.note(key, now) == Step::Create).count()
        };
        assert_eq!(created(&mut ledger, 0, now), BURST as usize);
        assert_eq!(created(&mut ledger, 1000, now + REFILL * 2), 2);
        assert_eq!(created(&mut ledger, 2000, now + REFILL * 1000), BURST as usize);
    }
}
