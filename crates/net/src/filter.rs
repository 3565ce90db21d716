//! Filters of what a link receives: RTM_NEWTFILTER, RTM_DELTFILTER and RTM_GETTFILTER
//! (net/sched/cls_api.c, net/sched/cls_u32.c, net/sched/act_mirred.c).

use crate::qdisc::{INGRESS_HANDLE, TCA_KIND, TCA_OPTIONS, fields, message, text};
use netlink::Verb;
use netlink::{attributes, find, u32_of};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};

const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

// include/uapi/linux/pkt_cls.h
const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TC_ACT_STOLEN: u32 = 4;
// include/uapi/linux/tc_act/tc_mirred.h
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_EGRESS_REDIR: u32 = 1;
/// Packets of every protocol.
const ETH_P_ALL: u16 = 3;
/// The class that the reference names, 1:1; the ingress qdisc has none.
const CLASS: u32 = 0x0001_0001;

/// The priority of [`redirect`], that of the reference.
pub const PRIORITY: u16 = 1;

/// A filter as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its kind: `u32`, `bpf`, ….
    pub kind: String,
    /// Its priority; the lowest is asked first.
    pub priority: u16,
    /// Index of the link that its first action sends packets out by, instead of the way that they
    /// would have gone; 0 where that link is gone.
    pub redirect: Option<u32>,
}

/// struct tc_u32_sel with one key that matches everything.
fn everything() -> Vec<u8> {
    let mut selector = vec![0; 32];
    selector[0] = TC_U32_TERMINAL;
    selector[2] = 1;
    selector
}

/// struct tc_mirred: index, capabilities, what becomes of the packet, two counts of users, what the
/// action does, link.
fn mirred(to: u32) -> Vec<u8> {
    let fields = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to];
    fields.iter().flat_map(|field| field.to_ne_bytes()).collect()
}

/// Sends all that a link receives out by another link. The link has an ingress qdisc. ENOENT: the
/// kernel has no filters of kind `u32`, or no action `mirred`.
pub fn redirect(link: u32, to: u32, name: &str) -> Verb<()> {
    // The protocol is in network byte order.
    let info = u32::from(PRIORITY) << 16 | u32::from(ETH_P_ALL.to_be());
    let mut message = message(link, 0, INGRESS_HANDLE, info);
    message.put(TCA_KIND, b"u32\0");
    message.nest(TCA_OPTIONS, |options| {
        options.put_u32(TCA_U32_CLASSID, CLASS);
        options.put(TCA_U32_SEL, &everything());
        options.nest(TCA_U32_ACT, |actions| {
            actions.nest(1, |action| {
                action.put(TCA_ACT_KIND, b"mirred\0");
                action.nest(TCA_ACT_OPTIONS, |options| options.put(TCA_MIRRED_PARMS, &mirred(to)));
            });
        });
    });
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Verb::change(RTM_NEWTFILTER, &message, flags, format!("redirect what {name} receives"))
}

/// Removes the filters of a priority of what a link receives.
pub fn del(link: u32, priority: u16, name: &str) -> Verb<()> {
    let message = message(link, 0, INGRESS_HANDLE, u32::from(priority) << 16);
    Verb::change(RTM_DELTFILTER, &message, 0, format!("remove a filter of {name}"))
}

/// The filters of what a link receives.
pub fn of_ingress(link: u32, name: &str) -> Verb<Filter> {
    let message = message(link, 0, INGRESS_HANDLE, 0);
    Verb::new(RTM_GETTFILTER, &message, NLM_F_DUMP, parse, format!("list the filters of {name}"))
}

/// A filter; `None` for the parts that a filter of kind `u32` consists of beside its rules: its root,
/// which has no options, and its hash table, which has no selector.
fn parse(kind: u16, body: &[u8]) -> Option<Filter> {
    if kind != RTM_NEWTFILTER {
        return None;
    }
    let ([_, _, _, info], rest) = fields(body)?;
    let kind = text(find(rest, TCA_KIND)?);
    let options = find(rest, TCA_OPTIONS).unwrap_or_default();
    if kind == "u32" && find(options, TCA_U32_SEL).is_none() {
        return None;
    }
    let redirect = find(options, TCA_U32_ACT).filter(|_| kind == "u32").and_then(redirects);
    Some(Filter { kind, priority: (info >> 16) as u16, redirect })
}

/// Where the first of a list of actions sends packets, if it does.
fn redirects(actions: &[u8]) -> Option<u32> {
    let (_, action) = attributes(actions).next()?;
    if find(action, TCA_ACT_KIND).map(text).as_deref() != Some("mirred") {
        return None;
    }
    let parms = find(find(action, TCA_ACT_OPTIONS)?, TCA_MIRRED_PARMS)?;
    let field = |at: usize| parms.get(at..at + 4).and_then(u32_of);
    (field(20)? == TCA_EGRESS_REDIR).then(|| field(24))?
}
