//! Reads a daemon's TOML configuration, and reports all errors in it at once, each with its line, key,
//! value and remedy.
//!
//! A daemon reads its keys from a [`Table`] by the readers of [`value`], or its own, and adds what it
//! refuses to [`Faults`]. A key that was not read is unknown, and an error too.

mod table;
pub mod value;

pub use table::{Faults, Table, line};
pub use toml::de::DeValue as Value;

use node::files;
use std::fs;
use std::path::Path;

/// More than any configuration needs, in bytes.
const LIMIT: u64 = 1 << 20;

/// Reads and validates the configuration in a file. `whole` reads every key of it, and returns `None`
/// only after it has added a fault.
///
/// # Errors
/// Every fault, each in words with the file, the line where there is one, the key, the value and
/// the remedy.
pub fn read<T>(
    path: &Path,
    whole: impl FnOnce(&mut Table, &mut Faults) -> Option<T>,
) -> Result<T, Vec<String>> {
    let named = |fault: String| format!("{}: {fault}", path.display());
    let size = fs::metadata(path).map_err(|error| vec![named(error.to_string())])?.len();
    if size > LIMIT {
        return Err(vec![named(format!("{size} bytes are too many: write less than {LIMIT}"))]);
    }
    let text = files::text(path, LIMIT).map_err(|error| vec![named(error.to_string())])?;
    parse(&text, whole).map_err(|faults| faults.into_iter().map(named).collect())
}

/// [`read`] of a text.
///
/// # Errors
/// As [`read`], without the file's name.
pub fn parse<T>(
    text: &str,
    whole: impl FnOnce(&mut Table, &mut Faults) -> Option<T>,
) -> Result<T, Vec<String>> {
    let mut faults = Faults::of(text);
    let mut table = Table::parse(text, &mut faults);
    if !faults.is_empty() {
        // A text that is no TOML may seem to hold anything.
        return Err(faults.sorted());
    }
    let config = whole(&mut table, &mut faults);
    table.finish(&mut faults);
    config.filter(|_| faults.is_empty()).ok_or_else(|| faults.sorted())
}

/// The host's name, where it is UTF-8.
pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::value::{boolean, cidr, number, path};
    use super::*;

    /// A configuration of two keys and a table.
    fn parsed(text: &str) -> Result<(u8, usize, bool), Vec<String>> {
        parse(text, |top, faults| {
            let count = top.read("count", faults, number(1, 9));
            let cidrs = top.list("cidrs", faults, cidr).len();
            let mut table = top.table("part", faults);
            let on = table.read("on", faults, boolean).unwrap_or(false);
            table.finish(faults);
            if count.is_none() {
                faults.add_whole("count is missing: write one");
            }
            Some((count?, cidrs, on))
        })
    }

    #[test]
    fn every_fault_is_reported_with_its_line_key_value_and_remedy() {
        let good = "count = 3\ncidrs = [\"10.0.0.0/8\", \"fd00::/64\"]\n[part]\non = true\n";
        assert_eq!(parsed(good), Ok((3, 2, true)));
        let bad = "cidrs = [\"10.0.0.1/8\", 7]\ntypo = 1\n[part]\non = \"yes\"\n";
        assert_eq!(
            parsed(bad).unwrap_err(),
            [
                "line 1: cidrs has \"10.0.0.1/8\": it has host bits set; write \"10.0.0.0/8\"",
                "line 1: cidrs has 7: write a text in quotes",
                "line 2: typo is no key: write one of count, cidrs, part",
                "line 4: part.on is \"yes\": write true or false",
                "count is missing: write one",
            ]
        );
        let faults = parsed("count = = 1").unwrap_err();
        assert!(faults.iter().all(|fault| fault.starts_with("line 1: ")), "{faults:?}");
    }

    #[test]
    fn a_file_is_named_in_each_fault() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        let read = || read(&file, |top, faults| top.read("path", faults, path));
        assert!(read().unwrap_err()[0].starts_with(&format!("{}: No such file", file.display())));
        fs::write(&file, "path = \"x\"").unwrap();
        let fault =
            format!("{}: line 1: path is \"x\": write a path that begins with /", file.display());
        assert_eq!(read().unwrap_err(), [fault]);
        fs::write(&file, "\u{feff}path = \"/x\"").unwrap();
        assert_eq!(read(), Ok("/x".into()));
        fs::write(&file, " ".repeat(2 << 20)).unwrap();
        assert!(read().unwrap_err()[0].contains("bytes are too many"));
    }
}
