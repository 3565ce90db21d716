//! A lease file: its name and its content, as the reference writes them.

use cni::Attachment;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Whom a lease belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The container.
    pub container_id: String,
    /// The interface; empty in files of old plugins, which hold the container alone.
    pub ifname: String,
}

impl Holder {
    /// The holder of these two.
    pub fn new(container_id: &str, ifname: &str) -> Holder {
        Holder { container_id: container_id.to_owned(), ifname: ifname.to_owned() }
    }

    /// The content of a lease file; `None` when it is not that of a lease: empty or torn by a
    /// crash. The reference compares contents trimmed, so white space around does not count.
    pub fn parse(content: &[u8]) -> Option<Holder> {
        let text = std::str::from_utf8(content).ok()?.trim();
        let (container_id, ifname) = match text.split_once('\n') {
            None => (text, ""),
            Some((container_id, ifname)) => (container_id.trim_end(), ifname),
        };
        let has_ifname = !ifname.is_empty() && ifname.len() <= 15;
        let is_ifname = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
        let valid = is_container_id(container_id)
            && (text == container_id || has_ifname && ifname.chars().all(is_ifname));
        valid.then(|| Holder::new(container_id, ifname))
    }

    /// The content of its lease file.
    pub fn content(&self) -> String {
        format!("{}\r\n{}", self.container_id, self.ifname)
    }

    /// The same container without an interface, as old lease files name it.
    pub fn id_only(&self) -> Holder {
        Holder::new(&self.container_id, "")
    }

    /// The key of the index.
    pub fn digest(&self, network: &str) -> [u8; 16] {
        Attachment::new(network, &self.container_id, &self.ifname).digest()
    }
}

fn is_container_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// The path of an address's lease. Go prints an IPv4 address mapped into IPv6 as plain IPv4.
pub fn path(dir: &Path, address: IpAddr) -> PathBuf {
    dir.join(address.to_canonical().to_string())
}

/// The address that a file name stands for, in the one spelling that Go gives it; `None` for
/// every other file: `lock`, `last_reserved_ip.0`, and what is not ours.
pub fn address_of(name: &str) -> Option<IpAddr> {
    let address: IpAddr = name.parse().ok()?;
    (address.to_canonical().to_string() == name).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn contents() {
        let both = Some(Holder::new("c1", "eth0"));
        for content in ["c1\r\neth0", " c1\r\neth0\n", "c1\neth0", "c1 \r\neth0\t"] {
            assert_eq!(Holder::parse(content.as_bytes()), both, "{content:?}");
        }
        for content in ["c1", "c1\r\n", "\tc1\n", "c1\r"] {
            assert_eq!(Holder::parse(content.as_bytes()), Some(Holder::new("c1", "")));
        }
        let torn: [&[u8]; 9] = [
            b"",
            b" \r\n",
            b"\0\0\0\0",
            b"c1\r\n\0\0",
            b"\xff",
            b"-c1\r\neth0",
            b"a b\r\neth0",
            b"c1\r\neth0\r\nx",
            b"c1\r\n0123456789abcdef",
        ];
        for content in torn {
            assert_eq!(Holder::parse(content), None, "{content:?}");
        }
    }

    #[test]
    fn names() {
        for (address, name) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("FD00:0:0::1", "fd00::1"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
            ("::10.0.0.1", "::a00:1"),
        ] {
            let path = path(Path::new("/d"), address.parse().unwrap());
            assert_eq!(path, Path::new("/d").join(name));
            assert_eq!(address_of(name), Some(name.parse().unwrap()));
        }
        for name in
            ["lock", "last_reserved_ip.0", "10.0.0", "FD00::1", "::ffff:10.0.0.1", "fd00::0:1", ""]
        {
            assert_eq!(address_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,80}", ifname in "[a-z0-9.@]{1,15}") {
            let holder = Holder::new(&id, &ifname);
            prop_assert_eq!(Holder::parse(holder.content().as_bytes()), Some(holder));
        }

        #[test]
        fn any_content_is_read(content in any::<Vec<u8>>()) {
            Holder::parse(&content);
        }
    }
}
