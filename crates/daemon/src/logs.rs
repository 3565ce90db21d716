//! The log, on stderr. Logging never waits for its reader.

mod allowance;
mod stderr;

pub use allowance::{Allowance, End, withheld};
pub use stderr::dropped;

use std::fmt;
use std::io;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// Begins the log at a level.
pub fn start(level: LevelFilter) {
    // systemd.exec(5): set where stderr goes to the journal, which has times of its own.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(move || Lines { journal })
        .event_format(Line { journal })
        .init();
}

/// Writes a line that is no event.
pub fn write(line: impl fmt::Display) {
    stderr::line(format!("{line}\n").as_bytes());
}

/// Writes each line whole, or drops it; later ones say how many were dropped.
struct Lines {
    journal: bool,
}

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = stderr::newly_dropped();
        if dropped > 0 {
            let begin = if self.journal { "<4>" } else { "WARN  " };
            write(format_args!(
                "{begin}{dropped} lines of this log were dropped: stderr was not read"
            ));
        }
        stderr::line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line for each event: for the journal its priority, as sd-daemon(3) has it, else time and
/// level.
struct Line {
    journal: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        if self.journal {
            write!(writer, "<{}>", priority(level))?;
        } else {
            SystemTime.format_time(&mut writer)?;
            write!(writer, " {level:<5} ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// syslog(3)'s.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(journal: bool) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let log = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_writer(move || writer.clone())
            .event_format(Line { journal })
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(node = "one", "it changed");
            tracing::info!("not logged");
        });
        let text = sink.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_journal_gets_priorities_and_others_the_time() {
        assert_eq!(logged(true), "<4>it changed node=\"one\"\n");
        let line = logged(false);
        assert!(
            line.starts_with("20") && line.ends_with("Z WARN  it changed node=\"one\"\n"),
            "{line}"
        );
    }
}
