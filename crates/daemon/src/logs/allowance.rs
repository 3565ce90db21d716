//! A limit on the lines that another program can cause: a peer may send a thousand messages a
//! second, and each of them may be worth a line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The period of an allowance.
const TIME: Duration = Duration::from_secs(60);

/// Lines beyond their allowance, since the start.
static WITHHELD: AtomicU64 = AtomicU64::new(0);

/// How many lines were not logged since the start because there were too many of their kind.
pub fn withheld() -> u64 {
    WITHHELD.load(Ordering::Relaxed)
}

/// A number of lines in a minute.
#[derive(Debug)]
pub struct Allowance {
    lines: u32,
    left: u32,
    withheld: u64,
    begun: Option<Instant>,
}

/// The end of a line that may be logged: empty, or how many lines before it were not logged, or that
/// the following ones will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
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
    /// Allows so many lines in each minute.
    pub fn new(lines: u32) -> Allowance {
        Allowance { lines, left: lines, withheld: 0, begun: None }
    }

    /// Whether one more line may be logged now, and how it ends.
    pub fn line(&mut self) -> Option<End> {
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
    fn lines_beyond_the_allowance_are_counted_and_reported() {
        let (mut lines, begin) = (Allowance::new(3), Instant::now());
        let mut end_at = |second| {
            let end = lines.line_at(begin + Duration::from_secs(second));
            end.map(|end| end.to_string())
        };
        assert_eq!(end_at(0).as_deref(), Some(""));
        assert_eq!(end_at(1).as_deref(), Some(""));
        let last = " (more like it are counted and not logged for a minute)";
        assert_eq!(end_at(2).as_deref(), Some(last));
        for second in 3..60 {
            assert_eq!(end_at(second), None);
        }
        let reported = " (57 lines like it before were not logged)";
        assert_eq!(end_at(60).as_deref(), Some(reported));
        assert_eq!(end_at(61).as_deref(), Some(""));
        assert!(withheld() >= 57);
    }
}
