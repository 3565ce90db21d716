//! A way, drawn.

use super::step::{State, Step, Trace};
use crate::output::plain;

/// The way as lines for a terminal.
#[must_use]
pub fn picture(trace: &Trace) -> String {
    let width = trace.steps.iter().map(|step| step.place.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n\n", plain(&trace.title));
    for (at, step) in trace.steps.iter().enumerate() {
        if at > 0 {
            text.push_str("  ▼\n");
        }
        text.push_str(&drawn(step, width));
    }
    text.push('\n');
    text.push_str(&verdict(trace));
    text
}

fn drawn(step: &Step, width: usize) -> String {
    let mark = match step.state {
        State::Passes => "●",
        State::Fails(_) => "✗",
        State::Unknown(_) => "?",
    };
    let place = plain(&step.place);
    let mut facts = step.facts.iter().map(|fact| plain(fact));
    let mut text = format!("  {mark} {place:<width$}  {}", facts.next().unwrap_or_default());
    text.truncate(text.trim_end().len());
    text.push('\n');
    let indent = " ".repeat(width);
    for fact in facts {
        text += &format!("  │ {indent}  {fact}\n");
    }
    match &step.state {
        State::Passes => {}
        State::Fails(why) => {
            text += &format!("    {indent}  the packet ends here: {}\n", plain(why));
        }
        State::Unknown(why) => text += &format!("  │ {indent}  not known: {}\n", plain(why)),
    }
    text
}

fn verdict(trace: &Trace) -> String {
    let mtu = trace.mtu.map(|mtu| format!("; packets of up to {mtu} bytes")).unwrap_or_default();
    match trace.code() {
        0 => format!("passes this node{mtu}\n"),
        1 => "does not pass this node; `ferrule doctor` may say what mends it\n".to_owned(),
        _ => format!("no hop fails that could be asked{mtu}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hop_that_fails_is_marked() {
        let mut trace = Trace { title: "a → b".to_owned(), steps: vec![], mtu: Some(1450) };
        assert!(trace.push(Step::at("pod a").with("eth0").with("route default")));
        assert!(!trace.push(Step::at("node").fails("no route")));
        let wanted = "a → b\n\n  ● pod a  eth0\n  │        route default\n  ▼\n  ✗ node\n           \
                      the packet ends here: no route\n\n\
                      does not pass this node; `ferrule doctor` may say what mends it\n";
        assert_eq!(picture(&trace), wanted);
        assert_eq!(trace.code(), 1);
        trace.steps.pop();
        assert!(picture(&trace).ends_with("passes this node; packets of up to 1450 bytes\n"));
        trace.push(Step::at("x").unknown("no access"));
        assert_eq!(trace.code(), 2);
    }
}
