//! The error that a runtime sees: code, message, details.

use crate::version::Version;
use nix::errno::Errno;
use serde::Serialize;
use std::{fmt, io};

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Error codes: the specification's (section 5, "Error"), and from 100 on our own.
pub mod code {
    /// The configuration's version is not supported, or lacks the command.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration holds what is not supported.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown or does not exist.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// A `CNI_*` environment variable is missing or wrong; the message names it.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading the configuration, or writing files, failed.
    pub const IO: u32 = 5;
    /// What was read is not the JSON that it should be.
    pub const DECODE: u32 = 6;
    /// The network configuration is not valid.
    pub const INVALID_CONFIG: u32 = 7;
    /// A passing condition: the runtime should try again.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: the plugin cannot serve ADD requests.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: as 50, and existing containers may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: u32 = 51;
    /// The kernel refused a change.
    pub const KERNEL: u32 = 100;
    /// CHECK found something other than what ADD made.
    pub const CHECK_FAILED: u32 = 101;
    /// No address can be leased.
    pub const NO_ADDRESS: u32 = 102;
    /// The attachment, or something of its name, already exists.
    pub const EXISTS: u32 = 103;
    /// A delegated plugin could not be found or run, or broke the protocol.
    pub const DELEGATE: u32 = 104;
    /// A fault of this program.
    pub const INTERNAL: u32 = 999;
}

/// An error of the CNI protocol. `msg` is the failure; `details` the cause, the value, the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One of [`code`].
    pub code: u32,
    /// What failed, in one line.
    pub msg: String,
    /// Why, with which value, and what to do; may be empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Error {
        Error { code, msg: msg.into(), details: String::new() }
    }

    /// Adds the cause, the value and the remedy.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Error {
        self.details = details.into();
        self
    }

    /// Appends to the details, after `; `.
    #[must_use]
    pub fn also(mut self, more: impl fmt::Display) -> Error {
        if !self.details.is_empty() {
            self.details.push_str("; ");
        }
        self.details.push_str(&more.to_string());
        self
    }

    /// Code 7: the network configuration is wrong.
    pub fn config(msg: impl Into<String>) -> Error {
        Error::new(code::INVALID_CONFIG, msg)
    }

    /// Code 4: an environment variable is wrong; `msg` names it.
    pub fn environment(msg: impl Into<String>) -> Error {
        Error::new(code::INVALID_ENVIRONMENT, msg)
    }

    /// Code 5: an operation on files failed.
    pub fn io(what: impl Into<String>, cause: &io::Error) -> Error {
        Error::new(code::IO, what).details(cause.to_string())
    }

    /// The document for stdout, in the protocol version in use.
    pub fn to_json(&self, version: Version) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            cni_version: &'a str,
            code: u32,
            msg: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            details: &'a str,
        }
        crate::json::pretty(&Document {
            cni_version: version.as_str(),
            code: self.code,
            msg: &with_words(&self.msg),
            details: &with_words(&self.details),
        })
    }
}

/// A text with words for each errno that musl has none for, such as EUCLEAN of a damaged file
/// system: musl says `No error information (os error 117)`.
pub(crate) fn with_words(text: &str) -> String {
    const NONE: &str = "No error information (os error ";
    let mut parts = text.split(NONE);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.split(')').next().unwrap_or_default();
        let errno = digits.parse().map_or(Errno::UnknownErrno, Errno::from_raw);
        whole.push_str(&format!("{} (os error {part}", errno.desc()));
    }
    whole
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_without_words_get_some() {
        let none = |errno: &str| format!("No error information (os error {errno})");
        let text = format!("a: {}; b: {}: c (d)", none("117"), none("54"));
        let wanted = "a: Structure needs cleaning (os error 117); \
                      b: Exchange full (os error 54): c (d)";
        assert_eq!(with_words(&text), wanted);
        assert_eq!(with_words("plain (os error 2)"), "plain (os error 2)");
        assert_eq!(with_words(&none("x")), "Unknown errno (os error x)");
    }
}
