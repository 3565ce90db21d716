//! The configuration of the sbr plugin.

use attach::keys;
use cni::{Error, Request, Result};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// What a network wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `table`: an existing routing table; with it only rules are made.
    pub table: Option<u32>,
    /// `gateways`: one of each family at most, in the place of those of the result.
    pub gateways: Vec<IpAddr>,
    /// `addSourceHints`.
    pub source_hints: bool,
    /// `runDir`.
    pub run_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    table: Option<i64>,
    gateways: Vec<String>,
    add_source_hints: bool,
    run_dir: String,
}

impl Config {
    /// Reads and validates the keys.
    ///
    /// # Errors
    /// Code 7 naming key and value.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        let table = wire.table.map(table).transpose()?;
        // With a table the reference does not look at them.
        let gateways = if table.is_some() { Vec::new() } else { gateways(&wire.gateways)? };
        let run_dir = keys::run_dir(&wire.run_dir)?;
        Ok(Config { table, gateways, source_hints: wire.add_source_hints, run_dir })
    }
}

/// `table` alone, of a configuration whose other keys may be invalid.
pub(crate) fn table_of(request: &Request) -> Option<u32> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Only {
        table: Option<i64>,
    }
    let only: Only = request.conf.decode().unwrap_or_default();
    only.table.and_then(|number| table(number).ok())
}

fn table(number: i64) -> Result<u32> {
    u32::try_from(number).ok().filter(|table| *table > 0).ok_or_else(|| {
        Error::config(format!("invalid table {number}")).details(
            "table is the number of a routing table, 1 to 4294967295; without it a free one is taken",
        )
    })
}

/// The messages are the reference's.
fn gateways(texts: &[String]) -> Result<Vec<IpAddr>> {
    if texts.len() > 2 {
        let msg = "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)";
        return Err(Error::config(msg).details(format!("gateways is {texts:?}")));
    }
    let mut gateways: Vec<IpAddr> = Vec::new();
    for text in texts {
        let Ok(gateway) = text.parse::<IpAddr>() else {
            return Err(Error::config(format!("invalid static gateway IP address: {text}"))
                .details("gateways holds addresses without a prefix length"));
        };
        let gateway = gateway.to_canonical();
        if let Some(first) = gateways.iter().find(|first| first.is_ipv4() == gateway.is_ipv4()) {
            let family = if gateway.is_ipv4() { "IPv4" } else { "IPv6" };
            let msg =
                format!("gateways list contains multiple {family} addresses: {first} and {text}");
            return Err(Error::config(msg).details("one of each family serves all its addresses"));
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Result<Vec<IpAddr>> {
        gateways(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn gateways_are_one_of_each_family() {
        assert_eq!(of(&["10.0.0.1", "fd00::1"]).unwrap().len(), 2);
        assert_eq!(of(&["::ffff:10.0.0.1"]).unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        let refused = |texts: &[&str]| of(texts).unwrap_err().msg;
        assert_eq!(refused(&["10.0.0.x"]), "invalid static gateway IP address: 10.0.0.x");
        assert_eq!(
            refused(&["10.0.0.1", "10.0.0.2"]),
            "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2"
        );
        assert_eq!(
            refused(&["fd00::1", "fd00::2"]),
            "gateways list contains multiple IPv6 addresses: fd00::1 and fd00::2"
        );
        assert_eq!(
            refused(&["a", "b", "c"]),
            "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)"
        );
    }

    #[test]
    fn tables_are_numbers_of_tables() {
        assert_eq!(table(4_294_967_295), Ok(u32::MAX));
        for number in [-1, 0, 4_294_967_296] {
            assert_eq!(table(number).unwrap_err().msg, format!("invalid table {number}"));
        }
    }
}
