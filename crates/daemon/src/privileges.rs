//! Gives up every privilege that a daemon does not need.

pub use caps::Capability;
use caps::errors::CapsError;
use caps::{CapSet, CapsHashSet};
use std::io;

/// Keeps CAP_NET_ADMIN, and those of `more` that are permitted, and drops every other capability
/// permanently: this thread and those that it starts cannot regain one, whatever they execute
/// (capabilities(7)). Files of root remain root's to read and write. `daemon`: its name, for the
/// error.
///
/// # Errors
/// CAP_NET_ADMIN is not permitted, or the kernel refuses.
pub fn keep_net_admin(daemon: &str, more: &[Capability]) -> io::Result<()> {
    let mut kept = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
    for capability in more {
        if caps::has_cap(None, CapSet::Permitted, *capability).map_err(failed)? {
            kept.insert(*capability);
        }
    }
    if !caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_ADMIN).map_err(failed)? {
        let what = format!(
            "CAP_NET_ADMIN is missing: run {daemon} as root, or give its unit or container that \
             capability"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    nix::sys::prctl::set_no_new_privs()?;
    // Without CAP_SETPCAP the bounding set cannot be changed; no_new_privs makes it ineffective.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
        caps::clear(None, CapSet::Bounding).map_err(failed)?;
    }
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)
}

fn failed(error: CapsError) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Capabilities are a thread's, and this test's thread ends with it.
    #[test]
    fn nothing_but_net_admin_is_left() {
        let status = std::thread::spawn(|| {
            let bind = Capability::CAP_NET_BIND_SERVICE;
            keep_net_admin("x", &[bind]).unwrap();
            assert!(caps::has_cap(None, CapSet::Effective, bind).unwrap());
            // Again, without CAP_SETPCAP.
            keep_net_admin("x", &[]).unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = status.join().unwrap();
        let net_admin = format!("{:016x}", 1u64 << 12);
        let none = "0".repeat(16);
        for (key, value) in [
            ("CapInh", none.as_str()),
            ("CapPrm", &net_admin),
            ("CapEff", &net_admin),
            ("CapBnd", &none),
            ("CapAmb", &none),
            ("NoNewPrivs", "1"),
        ] {
            let line = format!("{key}:\t{value}");
            assert!(status.lines().any(|l| l == line), "{line} is not in {status}");
        }
    }
}
