//! The blocks of [`allocator`](crate::allocator) on disk: which addresses are probably taken.
//!
//! Only an accelerator, by which a free address is found without asking for each one before it.
//! Its errors are harmless: an address whose bit is clear is leased by an exclusive creation
//! only, and a set counts as exhausted only after all blocks were made anew from the directory.
//! So nothing here fails: a block that cannot be read is clear, one that cannot be written is
//! forgotten.
//!
//! A block is a file of 4 KiB for 32768 consecutive addresses, whatever ranges a configuration
//! draws over them: a change of ranges needs no rebuilding.

use crate::allocator::{BLOCK, Block, Taken};
use crate::range::{Family, number};
use cni::files;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "taken-";

type Key = (Family, u128);

/// The blocks in a directory.
pub struct Bits {
    dir: PathBuf,
    current: Option<Current>,
}

struct Current {
    key: Key,
    file: Option<File>,
    block: Block,
}

impl Bits {
    /// The blocks in `dir`.
    pub fn new(dir: &Path) -> Bits {
        Bits { dir: dir.to_owned(), current: None }
    }

    /// Notes that an address is taken or not.
    pub fn put(&mut self, address: IpAddr, taken: bool) {
        let key = key(address);
        let path = path(&self.dir, key);
        let current = self.load(key);
        let index = current.block.put(number(address) % BLOCK, taken);
        if current.file.is_none() {
            // Without a file all bits are clear already.
            current.file = taken.then(|| succeed(&path)).flatten();
        }
        if let Some(file) = &current.file {
            let _ = file.write_all_at(&current.block.bytes()[index..=index], index as u64);
        }
    }

    /// Replaces all blocks by those of these addresses.
    pub fn replace(&mut self, taken: impl Iterator<Item = IpAddr>) {
        self.current = None;
        let mut blocks: BTreeMap<Key, Block> = BTreeMap::new();
        for address in taken {
            blocks.entry(key(address)).or_default().put(number(address) % BLOCK, true);
        }
        for file in files(&self.dir) {
            let _ = fs::remove_file(file);
        }
        for (key, block) in blocks {
            let file = create(&path(&self.dir, key));
            let _ = file.map(|file| file.write_all_at(block.bytes(), 0));
        }
    }

    fn load(&mut self, key: Key) -> &mut Current {
        let fresh = match self.current.take().filter(|current| current.key == key) {
            Some(current) => current,
            None => {
                let file =
                    OpenOptions::new().read(true).write(true).open(path(&self.dir, key)).ok();
                let mut block = Block::default();
                // A short file was never written further, so the rest is clear.
                let _ = file.as_ref().map(|file| file.read_at(block.bytes_mut(), 0));
                Current { key, file, block }
            }
        };
        self.current.insert(fresh)
    }
}

impl Taken for Bits {
    fn block(&mut self, family: Family, number: u128) -> &Block {
        &self.load((family, number)).block
    }
}

fn key(address: IpAddr) -> Key {
    (Family::of(address), number(address) / BLOCK)
}

fn path(dir: &Path, (family, number): Key) -> PathBuf {
    dir.join(match family {
        Family::V4 => format!("{PREFIX}4-{number:05x}"),
        Family::V6 => format!("{PREFIX}6-{number:029x}"),
    })
}

fn files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
}

/// Makes a new block and removes those that are clear by now: addresses are given out in order,
/// so a large range would otherwise leave a file behind for each 32768 pods.
fn succeed(path: &Path) -> Option<File> {
    for file in path.parent().into_iter().flat_map(files) {
        if files::read(&file, BLOCK as u64 / 8)
            .is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
        {
            let _ = fs::remove_file(file);
        }
    }
    create(path)
}

fn create(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn bits_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut bits = Bits::new(dir.path());
        let all = ["10.0.0.5", "10.0.127.255", "10.0.128.0", "fd00::5", "fd00::7fff"].map(address);
        all.iter().for_each(|address| bits.put(*address, true));
        bits.put(address("192.0.2.1"), false);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        let mut again = Bits::new(dir.path());
        let mut is_set = |address: IpAddr| {
            let (family, block) = key(address);
            let bit = number(address) % BLOCK;
            let block = again.block(family, block);
            block.bytes()[bit as usize / 8] & (1 << (bit % 8)) != 0
        };
        assert!(all.iter().all(|address| is_set(*address)));
        assert!(!is_set(address("10.0.0.4")) && !is_set(address("fd00::6")));
    }

    #[test]
    fn replacing_forgets_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let mut bits = Bits::new(dir.path());
        bits.put(address("10.0.0.5"), true);
        bits.put(address("192.0.2.1"), true);
        fs::write(dir.path().join("index"), "x").unwrap();
        bits.replace([address("10.0.0.6")].into_iter());
        assert_eq!(bits.block(Family::V4, 0x0a00_0000 >> 15).bytes()[0], 1 << 6);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_block_takes_the_place_of_clear_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut bits = Bits::new(dir.path());
        bits.put(address("10.0.0.5"), true);
        for block in 0..4 {
            let passing = address(&format!("fd00::{block}:0"));
            bits.put(passing, true);
            bits.put(passing, false);
        }
        assert_eq!(files(dir.path()).count(), 2);
        assert_eq!(bits.block(Family::V4, 0x0a00_0000 >> 15).bytes()[0], 1 << 5);
    }

    #[test]
    fn a_directory_that_is_gone_holds_nothing_up() {
        let mut bits = Bits::new(Path::new("/nonexistent"));
        bits.put(address("10.0.0.5"), true);
        bits.replace([address("10.0.0.6")].into_iter());
        assert_eq!(bits.block(Family::V4, 0).bytes()[0], 0);
    }
}
