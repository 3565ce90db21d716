//! Policy rules that choose a routing table by the source address: RTM_NEWRULE, RTM_DELRULE and
//! RTM_GETRULE (struct fib_rule_hdr of include/uapi/linux/fib_rules.h; net/core/fib_rules.c).

use netlink::Verb;
use netlink::{Message, attributes, ip_of, u32_of};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use std::net::IpAddr;

const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;
const FRA_SRC: u16 = 2;
const FRA_TABLE: u16 = 15;
/// The packet is routed by a table.
const FR_ACT_TO_TBL: u8 = 1;
/// Bytes of struct fib_rule_hdr.
const HEADER: usize = 12;

/// A rule, as far as it concerns sources and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The single address whose packets it is for; `None` for other rules.
    pub source: Option<IpAddr>,
    /// The routing table; 0 for a rule that names none.
    pub table: u32,
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn message(source: IpAddr, table: u32) -> Message {
    let length = if source.is_ipv4() { 32 } else { 128 };
    let small = u8::try_from(table).unwrap_or(0);
    let header = [family(source), 0, length, 0, small, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    let mut message = Message::new(&header);
    message.put_ip(FRA_SRC, source);
    message.put_u32(FRA_TABLE, table);
    message
}

/// Adds a rule for the packets of one source address; the kernel puts it before all but the first
/// (fib_default_rule_pref). EEXIST: there is such a rule.
pub fn add(source: IpAddr, table: u32) -> Verb<()> {
    let what = format!("add a rule for packets from {source} to table {table}");
    Verb::change(RTM_NEWRULE, &message(source, table), NLM_F_CREATE | NLM_F_EXCL, what)
}

/// Removes a rule for the packets of one source address.
pub fn del(source: IpAddr, table: u32) -> Verb<()> {
    let what = format!("remove the rule for packets from {source} to table {table}");
    Verb::change(RTM_DELRULE, &message(source, table), 0, what)
}

/// The rules of one family.
pub fn list(v6: bool) -> Verb<Rule> {
    let family = if v6 { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 };
    let mut header = [0; HEADER];
    header[0] = family;
    let message = Message::new(&header);
    Verb::new(RTM_GETRULE, &message, NLM_F_DUMP, parse, "list rules".to_owned())
}

fn parse(kind: u16, body: &[u8]) -> Option<Rule> {
    let [family, destination, length, _, table, ..] = *body else { return None };
    if kind != RTM_NEWRULE {
        return None;
    }
    let mut rule = Rule { source: None, table: u32::from(table) };
    let single = if i32::from(family) == libc::AF_INET { 32 } else { 128 };
    for (kind, value) in attributes(body.get(HEADER..)?) {
        match kind {
            FRA_SRC if length == single && destination == 0 => rule.source = ip_of(value),
            FRA_TABLE => rule.table = u32_of(value)?,
            _ => {}
        }
    }
    Some(rule)
}
