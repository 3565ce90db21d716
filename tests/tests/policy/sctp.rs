//! SCTP, of which this machine's kernel may have no sockets: INIT chunks written by hand.

use std::net::IpAddr;
use std::time::Duration;

use crate::site::{Member, Site, app};
use ferrule_tests::raw::{Mac, Sniffer, send};
use ferrule_tests::{patience, within};
use serde_json::{Value, json};

const SCTP: u8 = 132;

/// CRC-32C (RFC 9260 appendix A), bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 * low);
        }
    }
    !crc
}

/// The chunk that begins an association (RFC 9260 section 3.3.2).
fn init(port: u16) -> Vec<u8> {
    let mut packet = [5000_u16.to_be_bytes(), port.to_be_bytes()].concat();
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1]);
    let sum = checksum(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

fn mac(member: &Member) -> Mac {
    let end = &member.result["interfaces"][2];
    ferrule_tests::raw::mac(end["mac"].as_str().expect("a MAC address"))
}

fn packet(from: IpAddr, to: IpAddr, payload: &[u8]) -> (u16, Vec<u8>) {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
            let mut head = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, SCTP, 0, 0];
            head.extend(from.octets());
            head.extend(to.octets());
            let words =
                head.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
            let sum: u32 = words.sum();
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            head[10..12].copy_from_slice(&sum.to_be_bytes());
            (0x0800, [&head[..], payload].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
            let head = [0x60, 0, 0, 0, length[0], length[1], SCTP, 64];
            (0x86dd, [&head[..], &from.octets(), &to.octets(), payload].concat())
        }
        _ => panic!("two families"),
    }
}

/// Whether an INIT to a port arrives.
fn arrives(from: &Member, to: &Member, nth: usize, port: u16) -> bool {
    let payload = init(port);
    let (kind, packet) = packet(from.addresses[nth], to.addresses[nth], &payload);
    let frame = [&mac(to)[..], &mac(from), &kind.to_be_bytes(), &packet].concat();
    let sniffer = Sniffer::on(&to.pod, "eth0");
    send(&from.pod, "eth0", &frame);
    let limit = patience(Duration::from_millis(400));
    sniffer.wait(limit, |frame| frame.ends_with(&payload)).is_some()
}

#[track_caller]
fn expect(site: &Site, from: &Member, to: &Member, port: u16, passes: bool) {
    for nth in [0, 1] {
        let as_wanted = || (arrives(from, to, nth, port) == passes).then_some(());
        let done = within(Duration::from_secs(10), as_wanted);
        done.unwrap_or_else(|| panic!("SCTP to {port}, family {nth}: {}\n{}", !passes, site.log()));
    }
}

#[test]
fn sctp_is_admitted_by_its_port() {
    let site = Site::new();
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    expect(&site, &one, &web, 5060, true);
    let admit = |ports: Value| {
        site.policy(
            "shop",
            "web",
            &json!({"podSelector": app("web"), "ingress": [{"ports": ports}]}),
        );
    };
    admit(json!([{"port": 5060}]));
    expect(&site, &one, &web, 5060, false);
    admit(json!([{"port": 5060, "protocol": "SCTP"}]));
    expect(&site, &one, &web, 5060, true);
    expect(&site, &one, &web, 5061, false);
    admit(json!([{"port": 5061, "endPort": 5070, "protocol": "SCTP"}]));
    expect(&site, &one, &web, 5070, true);
    expect(&site, &one, &web, 5060, false);
    admit(json!([{"protocol": "SCTP"}]));
    expect(&site, &one, &web, 1, true);
}

#[test]
fn a_checksum_is_that_of_the_specification() {
    // RFC 3720 appendix B.4: 32 bytes of zero.
    assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
}
