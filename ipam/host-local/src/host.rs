//! This boot of this machine: what tells a lease from before the last boot.

use nix::fcntl::OFlag;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// 128 random bits.
pub type Id = [u8; 16];

/// Where the host tells its identity. The paths are fields for the sake of tests alone.
#[derive(Clone, Debug)]
pub struct Host {
    /// A new UUID with every boot of the kernel.
    pub boot_id: PathBuf,
    /// The same over all boots of this installation: machine-id(5).
    pub machine_id: PathBuf,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            boot_id: PathBuf::from("/proc/sys/kernel/random/boot_id"),
            machine_id: PathBuf::from("/etc/machine-id"),
        }
    }
}

impl Host {
    /// This boot; `None` when that cannot be known.
    pub fn boot(&self) -> Option<Id> {
        read(&self.boot_id)
    }

    /// This machine; `None` when there is no machine-id, or none yet: then no lease ever counts
    /// as stale, since a data directory on a shared disk may have come from another machine.
    pub fn machine(&self) -> Option<Id> {
        read(&self.machine_id)
    }
}

fn read(path: &Path) -> Option<Id> {
    let mut text = [0; 64];
    // A FIFO is not waited for.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let length = options.open(path).and_then(|mut file| file.read(&mut text)).ok()?;
    parse(text.get(..length)?)
}

/// 32 hexadecimal digits, dashes between them or not. While a system is set up for the first
/// time, machine-id holds the word `uninitialized`.
fn parse(text: &[u8]) -> Option<Id> {
    let digits = text.trim_ascii_end().iter().filter(|byte| **byte != b'-');
    let digits: Vec<u8> = digits
        .map(|byte| (*byte as char).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let id: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    id.try_into().ok().filter(|_| digits.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = parse(b"305c6e54-9047-44df-8abe-03cc66abe95a\n").unwrap();
        assert_eq!((id[0], id[15]), (0x30, 0x5a));
        assert!(parse(b"3d1219c7c4c5404aaa1f6d2a48adfda4\n").is_some());
        for text in ["", "\n", "uninitialized\n", "3d12", "3d1219c7c4c5404aaa1f6d2a48adfda4a"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert!(Host::default().boot().is_some());
    }
}
