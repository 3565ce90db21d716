//! Tables of a status report for people.

use std::fmt::Write;

/// Rows of cells, aligned; the last cell of a row has no width.
pub fn columns<'a, const N: usize>(
    text: &mut String,
    rows: impl Iterator<Item = &'a [String; N]> + Clone,
) {
    let mut widths = [0; N];
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// The two largest units of how long ago it was: `3m`, `2h05m`, `4d03h`.
pub fn age(since: u64, now: u64) -> String {
    let seconds = now.saturating_sub(since);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (minutes, hours, days) {
        (0, ..) => format!("{seconds}s"),
        (_, 0, _) => format!("{minutes}m"),
        (.., 0) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A text as one line without control characters, whatever it contains.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h00m"),
            (86_399, "23h59m"),
            (86_400 * 40 + 3600, "40d01h"),
        ] {
            assert_eq!(age(1000, 1000 + seconds), text);
        }
        assert_eq!(age(1000, 0), "0s");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(str::to_owned));
        let mut text = String::new();
        columns(&mut text, rows.iter());
        assert_eq!(text, "A     B\nlong  x\n");
    }
}
