//! docs/troubleshooting.md, made of the checks.

use crate::check::Check;
use crate::checks::ALL;

/// The page: `ferrule doctor --explain`.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(HEAD);
    text += "\n| symptom | check |\n|---|---|\n";
    for Check { id, symptom, .. } in ALL {
        text += &format!("| {symptom} | [{id}](#{id}) |\n");
    }
    for check in ALL {
        text += &section(check);
    }
    text
}

const HEAD: &str = "# Troubleshooting

Run `ferrule doctor` on the node. It reads the node's state, changes nothing, and names the cause, the values that show
it, and what mends it. Exit code 0: nothing found; 1: problems; 2: not everything could be read. `ferrule trace POD
DESTINATION` shows the way of a packet through the node, `ferrule ls` the node's attachments, and `ferrule support`
packs everything for a bug report.

This page is what `ferrule doctor --explain` prints: each symptom that people report, with the check that finds its
cause.
";

fn section(Check { id, symptom, cause, remedy, .. }: &Check) -> String {
    format!(
        "\n## {id}\n\n*{symptom}*\n\n{}\n\n{}\n",
        wrapped(cause),
        wrapped(&format!("**Mend:** {remedy}"))
    )
}

/// Most characters of a line.
const WIDTH: usize = 120;

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_checks_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/troubleshooting.md");
        if std::env::var_os("FERRULE_REWRITE_FIXTURES").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let how = "FERRULE_REWRITE_FIXTURES=1 cargo test -p ferrule explain writes it";
        assert!(kept == page(), "docs/troubleshooting.md differs from the checks: {how}");
    }

    #[test]
    fn no_line_of_prose_is_too_long() {
        let prose = page().lines().filter(|line| !line.starts_with(['|', '*'])).map(str::len).max();
        assert!(prose.unwrap() <= WIDTH, "{prose:?}");
    }
}
