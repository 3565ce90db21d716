//! Communities (RFC 1997) and large ones (RFC 8092), in numbers and by their names.

use std::fmt;
use std::str::FromStr;

/// GRACEFUL_SHUTDOWN (RFC 8326): the path is about to go.
pub const GRACEFUL_SHUTDOWN: Community = Community(0xffff_0000);

/// Names of well-known communities, as IANA's registry and other speakers' configurations have
/// them.
const NAMES: &[(&str, Community)] = &[
    ("graceful-shutdown", GRACEFUL_SHUTDOWN),
    ("accept-own", Community(0xffff_0001)),
    ("llgr-stale", Community(0xffff_0006)),
    ("no-llgr", Community(0xffff_0007)),
    ("accept-own-nexthop", Community(0xffff_0008)),
    ("blackhole", Community(0xffff_029a)),
    ("no-export", Community(0xffff_ff01)),
    ("no-advertise", Community(0xffff_ff02)),
    ("no-export-subconfed", Community(0xffff_ff03)),
    ("no-peer", Community(0xffff_ff04)),
];

/// A community, written as `65000:1`, or by its name, such as `no-export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, known)| known == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

/// A text is no community.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no community: it is written as two numbers up to 65535, such as 65000:1, as three up \
     to 4294967295, such as 65000:1:2, or as a name, such as no-export"
)]
pub struct ParseCommunityError(String);

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Community, ParseCommunityError> {
        if let Some((_, known)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*known);
        }
        let parts = text.split_once(':');
        let numbers = parts.and_then(|(high, low)| Some((number(high)?, number(low)?)));
        let (high, low): (u16, u16) =
            numbers.ok_or_else(|| ParseCommunityError(text.to_owned()))?;
        Ok(Community(u32::from(high) << 16 | u32::from(low)))
    }
}

/// Digits alone: `parse` would take a sign too.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A large community: Global Administrator and two numbers of its own, written as `65000:1:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub [u32; 3]);

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LargeCommunity([global, first, second]) = self;
        write!(f, "{global}:{first}:{second}")
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<LargeCommunity, ParseCommunityError> {
        let numbers: Option<Vec<u32>> = text.split(':').map(number).collect();
        let three = numbers.and_then(|numbers| numbers.try_into().ok());
        three.map(LargeCommunity).ok_or_else(|| ParseCommunityError(text.to_owned()))
    }
}

/// Communities of both kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Communities {
    /// Of RFC 1997.
    pub standard: Vec<Community>,
    /// Of RFC 8092.
    pub large: Vec<LargeCommunity>,
}

impl Communities {
    /// Adds one, of either kind, unless it is there.
    ///
    /// # Errors
    /// The text is none.
    pub fn add(&mut self, text: &str) -> Result<(), ParseCommunityError> {
        match text.parse::<Community>() {
            Ok(standard) if self.standard.contains(&standard) => {}
            Ok(standard) => self.standard.push(standard),
            Err(_) => {
                let large = text.parse()?;
                if !self.large.contains(&large) {
                    self.large.push(large);
                }
            }
        }
        Ok(())
    }

    /// Each as it is written.
    pub fn names(&self) -> Vec<String> {
        let standard = self.standard.iter().map(ToString::to_string);
        standard.chain(self.large.iter().map(ToString::to_string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_written_as_two_numbers_or_by_name() {
        let community: Community = "65000:17".parse().unwrap();
        assert_eq!((community.0, community.to_string()), (0xfde8_0011, "65000:17".to_owned()));
        for (name, known) in NAMES {
            assert_eq!((name.parse(), known.to_string()), (Ok(*known), (*name).to_owned()));
        }
        assert_eq!("65535:666".parse::<Community>().unwrap().to_string(), "blackhole");
        for wrong in ["", "65000", "65536:1", "1:2:3", "a:b", "1:-1", "+1:1", "NO-EXPORT"] {
            assert!(wrong.parse::<Community>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn large_communities_are_written_as_three_numbers() {
        let mut both = Communities::default();
        for text in ["4200000000:1:4294967295", "no-export", "65535:65281", "1:2:3", "1:2:3"] {
            both.add(text).unwrap();
        }
        assert_eq!(both.names(), ["no-export", "4200000000:1:4294967295", "1:2:3"]);
        for wrong in ["1:2:3:4", "1:2:4294967296", "1::3", "+1:2:3"] {
            assert!(both.add(wrong).is_err(), "{wrong}");
        }
    }
}
