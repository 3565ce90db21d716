//! A call: its environment, and the configuration on stdin.

use crate::is_told;
use attach::chain::Chained;
use attach::{Item, LinkRoute, Maker, Network, Routing, Setting, alias, comment};
use cni::{Attachment, Env, Label, NetConf, Request, Result};
use ipnetwork::IpNetwork;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Variables as in `/proc/PID/environ`, each ending in a NUL; an empty one ends them, and what
/// follows is stdin.
pub fn stdin(data: &[u8]) {
    let (environment, stdin) = split(data);
    let var = |name: &str| {
        let value = |text: &[u8]| {
            let value = text.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(std::ffi::OsStr::from_bytes(value).to_os_string())
        };
        environment.split(|byte| *byte == 0).find_map(value)
    };
    match request(&var, stdin) {
        Ok(request) => understood(&request),
        Err(error) => is_told(&error),
    }
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == [0, 0]) {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (&[], data),
    }
}

fn request(var: &dyn Fn(&str) -> Option<OsString>, stdin: &[u8]) -> Result<Request> {
    let command = var("CNI_COMMAND").unwrap_or_default();
    let env = Env::read(&command.to_string_lossy(), var)?;
    let conf = NetConf::read(NetConf::parse(stdin)?, env.command)?;
    Ok(Request { env, conf, stdin: stdin.to_vec() })
}

/// What holds for a call that the protocol accepts.
pub(crate) fn understood(request: &Request) {
    stays_below(&request.conf.name);
    if request.env.command.is_for_attachment() {
        stays_below(&request.env.container_id);
        stays_below(&request.env.ifname);
        marks_are_plain(&request.attachment());
    }
    request.conf.is_valid_attachment(&request.env.container_id, &request.env.ifname);
    attach::keys::run_dir_of(request);
    match bridge::Config::read(request) {
        Ok(config) => planned(request, &config),
        Err(error) => is_told(&error),
    }
    match bgp::Config::read(request) {
        Ok(config) => planned(request, &config),
        Err(error) => is_told(&error),
    }
    chained(request, tuning::Config::read(request));
    chained(request, firewall::Config::read(request));
    let previous = request.conf.prev_result.clone().unwrap_or_default();
    let ports = portmap::Config::read(request);
    chained(request, ports.map(|config| portmap::plan::Plan::new(config, request, &previous)));
    chained(request, bandwidth::Config::read(request).map(|config| limited(request, config)));
    chained(request, sbr::Config::read(request).and_then(|config| sourced(request, config)));
    chained(request, vrf::Config::read(request));
    let ipam = host_local::config::Config::load(request);
    let planned = ipam.as_ref().map_err(Clone::clone).and_then(|config| config.plan().map(drop));
    if let Err(error) = planned {
        is_told(&error);
    }
    if let Err(error) = static_ipam::config::Config::load(request) {
        is_told(&error);
    }
    match dhcp::config::Config::load(request) {
        Ok(config) => sent(&config.options),
        Err(error) => is_told(&error),
    }
}

/// A limit of the host's end of a veth pair.
fn limited(request: &Request, config: bandwidth::Config) -> bandwidth::Limited {
    let [ifb, _] = bandwidth::ifb_names(&request.attachment());
    is_link_name(&ifb);
    bandwidth::Limited { config, host: "veth1".to_owned(), mtu: 1500, ifb, ours: true }
}

/// The routing of an interface whose subnets are those of the result.
fn sourced(request: &Request, config: sbr::Config) -> Result<sbr::Sourced> {
    let previous = request.conf.prev_result.clone().unwrap_or_default();
    let link = &request.env.ifname;
    let ips = sbr::plan::addresses(link, &previous)?;
    let routes = ips.iter().map(|ip| connected(ip.address)).collect();
    let found = Routing { tables: vec![100], routes, ..Routing::default() };
    let routing = sbr::plan::routing(&config, link, &ips, &found);
    let is_free = |table: u32| config.table == Some(table) || table != 100;
    assert!(routing.rules.iter().all(|(_, table)| is_free(*table)), "{routing:?}");
    assert_eq!(routing.rules.len(), ips.len());
    Ok(sbr::Sourced { config, routing })
}

/// The route that the kernel adds with an address.
fn connected(address: IpNetwork) -> LinkRoute {
    LinkRoute {
        dst: IpNetwork::new(address.network(), address.prefix()).unwrap(),
        gateway: None,
        onlink: false,
        priority: 0,
        table: 254,
        scope: None,
        source: address.is_ipv4().then(|| address.ip()),
        mtu: None,
        advmss: None,
        protocol: 2,
    }
}

/// Options that a client can send: each once, and none that every message has of its own.
fn sent(options: &dhcp::config::Options) {
    let is_code = |code: &u8| (1..255).contains(code);
    assert!(options.requested.iter().all(is_code), "{options:?}");
    let message = dhcp::message::Message::new(dhcp::message::Kind::Discover, 1, [2; 6]);
    let with = options.provided.iter().fold(message.clone(), |message, (code, value)| {
        assert!(is_code(code) && value.len() < 256, "{options:?}");
        message.with(*code, value.as_bytes())
    });
    assert_eq!(with.options.len(), options.provided.len() + message.options.len(), "{options:?}");
    assert_eq!(dhcp::message::Message::decode(&with.encode()), Some(with));
}

/// A name that becomes a file's stays in its directory.
fn stays_below(name: &str) {
    let path = Path::new("/directory").join(name);
    assert_eq!(path.parent(), Some(Path::new("/directory")), "{name:?}");
    assert_eq!(path.file_name(), Some(name.as_ref()), "{name:?}");
}

/// Marks in the kernel are short enough, break out of no saved ruleset, and are found again.
fn marks_are_plain(attachment: &Attachment) {
    for (label, limit) in [(alias(attachment), 254), (comment(attachment), 127)] {
        assert!(label.len() <= limit && label.is_ascii(), "{label:?}");
        assert!(!label.contains(|c: char| c.is_control() || "\"'\\;{}$".contains(c)), "{label:?}");
        let read = Label::read(&label).expect("a label");
        assert_eq!((read.chained, read.hash), (None, attachment.hash()));
    }
    assert_eq!(nft::fit(&comment(attachment)), comment(attachment));
}

/// What a valid configuration makes, with `prevResult` as what IPAM said.
fn planned(request: &Request, network: &impl Network) {
    let names = network.names(&request.attachment());
    let mut items = network.shared();
    items.extend(network.link(&names));
    match network.complete(request.conf.prev_result.clone().unwrap_or_default()) {
        Ok(result) => {
            items.extend(network.up(&names, &result));
            items.extend(network.layer3(&names, &result));
            items.extend(network.last(&names, &result));
            if let Err(error) = result.to_json(request.conf.version) {
                is_told(&error);
            }
        }
        Err(error) => is_told(&error),
    }
    for item in items {
        match item {
            Item::Sysctl(sysctl) => {
                let parts: Vec<&str> = sysctl.key.split('/').collect();
                let [_, _, "conf", link, _] = *parts else { panic!("{:?}", sysctl.key) };
                assert!(!matches!(link, "." | ".."), "{:?}", sysctl.key);
            }
            Item::Veth(veth) => assert_eq!(veth.host.len(), 15),
            Item::Bridge(bridge) => is_link_name(&bridge.name),
            Item::VlanDevice(name, ..) => is_link_name(&name),
            Item::Vlans(vlans) => assert!(vlans.vlans.iter().all(|v| (1..4095).contains(&v.id))),
            _ => {}
        }
    }
}

/// What a valid configuration of a chained plugin makes behind `prevResult`.
fn chained<C: Chained>(request: &Request, config: Result<C>) {
    let comment = Maker::Chained(C::NAME).comment(&request.attachment());
    assert_eq!(nft::fit(&comment), comment);
    let previous = request.conf.prev_result.clone().unwrap_or_default();
    let planned = config.and_then(|config| {
        let items = config.plan(request, &previous, &comment)?;
        config.result(request, &previous).to_json(request.conf.version)?;
        Ok(items)
    });
    for item in planned.map_err(|error| is_told(&error)).unwrap_or_default() {
        if let Item::Setting(change) = item
            && let Setting::Sysctl { key, .. } = change.to
        {
            let mut parts = key.split('/');
            assert_eq!(parts.next(), Some("net"), "{key:?}");
            // Without CNI_IFNAME, as in STATUS, IFNAME stands for nothing.
            let named = !request.env.ifname.is_empty();
            assert!(!parts.any(|part| matches!(part, "." | "..") || (named && part.is_empty())));
        }
    }
}

fn is_link_name(name: &str) {
    assert!((1..16).contains(&name.len()), "{name:?}");
    stays_below(name);
}
