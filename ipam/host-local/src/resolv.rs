//! `resolvConf`: the name service of a file in resolv.conf(5)'s format.

use cni::{Dns, Error, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More than any resolv.conf holds.
const LIMIT: u64 = 1 << 20;

/// Reads the file.
///
/// # Errors
/// Code 5 when it cannot be read.
pub fn read(path: &Path) -> Result<Dns> {
    let text = regular(path).map_err(|error| {
        Error::io(format!("cannot read ipam.resolvConf {}", path.display()), &error)
            .also("name an existing file, or leave the key out")
    })?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// A FIFO would hold up the call for ever, so only regular files are opened.
fn regular(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

/// Takes `nameserver`, `domain`, `search` and `options` from the text, as the reference does:
/// search lists and options add up, the last domain counts, other lines are skipped.
pub fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace().map(str::to_owned);
        let key = fields.next().unwrap_or_default();
        match key.as_str() {
            "nameserver" => dns.nameservers.extend(fields.next()),
            "domain" => dns.domain = fields.next().unwrap_or(dns.domain),
            "search" => dns.search.extend(fields),
            "options" => dns.options.extend(fields),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_fields() {
        let dns = parse(
            "# comment\n; another\n\nnameserver 192.0.2.1\n nameserver\t192.0.2.2 extra\r\n\
             domain old.example\ndomain example.com\nsearch a.example b.example\nsearch c\n\
             options ndots:2 rotate\nnameserver\nsortlist 1\n#nameserver 9.9.9.9\n",
        );
        assert_eq!(dns.nameservers, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(dns.domain, "example.com");
        assert_eq!(dns.search, ["a.example", "b.example", "c"]);
        assert_eq!(dns.options, ["ndots:2", "rotate"]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for path in ["/nonexistent/resolv.conf", "/", "/dev/zero"] {
            let error = read(Path::new(path)).unwrap_err();
            assert_eq!(error.code, cni::code::IO);
            assert!(error.msg.contains(path), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            parse(&text);
        }
    }
}
