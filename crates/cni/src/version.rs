//! Versions of the CNI specification.

use std::fmt;

/// A version of the CNI specification that this project speaks, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0: results hold `ip4` and `ip6`. A configuration without `cniVersion` means this one.
    V0_1_0,
    /// 0.2.0: as 0.1.0, and the VERSION command.
    V0_2_0,
    /// 0.3.0: results hold `interfaces`, `ips`, `routes`.
    V0_3_0,
    /// 0.3.1: as 0.3.0.
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` given to DEL.
    V0_4_0,
    /// 1.0.0: no `version` in `ips`; single-plugin configuration files are gone.
    V1_0_0,
    /// 1.1.0: GC, STATUS, MTU of interfaces, further fields of routes.
    V1_1_0,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Version; 7] = [
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];
    /// The newest version.
    pub const NEWEST: Version = Version::V1_1_0;

    /// The version as configurations spell it; `None` when it is not one of [`Version::ALL`].
    pub fn parse(text: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// `"1.1.0"` and the like.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// All versions as `0.1.0, 0.2.0, …`.
    pub fn list() -> String {
        Version::ALL.map(Version::as_str).join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
