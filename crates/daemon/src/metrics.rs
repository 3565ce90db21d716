//! Metrics in Prometheus' text format, version 0.0.4.

use crate::logs;
use std::fmt::{Display, Write};

/// The text of all metrics of one daemon, whose names begin with one prefix.
#[derive(Debug)]
pub struct Text {
    prefix: &'static str,
    text: String,
}

impl Text {
    /// No metrics yet. `prefix`: `ferrule_route_sync`.
    pub fn new(prefix: &'static str) -> Text {
        Text { prefix, text: String::new() }
    }

    /// A metric of one value. `kind`: `gauge` or `counter`.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help, [(String::new(), value)]);
    }

    /// A metric with a value for each set of labels. Labels hold none of `\`, `"`, newline.
    pub fn family<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        let name = format!("{}_{name}", self.prefix);
        // Writing to a String never fails.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.text, "{name}{labels} {value}");
        }
    }

    /// The daemon's version, as `build_info`.
    pub fn build_info(&mut self, version: &str) {
        let info = format!("version=\"{version}\"");
        self.family("build_info", "gauge", "The daemon's version.", [(info, 1)]);
    }

    /// The lines that the log lacks.
    pub fn log_lines(&mut self) {
        self.one(
            "log_lines_dropped_total",
            "counter",
            "Lines of the log that were dropped, because stderr was not read.",
            logs::dropped(),
        );
        self.one(
            "log_lines_withheld_total",
            "counter",
            "Lines of the log that were too many of their kind in a minute.",
            logs::withheld(),
        );
    }

    /// What `/metrics` answers.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_its_help_its_type_and_its_values() {
        let mut text = Text::new("ferrule_x");
        text.one("synced", "gauge", "1 once all is there.", 1);
        let values = ["a", "b"].map(|name| (format!("name=\"{name}\""), 0.25));
        text.family("seconds", "gauge", "Seconds.", values);
        let expected = "\
# HELP ferrule_x_synced 1 once all is there.
# TYPE ferrule_x_synced gauge
ferrule_x_synced 1
# HELP ferrule_x_seconds Seconds.
# TYPE ferrule_x_seconds gauge
ferrule_x_seconds{name=\"a\"} 0.25
ferrule_x_seconds{name=\"b\"} 0.25
";
        assert_eq!(text.finish(), expected);
    }
}
