//! NOTIFICATION: the last message of a session, and its meaning in words.

use std::fmt;

/// Error codes (RFC 4271 section 4.5).
pub mod code {
    /// Message Header Error.
    pub const HEADER: u8 = 1;
    /// OPEN Message Error.
    pub const OPEN: u8 = 2;
    /// UPDATE Message Error.
    pub const UPDATE: u8 = 3;
    /// Hold Timer Expired.
    pub const HOLD_TIMER: u8 = 4;
    /// Finite State Machine Error.
    pub const FSM: u8 = 5;
    /// Cease.
    pub const CEASE: u8 = 6;
}

/// Subcodes of Cease (RFC 4486) that are sent, or mean something here.
pub mod cease {
    /// Maximum Number of Prefixes Reached.
    pub const PREFIXES: u8 = 1;
    /// Administrative Shutdown.
    pub const SHUTDOWN: u8 = 2;
    /// Peer De-configured.
    pub const DECONFIGURED: u8 = 3;
    /// Administrative Reset.
    pub const RESET: u8 = 4;
    /// Connection Rejected.
    pub const REJECTED: u8 = 5;
    /// Other Configuration Change.
    pub const CONFIGURATION: u8 = 6;
    /// Connection Collision Resolution.
    pub const COLLISION: u8 = 7;
}

/// A NOTIFICATION. Displayed, it says what the RFCs call the code, and the sender's own words if
/// it has any (RFC 9003).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What kind of error, see [`code`].
    pub code: u8,
    /// More exactly; 0 is unspecific.
    pub subcode: u8,
    /// The offending bytes, mostly.
    pub data: Vec<u8>,
}

impl Notification {
    /// A Cease without data; `subcode` from [`cease`].
    pub fn cease(subcode: u8) -> Notification {
        Notification { code: code::CEASE, subcode, data: vec![] }
    }

    /// The body of a message. It is never answered, so there is nothing wrong with a short one.
    pub(super) fn decode(body: &[u8]) -> Notification {
        let (head, data) = body.split_at_checked(2).unwrap_or((body, &[]));
        let at = |index| head.get(index).copied().unwrap_or(0);
        Notification { code: at(0), subcode: at(1), data: data.to_vec() }
    }

    /// The Shutdown Communication of RFC 9003, without control characters, or `None`.
    pub fn communication(&self) -> Option<String> {
        let shutdown = matches!(self.subcode, cease::SHUTDOWN | cease::RESET);
        if self.code != code::CEASE || !shutdown {
            return None;
        }
        let (length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*length))?;
        let words: String =
            String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
        (!words.is_empty()).then_some(words)
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, subs): (&str, &[&str]) = match self.code {
            code::HEADER => ("Message Header Error", HEADER),
            code::OPEN => ("OPEN Message Error", OPEN),
            code::UPDATE => ("UPDATE Message Error", UPDATE),
            code::HOLD_TIMER => ("Hold Timer Expired", &[]),
            code::FSM => ("Finite State Machine Error", FSM),
            code::CEASE => ("Cease", CEASE),
            7 => ("ROUTE-REFRESH Message Error", &["", "Invalid Message Length"]),
            _ => ("unknown error", &[]),
        };
        write!(f, "{name}")?;
        match subs.get(usize::from(self.subcode)).filter(|sub| !sub.is_empty()) {
            Some(sub) => write!(f, ": {sub}")?,
            None if self.subcode != 0 => write!(f, ": subcode {}", self.subcode)?,
            None => {}
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        match self.communication() {
            Some(words) => write!(f, ": \"{words}\""),
            None => Ok(()),
        }
    }
}

const HEADER: &[&str] =
    &["", "Connection Not Synchronized", "Bad Message Length", "Bad Message Type"];
const OPEN: &[&str] = &[
    "",
    "Unsupported Version Number",
    "Bad Peer AS",
    "Bad BGP Identifier",
    "Unsupported Optional Parameter",
    "",
    "Unacceptable Hold Time",
    "Unsupported Capability",
];
const UPDATE: &[&str] = &[
    "",
    "Malformed Attribute List",
    "Unrecognized Well-known Attribute",
    "Missing Well-known Attribute",
    "Attribute Flags Error",
    "Attribute Length Error",
    "Invalid ORIGIN Attribute",
    "",
    "Invalid NEXT_HOP Attribute",
    "Optional Attribute Error",
    "Invalid Network Field",
    "Malformed AS_PATH",
];
/// RFC 6608.
const FSM: &[&str] = &[
    "",
    "Unexpected Message in OpenSent",
    "Unexpected Message in OpenConfirm",
    "Unexpected Message in Established",
];
/// RFC 4486, RFC 8538, RFC 9384.
const CEASE: &[&str] = &[
    "",
    "Maximum Number of Prefixes Reached",
    "Administrative Shutdown",
    "Peer De-configured",
    "Administrative Reset",
    "Connection Rejected",
    "Other Configuration Change",
    "Connection Collision Resolution",
    "Out of Resources",
    "Hard Reset",
    "BFD Down",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_happened() {
        let said = |code, subcode, data: &[u8]| {
            Notification { code, subcode, data: data.to_vec() }.to_string()
        };
        assert_eq!(said(2, 2, &[]), "OPEN Message Error: Bad Peer AS (2/2)");
        assert_eq!(said(4, 0, &[]), "Hold Timer Expired (4/0)");
        assert_eq!(said(6, 2, b"\x05lunch"), "Cease: Administrative Shutdown (6/2): \"lunch\"");
        assert_eq!(said(6, 2, b"\x09lunch"), "Cease: Administrative Shutdown (6/2)");
        assert_eq!(said(9, 9, &[]), "unknown error: subcode 9 (9/9)");
    }
}
