//! Netlink attributes (struct nlattr): length, type, value, padded to four bytes.

use std::net::IpAddr;

/// NLA_F_NESTED: the value is attributes. The kernel does not set it on all that are.
const NLA_F_NESTED: u16 = 1 << 15;
/// NLA_TYPE_MASK: without the flags for nested values and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without the flags.
    pub kind: u16,
    /// Whether it says that its value is attributes.
    pub nested: bool,
    /// Its value, without padding.
    pub value: &'a [u8],
}

/// Splits one attribute off the front; `None` where the bytes are none.
fn split(bytes: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let [l0, l1, t0, t1, ..] = *bytes else { return None };
    let length = u16::from_ne_bytes([l0, l1]) as usize;
    let value = bytes.get(4..length)?;
    let kind = u16::from_ne_bytes([t0, t1]);
    let attribute =
        Attribute { kind: kind & NLA_TYPE_MASK, nested: kind & NLA_F_NESTED != 0, value };
    Some((attribute, &bytes[length.next_multiple_of(4).min(bytes.len())..]))
}

/// Type and value of each attribute, as far as the sequence is well formed.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (attribute, tail) = split(rest)?;
        rest = tail;
        Some((attribute.kind, attribute.value))
    })
}

/// All attributes; `None` where the bytes are not attributes to their end.
pub fn checked(bytes: &[u8]) -> Option<Vec<Attribute<'_>>> {
    let mut rest = bytes;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (attribute, tail) = split(rest)?;
        rest = tail;
        all.push(attribute);
    }
    Some(all)
}

/// The value of the first attribute of a type.
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A number in the machine's byte order.
pub fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// An address of four or sixteen bytes.
pub fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_checked_to_their_end() {
        let bytes = [8, 0, 1, 0x80, 1, 2, 3, 4, 5, 0, 2, 0, 9, 0, 0, 0];
        let all = checked(&bytes).unwrap();
        assert_eq!(all[0], Attribute { kind: 1, nested: true, value: &[1, 2, 3, 4] });
        assert_eq!(all[1], Attribute { kind: 2, nested: false, value: &[9] });
        assert_eq!(checked(&bytes[..13]).map(|all| all.len()), Some(2), "without its padding");
        assert_eq!(checked(&bytes[..12]), None);
        assert_eq!(checked(&[3, 0, 0, 0]), None, "shorter than its own header");
        assert_eq!(attributes(&bytes[..12]).count(), 1);
    }
}
