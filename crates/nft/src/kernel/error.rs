//! What went wrong, in words, with the errno still matchable.

use nix::errno::Errno;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a change or a question failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused, and nothing of the batch was applied; or the socket failed.
    #[error("{what}: {}{}", std::io::Error::from(*errno), detail(ext_ack.as_deref()))]
    Kernel {
        /// What was attempted, for a person: "add chain masq-… to table inet ferrule".
        what: String,
        /// The errno of the first message of the batch that failed.
        errno: Errno,
        /// The kernel's own words (NLMSGERR_ATTR_MSG), when it gave any.
        ext_ack: Option<String>,
    },
    /// This kernel has no nf_tables, or not the part that is needed.
    #[error(
        "{what}: the kernel has no nf_tables support ({}); it needs CONFIG_NF_TABLES, \
         CONFIG_NF_TABLES_INET, CONFIG_NF_TABLES_BRIDGE, CONFIG_NFT_NAT and CONFIG_NFT_MASQ",
        errno.desc()
    )]
    Unsupported {
        /// What was attempted.
        what: String,
        /// How the kernel said no.
        errno: Errno,
    },
    /// The kernel's answer is not one to this question.
    #[error("{what}: unexpected netlink answer: {detail}")]
    Protocol {
        /// What was attempted.
        what: String,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The caller asked for something that cannot be; the kernel was not touched.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// The kernel's errno, when it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel { errno, .. } | Self::Unsupported { errno, .. } => Some(*errno),
            Self::Protocol { .. } | Self::Invalid(_) => None,
        }
    }

    /// EEXIST: an object of that name or key is there and differs.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// ENOENT: the table, chain, set or element is not there (or the kernel lacks the part).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.errno() == Some(Errno::ENOENT)
    }

    /// EBUSY: the object is still referenced or, with NLM_F_NONREC, not empty.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::EBUSY)
    }

    /// This kernel has no nf_tables, or not the part that is needed.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }

    /// ERESTART: the ruleset changed since the generation that the batch named
    /// (nf_tables_valid_genid); the kernel looked at nothing else of the batch.
    pub(crate) fn is_outdated(&self) -> bool {
        self.errno() == Some(Errno::ERESTART)
    }

    /// Turns a failure into [`Self::is_outdated`]: what the decision rested on has changed.
    pub(crate) fn outdated(self) -> Self {
        match self {
            Self::Kernel { what, ext_ack, .. } => {
                Self::Kernel { what, errno: Errno::ERESTART, ext_ack }
            }
            other => other,
        }
    }
}

impl From<netlink::Error> for Error {
    fn from(error: netlink::Error) -> Self {
        let what = error.what;
        match Errno::from_raw(error.errno) {
            // A family of tables, or the whole of netfilter netlink, that is not built.
            errno @ (Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => {
                Self::Unsupported { what, errno }
            }
            errno => {
                let ext_ack = Some(error.reason).filter(|reason| !reason.is_empty());
                Self::Kernel { what, errno, ext_ack }
            }
        }
    }
}

fn detail(ext_ack: Option<&str>) -> String {
    ext_ack.map(|text| format!(" (kernel: {text})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_was_tried_and_what_the_kernel_said() {
        let error = Error::from(netlink::Error::of("add chain x", 17, "Chain exists"));
        assert_eq!(
            error.to_string(),
            "add chain x: File exists (os error 17) (kernel: Chain exists)"
        );
        assert!(error.is_exists() && !error.is_gone() && !error.is_busy());
        let error = Error::from(netlink::Error::of("delete chain x", 16, ""));
        assert_eq!(error.to_string(), "delete chain x: Device or resource busy (os error 16)");
        assert!(error.is_busy());
    }

    #[test]
    fn a_kernel_without_nf_tables_is_named_as_such() {
        let error = Error::from(netlink::Error::of("add table inet ferrule", 97, ""));
        assert!(error.is_unsupported());
        assert!(error.to_string().contains("the kernel has no nf_tables support"), "{error}");
    }
}
