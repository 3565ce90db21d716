//! The node's list of sysctls that may be set: a regular expression a line.

use crate::sysctl::Sysctl;
use cni::{Error, Result, files};
use regex_lite::Regex;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Where the reference looks for it. Without the file all sysctls below `net` may be set.
const PATH: &str = "/etc/cni/tuning/allowlist.conf";

/// More than a list has that someone wrote, in bytes.
const LIMIT: u64 = 1 << 20;

/// Whether the node allows these sysctls.
///
/// # Errors
/// Code 7 with the first that it does not, 5 where the list cannot be read.
pub fn check(sysctls: &[Sysctl]) -> Result<()> {
    match read().map_err(|error| unreadable(&error))? {
        Some(list) => sysctls.iter().try_for_each(|sysctl| allow(&list, &sysctl.key)),
        None => Ok(()),
    }
}

/// A link may stand in the file's place, as where it is mounted into a container.
fn read() -> io::Result<Option<String>> {
    let path = match Path::new(PATH).canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        path => path?,
    };
    Ok(Some(String::from_utf8_lossy(&files::read(&path, LIMIT)?).into_owned()))
}

fn unreadable(error: &io::Error) -> Error {
    Error::io(format!("cannot read the list of allowed sysctls {PATH}"), error)
        .also("without the file, every sysctl below net is allowed")
}

fn allow(list: &str, key: &str) -> Result<()> {
    let lines = || list.lines().map(str::trim).filter(|line| !line.is_empty());
    for line in lines() {
        let regex = Regex::new(line).map_err(|error| {
            Error::config(format!("{PATH} has an invalid regular expression {line:?}"))
                .details(error.to_string())
        })?;
        if regex.is_match(key) {
            return Ok(());
        }
    }
    let list = lines().collect::<Vec<_>>().join(" ");
    let msg =
        format!("Sysctl {key} is not allowed. Only the following sysctls are allowed: [{list}]");
    Err(Error::config(msg).details(format!("add a regular expression that matches it to {PATH}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_matches_a_part_of_the_key_allows_it() {
        let list = "\n  ^net\\.core\\.  \nIFNAME\\.arp_(filter|notify)$\n[[:digit:]]{2}\n";
        for key in ["net.core.somaxconn", "net.ipv4.conf.IFNAME.arp_filter", "net.x.v12"] {
            assert_eq!(allow(list, key), Ok(()), "{key}");
        }
        let error = allow(list, "net.ipv4.ip_forward").unwrap_err();
        let wanted = "Sysctl net.ipv4.ip_forward is not allowed. Only the following sysctls are \
                      allowed: [^net\\.core\\. IFNAME\\.arp_(filter|notify)$ [[:digit:]]{2}]";
        assert_eq!((error.code, error.msg.as_str()), (7, wanted));
        assert_eq!(allow("", "net.a").unwrap_err().code, 7, "an empty list allows none");
    }

    #[test]
    fn a_line_is_read_when_its_turn_comes() {
        assert_eq!(allow("net\\.a\n(", "net.a"), Ok(()));
        let error = allow("net\\.a\n(", "net.b").unwrap_err();
        assert_eq!(error.code, 7);
        assert!(error.msg.ends_with("invalid regular expression \"(\""), "{error}");
    }

    /// What Go's package regexp takes beyond other dialects, as far as people write it.
    #[test]
    fn the_syntax_is_gos() {
        for (line, key) in [
            (r"^net\.ipv4\.conf\.[a-z0-9]+\.\w+$", "net.ipv4.conf.eth0.arp_filter"),
            (r"(?i)NET\.CORE", "net.core.x"),
            (r"\Anet\/core\z", "net/core"),
            (r"net(?:\.|/)core", "net/core"),
            (r"(?P<name>net)\x2ecore", "net.core"),
            (r"[[:alpha:]]+?\.\d*", "net.0"),
            (r"net\.core|net\.ipv4", "net.ipv4.x"),
            (r"net.*[^.]", "net.a"),
        ] {
            let line = line.replace("\\\\", "\\");
            assert_eq!(allow(&line, key), Ok(()), "{line} {key}");
        }
    }
}
