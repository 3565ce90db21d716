//! Queueing disciplines: RTM_NEWQDISC, RTM_DELQDISC and RTM_GETQDISC (struct tcmsg of
//! include/uapi/linux/rtnetlink.h; net/sched/sch_api.c, net/sched/sch_tbf.c).

use netlink::Verb;
use netlink::{Message, attributes, find, u32_of};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;

// include/uapi/linux/rtnetlink.h, include/uapi/linux/pkt_sched.h
pub(crate) const TCA_KIND: u16 = 1;
pub(crate) const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// Where all that a link sends passes: TC_H_ROOT.
pub const ROOT: u32 = 0xffff_ffff;
/// Where all that a link receives passes: TC_H_INGRESS.
pub const INGRESS: u32 = 0xffff_fff1;
/// The handle of a token bucket filter, 1:0, as the reference has it.
pub const TBF_HANDLE: u32 = 0x0001_0000;
/// The handle of every qdisc at [`INGRESS`], ffff:0.
pub const INGRESS_HANDLE: u32 = 0xffff_0000;

/// Bytes of struct tcmsg.
const HEADER: usize = 20;

/// The kernel's unit of time in a token bucket filter: 64 ns (PSCHED_SHIFT of
/// include/net/pkt_sched.h).
pub const TICK_NS: u64 = 64;

/// A token bucket filter to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tbf {
    /// Bytes in a second.
    pub rate: u64,
    /// What may pass at once.
    pub bucket: Bucket,
    /// Bytes that may wait.
    pub limit: u32,
}

/// The size of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The time in which the rate fills it, in ticks of [`TICK_NS`]: too coarse for high rates, and 274 s
    /// at most.
    Ticks(u32),
    /// Bytes, exactly; the kernel then computes the ticks that it reports, and rounds them down.
    Bytes(u32),
}

/// A qdisc as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Its kind: `tbf`, `ingress`, ….
    pub kind: String,
    /// Its handle, which others may have chosen.
    pub handle: u32,
    /// For a token bucket filter its state.
    pub tbf: Option<TbfReport>,
}

/// A token bucket filter as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TbfReport {
    /// Bytes in a second.
    pub rate: u64,
    /// The time in which the rate fills the bucket, in ticks of [`TICK_NS`]; above 274 s what is
    /// left of it in 32 bits.
    pub ticks: u32,
    /// Bytes that may wait.
    pub limit: u32,
}

/// struct tcmsg: family, padding, link, handle, parent, info.
pub(crate) fn message(link: u32, handle: u32, parent: u32, info: u32) -> Message {
    let mut message = Message::new(&[0; 4]);
    for field in [link, handle, parent, info] {
        message.raw(&field.to_ne_bytes());
    }
    message
}

/// The fields of struct tcmsg (link, handle, parent, info), and the attributes.
pub(crate) fn fields(body: &[u8]) -> Option<([u32; 4], &[u8])> {
    let field = |at: usize| body.get(at..at + 4).and_then(u32_of);
    Some(([field(4)?, field(8)?, field(12)?, field(16)?], body.get(HEADER..)?))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// struct tc_tbf_qopt: twice a struct tc_ratespec, whose rate comes last, then limit, buffer and MTU.
fn parms(tbf: &Tbf) -> Vec<u8> {
    let rate = u32::try_from(tbf.rate).unwrap_or(u32::MAX);
    let mut bytes = vec![0; 8];
    bytes.extend(rate.to_ne_bytes());
    bytes.extend([0; 12]);
    bytes.extend(tbf.limit.to_ne_bytes());
    let ticks = if let Bucket::Ticks(ticks) = tbf.bucket { ticks } else { 0 };
    bytes.extend(ticks.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes
}

fn tbf(link: u32, tbf: &Tbf) -> Message {
    let mut message = message(link, TBF_HANDLE, ROOT, 0);
    message.put(TCA_KIND, b"tbf\0");
    message.nest(TCA_OPTIONS, |options| {
        options.put(TCA_TBF_PARMS, &parms(tbf));
        if tbf.rate > u64::from(u32::MAX) {
            options.put(TCA_TBF_RATE64, &tbf.rate.to_ne_bytes());
        }
        if let Bucket::Bytes(bytes) = tbf.bucket {
            options.put_u32(TCA_TBF_BURST, bytes);
        }
    });
    message
}

/// Makes a token bucket filter that all passes which a link sends. EEXIST: the link has a qdisc that
/// is not the kernel's default; ENOENT: the kernel has no such kind.
pub fn add_tbf(link: u32, filter: &Tbf, name: &str) -> Verb<()> {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Verb::change(RTM_NEWQDISC, &tbf(link, filter), flags, format!("limit what {name} sends"))
}

/// As [`add_tbf`], in the place of a token bucket filter of the same handle.
pub fn replace_tbf(link: u32, filter: &Tbf, name: &str) -> Verb<()> {
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    Verb::change(RTM_NEWQDISC, &tbf(link, filter), flags, format!("limit what {name} sends"))
}

/// Makes the qdisc that filters of what a link receives are attached to. EEXIST: there is one, of
/// this kind or `clsact`; ENOENT: the kernel has no such kind.
pub fn add_ingress(link: u32, name: &str) -> Verb<()> {
    let mut message = message(link, INGRESS_HANDLE, INGRESS, 0);
    message.put(TCA_KIND, b"ingress\0");
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Verb::change(RTM_NEWQDISC, &message, flags, format!("add the ingress qdisc of {name}"))
}

/// Removes a qdisc by its handle and parent; its filters go with it. EINVAL: there is none of that
/// handle.
pub fn del(link: u32, handle: u32, parent: u32, name: &str) -> Verb<()> {
    let message = message(link, handle, parent, 0);
    Verb::change(RTM_DELQDISC, &message, 0, format!("remove a qdisc of {name}"))
}

/// The qdisc at [`ROOT`] or [`INGRESS`], unless it is built in, as the default of a veth is.
pub fn at(link: u32, parent: u32, name: &str) -> Verb<Qdisc> {
    let message = message(link, 0, parent, 0);
    // The kernel reports a qdisc to those who listen, and to who asks only with NLM_F_ECHO
    // (net/core/rtnetlink.c, rtnetlink_send). Of a built-in one it sends nothing but the
    // acknowledgement (net/sched/sch_api.c, tc_qdisc_dump_ignore). A dump would be of all links.
    let what = format!("look up a qdisc of {name}");
    Verb::new(RTM_GETQDISC, &message, NLM_F_ACK | NLM_F_ECHO, parse, what)
}

fn parse(kind: u16, body: &[u8]) -> Option<Qdisc> {
    if kind != RTM_NEWQDISC {
        return None;
    }
    let ([_, handle, _, _], rest) = fields(body)?;
    let kind = text(find(rest, TCA_KIND)?);
    let options = find(rest, TCA_OPTIONS).filter(|_| kind == "tbf");
    Some(Qdisc { kind, handle, tbf: options.and_then(report) })
}

fn report(options: &[u8]) -> Option<TbfReport> {
    let parms = find(options, TCA_TBF_PARMS)?;
    let field = |at: usize| parms.get(at..at + 4).and_then(u32_of);
    let mut report = TbfReport { rate: field(8)?.into(), limit: field(24)?, ticks: field(28)? };
    for (kind, value) in attributes(options) {
        if kind == TCA_TBF_RATE64 {
            report.rate = u64::from_ne_bytes(value.try_into().ok()?);
        }
    }
    Some(report)
}
