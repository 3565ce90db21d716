//! The configuration of the vrf plugin.

use attach::keys;
use cni::{Error, Request, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// What a network wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `vrfname`.
    pub name: String,
    /// `table`; `None` for 0 and for none.
    pub table: Option<u32>,
    /// `runDir`.
    pub run_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "vrfname")]
    name: String,
    table: u32,
    run_dir: String,
}

impl Config {
    /// Reads and validates the keys.
    ///
    /// # Errors
    /// Code 7 naming key and value.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        let run_dir = keys::run_dir(&wire.run_dir)?;
        Ok(Config {
            name: name(wire.name)?,
            table: Some(wire.table).filter(|table| *table > 0),
            run_dir,
        })
    }
}

/// The first message is the reference's; it leaves the others to the kernel.
fn name(name: String) -> Result<String> {
    if name.is_empty() {
        return Err(Error::config("configuration is expected to have a valid vrf name")
            .details("set vrfname to the name of a VRF device, of 1 to 15 bytes"));
    }
    let is_odd = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c == '\0';
    if name.len() > 15 || name == "." || name == ".." || name.contains(is_odd) {
        return Err(Error::config(format!("invalid vrfname {name:?}"))
            .details("it is the name of a link: 1 to 15 bytes, without '/', ':', '%' and blanks"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_those_of_links() {
        assert_eq!(name("blue".to_owned()), Ok("blue".to_owned()));
        let text = "configuration is expected to have a valid vrf name";
        assert_eq!(name(String::new()).unwrap_err().msg, text);
        for bad in ["a name", "a/b", "..", "0123456789abcdef", "a:b"] {
            assert_eq!(name(bad.to_owned()).unwrap_err().msg, format!("invalid vrfname {bad:?}"));
        }
    }
}
