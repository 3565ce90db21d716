//! Names of network interfaces.

/// Bytes of the longest name: IFNAMSIZ without the NUL (include/uapi/linux/if.h).
pub const MAX: usize = 15;

/// Why no interface can have that name, in the reference's words; `None` where one can. These are
/// the kernel's rules (net/core/dev.c, dev_valid_name), and `%`, which it would expand as a template.
/// Whether a name may be empty is for the caller.
pub fn fault(name: &str) -> Option<&'static str> {
    let separates = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.len() > MAX {
        Some("interface name is too long")
    } else if matches!(name, "." | "..") {
        Some("interface name is . or ..")
    } else if name.contains(separates) {
        Some("interface name contains / or : or whitespace characters")
    } else if name.contains('%') {
        Some("interface name contains %")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_interface_can_be_called() {
        for name in ["sixteen-bytes-xx", ".", "..", "a/b", "a:b", "a b", "a\u{1}b", "eth%d"] {
            assert!(fault(name).is_some(), "{name:?}");
        }
        for name in ["eth0", "fifteen-bytes-x", "a.b", "...", "ä"] {
            assert_eq!(fault(name), None, "{name:?}");
        }
    }
}
