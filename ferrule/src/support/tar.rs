//! The format ustar (POSIX.1-1988), as much as files of text need.

/// A header and the blocks of files are of this size.
const BLOCK: usize = 512;
/// Two blocks of zeros end an archive.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Most bytes of a name.
const NAME: usize = 100;

/// A file: header, content, and zeros up to a whole block.
pub(super) fn member(name: &str, content: &[u8], changed: u64) -> Vec<u8> {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(NAME)]);
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, format!("{changed:011o}\0").as_bytes());
    // The checksum counts itself as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    [&header[..], content, &vec![0; padding]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_whole_blocks() {
        let member = member("a/b", b"hello", 1);
        assert_eq!(member.len(), 2 * BLOCK);
        assert_eq!(&member[..4], b"a/b\0");
        assert_eq!(&member[124..136], b"00000000005\0");
        assert_eq!(&member[BLOCK..BLOCK + 5], b"hello");
    }
}
