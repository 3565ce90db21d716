//! MAC addresses.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

/// A 48-bit MAC address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A random, locally administered unicast address.
    pub fn random() -> Mac {
        // The keys of a RandomState come from getrandom(2).
        let bytes = RandomState::new().build_hasher().finish().to_ne_bytes();
        let mut mac = [0; 6];
        mac.copy_from_slice(&bytes[..6]);
        mac[0] = mac[0] & 0xfc | 0x02;
        Mac(mac)
    }

    /// Whether the kernel would accept it for a device: neither zero nor multicast
    /// (include/linux/etherdevice.h, is_valid_ether_addr).
    pub fn is_valid(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    /// `aa:bb:cc:dd:ee:ff`, also with `-`, also as Cisco's `aabb.ccdd.eeff`.
    fn from_str(text: &str) -> Result<Mac, String> {
        let wrong = || format!("address {text}: invalid MAC address");
        let (groups, digits): (Vec<&str>, usize) = if text.contains('.') {
            (text.split('.').collect(), 4)
        } else {
            (text.split(if text.contains('-') { '-' } else { ':' }).collect(), 2)
        };
        let plain = |group: &&str| {
            group.len() == digits && group.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        if groups.len() * digits != 12 || !groups.iter().all(plain) {
            return Err(wrong());
        }
        let number = u64::from_str_radix(&groups.concat(), 16).map_err(|_| wrong())?;
        let mut mac = [0; 6];
        mac.copy_from_slice(&number.to_be_bytes()[2..]);
        Ok(Mac(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written() {
        let mac: Mac = "0a:1B:00:ff:10:01".parse().unwrap();
        assert_eq!(mac.to_string(), "0a:1b:00:ff:10:01");
        assert_eq!("0a-1b-00-ff-10-01".parse(), Ok(mac));
        assert_eq!("0a1b.00ff.1001".parse(), Ok(mac));
        for wrong in
            ["", "0a:1b:00:ff:10", "0a:1b:00:ff:10:1", "0a:1b:00:ff:10:0g", "+a:1b:00:ff:10:01"]
        {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_random_one_is_local_and_unicast() {
        let mac = Mac::random();
        assert!(mac.is_valid() && mac.0[0] & 2 == 2);
        assert_ne!(mac, Mac::random());
    }
}
