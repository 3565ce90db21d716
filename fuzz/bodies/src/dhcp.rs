//! What arrives at the link of a pod whose address is leased by DHCP.

use dhcp::lease::{Hop, Lease};
use dhcp::message::Message;
use dhcp::{frame, timing, usable};
use std::time::Duration;

/// An Ethernet frame, or the payload of a datagram.
pub fn dhcp(data: &[u8]) {
    if let Some((_, payload)) = frame::read(data) {
        assert!(payload.len() + 42 <= data.len());
        message(payload);
    }
    message(data);
}

/// What is read is written, and read again unchanged.
fn message(payload: &[u8]) {
    let Some(message) = Message::decode(payload) else { return };
    assert_eq!(Message::decode(&message.encode()).as_ref(), Some(&message));
    message.kind();
    for code in message.options.keys() {
        let text = message.text(*code);
        assert!(text.is_none_or(|text| !text.is_empty() && !text.contains(char::is_control)));
    }
    let all: Vec<u8> = (1..=254).collect();
    for read in [Lease::of, usable::leased] {
        match read(&message, &all) {
            Ok(lease) => leased(&lease),
            Err(why) => assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}"),
        }
    }
    if let Ok(lease) = usable::leased(&message, &all) {
        assert!(
            lease.prefix >= 8 && lease.seconds > 0 && !lease.address.is_loopback(),
            "{lease:?}"
        );
    }
}

/// A lease is kept as it is, has times in order, and becomes a result of every version.
fn leased(lease: &Lease) {
    let kept = serde_json::to_vec(lease).expect("a lease is written");
    assert_eq!(serde_json::from_slice::<Lease>(&kept).expect("and read"), *lease);
    assert!(lease.renewal <= lease.rebinding && lease.rebinding <= lease.seconds, "{lease:?}");
    let is_network = |hop: &Hop| {
        let host = u32::MAX.checked_shr(hop.prefix.into()).unwrap_or_default();
        hop.prefix <= 32 && u32::from(hop.network) & host == 0
    };
    assert!(lease.classless.iter().chain(&lease.classful).all(is_network), "{lease:?}");
    let is_plain = |name: &String| !name.contains(|c: char| c.is_whitespace() || c.is_control());
    assert!(lease.dns.search.iter().all(is_plain), "{lease:?}");
    for age in [0, lease.renewal, lease.rebinding, lease.seconds, u32::MAX] {
        timing::next(lease, Duration::from_secs(age.into()), None);
    }
    let result = lease.result(Some(7));
    assert_eq!(result.ips.len(), 1, "{lease:?}");
    for version in cni::Version::ALL {
        if let Err(error) = result.to_json(version) {
            crate::is_told(&error);
        }
    }
}
