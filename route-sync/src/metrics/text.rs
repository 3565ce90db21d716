//! The figures in Prometheus' text format, version 0.0.4.

use super::Figures;
use std::fmt::{Display, Write};

/// Every figure; the names are in route-sync/README.md.
pub(super) fn metrics(figures: &Figures) -> String {
    let mut text = Text::default();
    let info = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    text.family("build_info", "gauge", "The daemon's version.", [(info, 1)]);
    text.one(
        "synced",
        "gauge",
        "1 once the kernel was in step with a complete node set.",
        u8::from(figures.synced),
    );
    text.one("nodes", "gauge", "Nodes in the set that stands.", figures.nodes);
    let cidrs = figures
        .cidrs
        .iter()
        .map(|(path, state, count)| (format!("path=\"{path}\",state=\"{state}\""), count));
    text.family("cidrs", "gauge", "Pod CIDRs by path and state.", cidrs);
    text.one("problems", "gauge", "What fails or is refused and is no CIDR's.", figures.problems);
    let objects = ["route", "neighbour", "fdb"].iter().zip(figures.desired);
    let objects = objects.map(|(object, count)| (format!("object=\"{object}\""), count));
    text.family("desired_objects", "gauge", "Objects that shall exist in the kernel.", objects);
    text.one("passes_total", "counter", "Full passes over the kernel's state.", figures.passes);
    text.one(
        "last_pass_duration_seconds",
        "gauge",
        "What the last full pass took.",
        figures.pass_seconds,
    );
    let repairs = figures.repairs.iter().map(|(what, count)| (format!("object=\"{what}\""), count));
    text.family("repairs_total", "counter", "Repairs of what others deleted or altered.", repairs);
    text.one("changes_total", "counter", "Changes made in the kernel.", figures.changes);
    text.one("errors_total", "counter", "Changes that the kernel refused.", figures.errors);
    text.one(
        "overruns_total",
        "counter",
        "Times that the kernel's notifications were lost.",
        figures.overruns,
    );
    text.one("source_sets_total", "counter", "Node sets that the source told.", figures.sets);
    text.one(
        "source_failures_total",
        "counter",
        "Times that the source failed.",
        figures.source_failures,
    );
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help, [(String::new(), value)]);
    }

    /// A metric with a value for each set of labels. Labels hold none of `\`, `"`, newline.
    fn family<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        let name = format!("ferrule_route_sync_{name}");
        // A String takes whatever is written.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}
