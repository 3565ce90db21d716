//! A bound on the lines that a peer can cause: it may send a thousand messages a second, each of
//! them a matter to log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time that an allowance is for.
const TIME: Duration = Duration::from_secs(60);

/// Lines that no allowance was left for, since the start.
static WITHHELD: AtomicU64 = AtomicU64::new(0);

/// How many lines were not logged since the start, for there were too many of their kind.
pub(crate) fn withheld() -> u64 {
    WITHHELD.load(Ordering::Relaxed)
}

/// So many lines in a minute.
#[derive(Debug)]
pub(crate) struct Allowance {
    lines: u32,
    left: u32,
    withheld: u64,
    begun: Option<Instant>,
}

/// What a line ends with that may be logged: empty, or what is told of those that were not, or will
/// not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    withheld: u64,
    last: bool,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.withheld > 0 {
            write!(f, " ({} lines like it before were not logged)", self.withheld)?;
        }
        if self.last {
            f.write_str(" (more like it are counted and not logged for a minute)")?;
        }
        Ok(())
    }
}

impl Allowance {
    pub(crate) fn new(lines: u32) -> Allowance {
        Allowance { lines, left: lines, withheld: 0, begun: None }
    }

    /// Whether one more line may be logged now, and how it ends.
    pub(crate) fn line(&mut self) -> Option<End> {
        self.line_at(Instant::now())
    }

    fn line_at(&mut self, now: Instant) -> Option<End> {
        if self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= TIME) {
            (self.begun, self.left) = (Some(now), self.lines);
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.withheld += 1;
            WITHHELD.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.left = left;
        Some(End { withheld: std::mem::take(&mut self.withheld), last: left == 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_allowance_are_counted_and_told_of() {
        let (mut lines, begin) = (Allowance::new(3), Instant::now());
        let mut said = |second| {
            let end = lines.line_at(begin + Duration::from_secs(second));
            end.map(|end| end.to_string())
        };
        assert_eq!(said(0).as_deref(), Some(""));
        assert_eq!(said(1).as_deref(), Some(""));
        let last = " (more like it are counted and not logged for a minute)";
        assert_eq!(said(2).as_deref(), Some(last));
        for second in 3..60 {
            assert_eq!(said(second), None);
        }
        let told = " (57 lines like it before were not logged)";
        assert_eq!(said(60).as_deref(), Some(told));
        assert_eq!(said(61).as_deref(), Some(""));
        assert!(withheld() >= 57);
    }
}
