//! Translation of addresses by a map, and counting.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{Expressions, Register};

use super::{Expr, Ip, Rule, expr, lookup_data, other};

// enum nft_nat_attributes
const NAT_TYPE: u16 = 1;
const NAT_FAMILY: u16 = 2;
const NAT_ADDRESS_MIN: u16 = 3;
const NAT_ADDRESS_MAX: u16 = 4;
const NAT_PORT_MIN: u16 = 5;
const NAT_PORT_MAX: u16 = 6;
const NAT_FLAGS: u16 = 7;
/// NFT_NAT_DNAT.
const DNAT: u32 = 1;
/// NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED, which the kernel sets itself and dumps
/// (nft_nat_init).
const ADDRESS_AND_PORT: u32 = 3;

// enum nft_counter_attributes
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// `dnat ip to … map @map`: the key in register 1 leads to an address and a port, which the packet's
/// destination becomes.
pub(crate) fn dnat_by(ip: Ip, map: &str) -> Rule {
    vec![lookup_data(map, Register::Reg1, Register::Reg1), dnat(ip)]
}

/// `dnat ip to …`: the address in register 1 and the port behind it.
pub(crate) fn dnat(ip: Ip) -> Expr {
    let address = u32::from(Register::Reg1);
    let port = u32::from(match ip {
        Ip::V4 => Register::Reg32_01,
        Ip::V6 => Register::Reg2,
    });
    let numbers = [
        (NAT_TYPE, DNAT),
        (NAT_FAMILY, u32::from(ip.nfproto())),
        (NAT_ADDRESS_MIN, address),
        (NAT_ADDRESS_MAX, address),
        (NAT_PORT_MIN, port),
        (NAT_PORT_MAX, port),
        (NAT_FLAGS, ADDRESS_AND_PORT),
    ];
    other("nat", &numbers)
}

/// `counter`: packets and bytes that come so far. What it counted makes no difference between rules
/// ([`crate::kernel::raw::same`]).
pub(crate) fn counter() -> Expr {
    let zero = |kind| DefaultNla::new(kind, 0_u64.to_be_bytes().to_vec());
    expr(Expressions::Other {
        expression_type: "counter".to_owned(),
        attributes: vec![zero(COUNTER_BYTES), zero(COUNTER_PACKETS)],
    })
}
