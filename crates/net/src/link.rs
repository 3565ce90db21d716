//! Links: RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, and VLANs of bridge ports.

use crate::Mac;
use crate::netns::NetNs;
use netlink::Verb;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeBooleanOptionFlags, BridgeBooleanOptions, BridgeFlag, BridgeVlanInfo,
    BridgeVlanInfoFlags, InfoBridge, InfoData, InfoKind, InfoVeth, InfoVrf, LinkAttribute,
    LinkExtentMask, LinkMessage,
};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan};

pub(crate) mod parse;

pub(crate) use parse::RTM_NEWLINK;
pub use parse::{Link, Vlan, VxlanInfo};

pub(crate) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

impl Link {
    /// Whether it is a place for addresses alone, as in fabrics that route: the loopback device, or
    /// a dummy. Packets leave by other links, as the routes say.
    #[must_use]
    pub fn leads_nowhere(&self) -> bool {
        self.name == "lo" || self.kind == "dummy"
    }

    /// Its kind, for messages: hardware and loopback have none.
    #[must_use]
    pub fn kind_in_words(&self) -> &str {
        if self.kind.is_empty() { "hardware or loopback device" } else { &self.kind }
    }
}

/// A veth pair to be made: the near end here, the far end in another network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth<'a> {
    /// The near end's name.
    pub name: &'a str,
    /// The near end's MAC address.
    pub mac: Mac,
    /// Index of the bridge that the near end becomes a port of, if it does.
    pub master: Option<u32>,
    /// MTU of both ends in bytes; the kernel's 1500 by default.
    pub mtu: Option<u32>,
    /// The far end's name.
    pub peer: &'a str,
    /// The far end's MAC address.
    pub peer_mac: Mac,
}

pub(crate) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Makes a bridge, down, with a MAC address that ports do not change.
pub fn add_bridge(name: &str, mac: Mac, mtu: Option<u32>, vlan_filtering: bool) -> Verb<()> {
    // LinkBridge::new would set it up.
    let mut bridge = LinkMessageBuilder::<LinkBridge>::new(name).address(mac.0.to_vec());
    if let Some(mtu) = mtu {
        bridge = bridge.mtu(mtu);
    }
    if vlan_filtering {
        bridge = bridge.append_info_data(InfoBridge::VlanFiltering(true));
    }
    new(bridge.build(), format!("create bridge {name}"))
}

/// One transmit queue, as a veth end uses unless `ethtool -L` changes it. Where none is asked for, the kernel
/// allocates one for each CPU and then switches all but one off, which waits for an expedited RCU
/// grace period, of each end, under RTNL (drivers/net/veth.c, veth_init_queues): 0.15 ms of 0.7, and
/// milliseconds where other processes are at work.
const QUEUES: LinkAttribute = LinkAttribute::NumTxQueues(1);

/// Makes a veth pair in one message, both ends down.
pub fn add_veth(veth: &Veth<'_>, peer_netns: &NetNs) -> Verb<()> {
    let mut far = LinkMessageBuilder::<LinkUnspec>::new()
        .name(veth.peer)
        .address(veth.peer_mac.0.to_vec())
        .append_extra_attribute(QUEUES)
        .setns_by_fd(peer_netns.raw_fd());
    let mut near = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(veth.name)
        .address(veth.mac.0.to_vec())
        .append_extra_attribute(QUEUES);
    if let Some(master) = veth.master {
        near = near.controller(master);
    }
    if let Some(mtu) = veth.mtu {
        far = far.mtu(mtu);
        near = near.mtu(mtu);
    }
    let near = near.set_info_data(InfoData::Veth(InfoVeth::Peer(far.build()))).build();
    new(near, format!("create veth pair {} and {}", veth.name, veth.peer))
}

/// Makes an intermediate functional block device (drivers/net/ifb.c), down: what is redirected to it
/// passes its qdisc, and goes on as if it had just arrived where it came from.
pub fn add_ifb(name: &str, mac: Mac, mtu: u32) -> Verb<()> {
    let ifb = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ifb)
        .name(name)
        .address(mac.0.to_vec())
        .mtu(mtu);
    new(ifb.build(), format!("create IFB device {name}"))
}

/// Makes a VRF device (drivers/net/vrf.c), up, with a routing table. EOPNOTSUPP: the kernel has none.
pub fn add_vrf(name: &str, table: u32) -> Verb<()> {
    let vrf = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Vrf)
        .name(name)
        .up()
        .set_info_data(InfoData::Vrf(vec![InfoVrf::TableId(table)]));
    new(vrf.build(), format!("create VRF device {name} with table {table}"))
}

/// Makes a link a port of another, or of none with 0.
pub fn set_master(link: u32, master: u32, name: &str) -> Verb<()> {
    change(unspec(link).controller(master).build(), format!("set the master of {name}"))
}

/// Makes a VLAN device over a link, up.
pub fn add_vlan_device(name: &str, over: u32, id: u16, mac: Mac) -> Verb<()> {
    let message = LinkVlan::new(name, over, id).address(mac.0.to_vec()).up().build();
    new(message, format!("create VLAN device {name} of VLAN {id}"))
}

fn new(message: LinkMessage, what: String) -> Verb<()> {
    Verb::change(RTM_NEWLINK, &message, NEW, what)
}

fn change(message: LinkMessage, what: String) -> Verb<()> {
    // RTM_SETLINK ignores the data of bridge ports and says nothing; RTM_NEWLINK without CREATE
    // does the same as SETLINK, and those too.
    Verb::change(RTM_NEWLINK, &message, 0, what)
}

fn unspec(link: u32) -> LinkMessageBuilder<LinkUnspec> {
    LinkUnspec::new_with_index(link)
}

/// Sets a link up.
pub fn set_up(link: u32, name: &str) -> Verb<()> {
    change(unspec(link).up().build(), format!("set {name} up"))
}

/// Gives a link that is down its MAC address, and sets it up.
pub fn set_up_as(link: u32, mac: Mac, name: &str) -> Verb<()> {
    let what = format!("set {name} up with MAC address {mac}");
    change(unspec(link).address(mac.0.to_vec()).up().build(), what)
}

/// Sets a link down.
pub fn set_down(link: u32, name: &str) -> Verb<()> {
    change(unspec(link).down().build(), format!("set {name} down"))
}

/// Sets a link promiscuous or not.
pub fn set_promiscuous(link: u32, on: bool, name: &str) -> Verb<()> {
    change(unspec(link).promiscuous(on).build(), format!("set promiscuous mode of {name}"))
}

/// Makes a link take the frames of every multicast group, or not.
pub fn set_all_multicast(link: u32, on: bool, name: &str) -> Verb<()> {
    change(unspec(link).allmulticast(on).build(), format!("set all-multicast mode of {name}"))
}

/// Sets the length of the transmit queue in packets.
pub fn set_tx_queue_length(link: u32, packets: u32, name: &str) -> Verb<()> {
    let what = format!("set transmit queue length {packets} of {name}");
    change(unspec(link).txqueuelen(packets).build(), what)
}

/// Sets the MAC address.
pub fn set_mac(link: u32, mac: Mac, name: &str) -> Verb<()> {
    let what = format!("set MAC address {mac} of {name}");
    change(unspec(link).address(mac.0.to_vec()).build(), what)
}

/// Sets the MTU in bytes.
pub fn set_mtu(link: u32, mtu: u32, name: &str) -> Verb<()> {
    change(unspec(link).mtu(mtu).build(), format!("set MTU {mtu} of {name}"))
}

/// Sets the alias, at most 255 bytes. A message of its own: a creating one ignores it.
pub fn set_alias(link: u32, alias: &str, name: &str) -> Verb<()> {
    change(unspec(link).alias(alias).build(), format!("set the alias of {name}"))
}

/// Sets flags of a port of a bridge.
pub fn set_port(link: u32, hairpin: bool, isolated: bool, name: &str) -> Verb<()> {
    let port = LinkBridgePort::new(link).hairpin(hairpin).isolated(isolated);
    change(port.build(), format!("set bridge port flags of {name}"))
}

/// Sets whether a bridge filters by VLAN.
pub fn set_vlan_filtering(link: u32, on: bool, name: &str) -> Verb<()> {
    let bridge = LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge)
        .index(link)
        .append_info_data(InfoBridge::VlanFiltering(on));
    change(bridge.build(), format!("set VLAN filtering of {name}"))
}

/// Stops a bridge from learning source addresses of frames to the group addresses of IEEE 802.1D
/// (01:80:c2:00:00:00 to 0f). They pass no prerouting hook of nftables (net/bridge/br_input.c,
/// br_handle_frame). Linux 5.0; an older kernel ignores it.
pub fn set_no_linklocal_learn(link: u32, name: &str) -> Verb<()> {
    let flag = BridgeBooleanOptionFlags::NoLinkLocalLearn;
    let option = InfoBridge::MultiBoolOpt(BridgeBooleanOptions { value: flag, mask: flag });
    let bridge = LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge)
        .index(link)
        .append_info_data(option);
    change(bridge.build(), format!("set no_linklocal_learn of {name}"))
}

/// Sets whether br_netfilter hands the IPv4 and IPv6 frames of a bridge to the hooks of IP, whatever the
/// sysctls of the network namespace say (net/bridge/br_netfilter_hooks.c, br_nf_pre_routing). A kernel
/// without br_netfilter ignores it.
pub fn set_hooks(link: u32, on: bool, name: &str) -> Verb<()> {
    let bridge = LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge)
        .index(link)
        .append_info_data(InfoBridge::NfCallIpTables(on))
        .append_info_data(InfoBridge::NfCallIp6Tables(on));
    change(bridge.build(), format!("set the netfilter hooks of {name}"))
}

fn vlan_message(link: u32, vlan: Vlan, bridge_itself: bool) -> LinkMessage {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.untagged);
    flags.set(BridgeVlanInfoFlags::Brentry, bridge_itself);
    let info = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan.id });
    let side = if bridge_itself { BridgeFlag::LowerDev } else { BridgeFlag::Controller };
    let side = AfSpecBridge::Flags(side);
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = link;
    message.attributes.push(LinkAttribute::AfSpecBridge(vec![side, info]));
    message
}

/// Adds a VLAN to a port of a bridge, or with `bridge_itself` to the bridge as a port.
pub fn add_vlan(link: u32, vlan: Vlan, bridge_itself: bool, name: &str) -> Verb<()> {
    let what = format!("add VLAN {} to {name}", vlan.id);
    let message = vlan_message(link, vlan, bridge_itself);
    Verb::change(RTM_SETLINK, &message, 0, what)
}

/// Removes a VLAN from a port of a bridge.
pub fn del_vlan(link: u32, id: u16, name: &str) -> Verb<()> {
    let vlan = Vlan { id, pvid: false, untagged: false };
    let what = format!("remove VLAN {id} from {name}");
    Verb::change(RTM_DELLINK, &vlan_message(link, vlan, false), 0, what)
}

/// The VLANs of every port of every bridge, with the port's index.
pub fn vlans() -> Verb<(u32, Vec<Vlan>)> {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
    let what = "list VLANs of bridge ports".to_owned();
    Verb::new(RTM_GETLINK, &message, NLM_F_DUMP, parse::vlans, what)
}

/// Removes a link; of a veth pair both ends go.
pub fn del(link: u32, name: &str) -> Verb<()> {
    let mut message = LinkMessage::default();
    message.header.index = link;
    Verb::change(RTM_DELLINK, &message, 0, format!("delete link {name}"))
}

/// Puts a link into a group.
pub fn set_group(link: u32, group: u32, name: &str) -> Verb<()> {
    let mut message = LinkMessage::default();
    message.header.index = link;
    message.attributes.push(LinkAttribute::Group(group));
    Verb::change(RTM_SETLINK, &message, 0, format!("set the group of {name}"))
}

/// Removes all links of a group, at the price of one.
pub fn del_group(group: u32) -> Verb<()> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Verb::change(RTM_DELLINK, &message, 0, "delete links".to_owned())
}

fn get(mut message: LinkMessage, flags: u16, what: String) -> Verb<Link> {
    // Statistics would be most of the reply.
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Verb::new(RTM_GETLINK, &message, flags, parse::link, what)
}

/// The link of a name.
pub fn by_name(name: &str) -> Verb<Link> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    get(message, 0, format!("look up link {name}"))
}

/// The link of an index.
pub fn by_index(link: u32) -> Verb<Link> {
    let mut message = LinkMessage::default();
    message.header.index = link;
    get(message, 0, format!("look up link {link}"))
}

/// A link of another network namespace, by the ID that it goes by in this one
/// ([`Link::peer_netns`]).
pub fn elsewhere(netns: i32, link: u32) -> Verb<Link> {
    let mut message = LinkMessage::default();
    message.header.index = link;
    message.attributes.push(LinkAttribute::IfNetnsId(netns));
    get(message, 0, format!("look up link {link} of network namespace {netns}"))
}

/// Every link.
pub fn list() -> Verb<Link> {
    get(LinkMessage::default(), NLM_F_DUMP, "list links".to_owned())
}

/// Every port of a bridge.
pub fn ports(bridge: u32) -> Verb<Link> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Controller(bridge));
    get(message, NLM_F_DUMP, format!("list the ports of link {bridge}"))
}
