//! Network namespaces, and the sysctls that they show.

use crate::common::{in_netns, look, new_bridge, new_netns, open, open_in};
use net::{Error, NetNs, link, sysctl};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Which namespace the thread is in.
fn here() -> PathBuf {
    fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn enter_returns_in_every_case() {
    in_netns(|| {
        let (home, other) = (here(), new_netns());
        let there = other.enter(|| Ok(here())).unwrap();
        assert_ne!(there, home);
        assert_eq!(here(), home, "after success");

        let error = other.enter(|| Err::<(), _>(Error::of("work", 5, ""))).unwrap_err();
        assert_eq!(error, Error::of("work", 5, ""));
        assert_eq!(here(), home, "after an error");

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            other.enter::<()>(|| {
                assert_eq!(here(), home, "this is meant to panic: it runs elsewhere");
                Ok(())
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(here(), home, "after a panic");

        let third = new_netns();
        let nested = other.enter(|| third.enter(|| Ok(here())).map(|inner| (inner, here())));
        let (inner, outer) = nested.unwrap();
        assert_eq!(outer, there, "back in the outer one");
        assert!(inner != outer && inner != home);
        assert_eq!(here(), home, "after both");
    });
}

#[test]
fn what_cannot_be_entered_is_told() {
    in_netns(|| {
        let home = here();
        let missing = NetNs::open(Path::new("/nonexistent/netns")).unwrap_err();
        assert!(missing.is_gone(), "{missing}");
        assert!(missing.to_string().starts_with("open network namespace /nonexistent/netns: "));

        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = NetNs::open(file.path()).unwrap().enter(|| Ok(())).unwrap_err();
        assert!(plain.cause().ends_with("it is not a network namespace"), "{plain}");
        let kind = NetNs::open(Path::new("/proc/thread-self/ns/uts")).unwrap();
        let wrong = kind.enter(|| Ok(())).unwrap_err();
        assert!(wrong.cause().ends_with("it is not a network namespace"), "{wrong}");
        assert!(wrong.what.starts_with("enter network namespace /proc/"), "{wrong}");
        assert_eq!(here(), home);
    });
}

#[test]
fn a_socket_stays_in_the_namespace_that_it_was_opened_in() {
    in_netns(|| {
        let other = new_netns();
        let (mut outside, mut inside) = (open(), open_in(&other));
        new_bridge(&mut inside, "br");
        assert_eq!(outside.get(&link::by_name("br")).unwrap(), None);
        assert_eq!(look(&mut inside, "br").kind, "bridge");
        let found = other.enter(|| outside.get(&link::by_name("br"))).unwrap();
        assert_eq!(found, None);
    });
}

#[test]
fn sysctls_are_the_namespaces_own() {
    in_netns(|| {
        const KEY: &str = "net/ipv4/ip_forward";
        let other = new_netns();
        sysctl::set(KEY, "0").unwrap();
        other.enter(|| sysctl::set(KEY, "1")).unwrap();
        assert_eq!(sysctl::get(KEY).unwrap().as_deref(), Some("0"));
        assert_eq!(other.enter(|| sysctl::get(KEY)).unwrap().as_deref(), Some("1"));
    });
}

#[test]
fn a_missing_sysctl_is_none_to_read_and_gone_to_write() {
    in_netns(|| {
        const KEY: &str = "net/ipv4/conf/nowhere/forwarding";
        assert_eq!(sysctl::get(KEY).unwrap(), None);
        let gone = sysctl::set(KEY, "1").unwrap_err();
        assert!(gone.is_gone(), "{gone}");
        assert!(gone.to_string().starts_with(&format!("set sysctl {KEY} to 1: ")), "{gone}");
        // A directory.
        assert!(!sysctl::get("net/ipv4").unwrap_err().is_gone());
    });
}

#[test]
fn a_value_that_is_set_already_is_not_written() {
    in_netns(|| {
        // Read-only, also for root.
        const KEY: &str = "kernel/ostype";
        let value = sysctl::get(KEY).unwrap().unwrap();
        assert_eq!(value, "Linux", "without the newline");
        sysctl::set(KEY, &value).unwrap();
        let refused = sysctl::set(KEY, "Other").unwrap_err();
        assert!(!refused.is_gone(), "{refused}");
    });
}

#[test]
fn a_value_that_the_kernel_refuses_is_told() {
    in_netns(|| {
        let refused = sysctl::set("net/ipv4/ip_forward", "many").unwrap_err();
        assert_eq!(refused.what, "set sysctl net/ipv4/ip_forward to many");
        let refused = sysctl::write("net/ipv4/ip_forward", "\n").unwrap_err();
        assert_eq!(refused.what, "set sysctl net/ipv4/ip_forward to \"\"");
        assert_eq!(sysctl::get("net/ipv4/ip_forward").unwrap().as_deref(), Some("0"));
    });
}
