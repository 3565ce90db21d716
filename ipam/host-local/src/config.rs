//! From JSON to types that cannot be wrong. The texts of errors are the reference's.

use crate::range::{Range, RangeError, RangeSet, RangeSpec};
use cni::json::{self, Fault};
use cni::{Error, NetConf, Request, Result, Route, Version, log};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::PathBuf;

const DATA_DIR: &str = "/var/lib/cni/networks";

/// The configuration of this plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// An attachment gets one address of each.
    pub sets: Vec<RangeSet>,
    /// Passed on to the result.
    pub routes: Vec<Route>,
    /// A file with the name service for the result.
    pub resolv_conf: Option<PathBuf>,
    /// Where the networks' leases are.
    pub data_dir: PathBuf,
    /// Whether STATUS succeeds though a set is exhausted.
    pub ready_when_full: bool,
    /// Addresses asked for, by `CNI_ARGS`, `args.cni.ips` and `runtimeConfig.ips`.
    pub requested: Vec<IpAddr>,
}

impl Config {
    /// Reads and validates the configuration of a request.
    ///
    /// # Errors
    /// Code 7 naming the key and the value, 4 for `CNI_ARGS`.
    pub fn load(request: &Request) -> Result<Config> {
        let config = Config::read(&request.conf)?;
        let requested = requested(request)?;
        if config.sets.is_empty() {
            return Err(Error::config("no IP ranges specified").details(
                "set ipam.ranges, as [[{\"subnet\": \"10.1.0.0/16\"}]], or ipam.subnet, or give \
                 the network the capability ipRanges",
            ));
        }
        Ok(Config { requested, ..config })
    }

    /// The configuration without the addresses asked for, and perhaps without ranges: those may
    /// come with ADD alone, by the capability `ipRanges`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(conf: &NetConf) -> Result<Config> {
        let Some(value) = json::get(&conf.object, "ipam") else {
            return Err(Error::config("IPAM config missing 'ipam' key")
                .details("set ipam, as {\"type\": \"host-local\", \"subnet\": …}"));
        };
        let single: RawRange = json::decode(value).map_err(|f| invalid(&f.under("ipam")))?;
        let none = Map::new();
        let ipam = value.as_object().unwrap_or(&none);
        let routes = match json::get(ipam, "routes") {
            Some(value) => cni::result::decode_routes(value).map_err(|f| invalid(&f.under("ipam"))),
            None => Ok(Vec::new()),
        }?;
        let resolv_conf: String = ipam_key(ipam, "resolvConf")?;
        let config = Config {
            sets: sets(conf, &single, ipam)?,
            routes,
            resolv_conf: Some(PathBuf::from(resolv_conf)).filter(|p| !p.as_os_str().is_empty()),
            data_dir: data_dir_of(ipam)?,
            ready_when_full: ready_when_full(ipam)?,
            requested: Vec::new(),
        };
        one_per_family(conf.version, &config.sets)?;
        for (index, set) in config.sets.iter().enumerate() {
            let rest = config.sets.iter().enumerate().skip(index + 1);
            if let Some((other, _)) = rest.into_iter().find(|(_, other)| set.overlaps(other)) {
                return Err(Error::config(format!("range set {index} overlaps with {other}"))
                    .details(format!(
                        "{set} and {}; a network's range sets must be disjoint",
                        config.sets[other]
                    )));
            }
        }
        Ok(config)
    }

    /// Which set serves which requested address: at most one for each set, in the order asked.
    ///
    /// # Errors
    /// Code 102 naming the addresses that no set serves.
    pub fn plan(&self) -> Result<Vec<(&RangeSet, Option<IpAddr>)>> {
        let mut open = self.requested.clone();
        let plan = self.sets.iter().map(|set| {
            let found = open.iter().position(|address| set.range_of(*address).is_some());
            (set, found.map(|at| open.remove(at)))
        });
        let plan = plan.collect();
        if open.is_empty() {
            return Ok(plan);
        }
        let list: String = open.iter().map(|address| format!(" {address}")).collect();
        let sets: Vec<String> = self.sets.iter().map(ToString::to_string).collect();
        Err(Error::new(
            cni::code::NO_ADDRESS,
            format!("failed to allocate all requested IPs:{list}"),
        )
        .details(format!(
            "one address can be requested of each range set, and must lie in it; the sets are {}",
            sets.join(" and ")
        )))
    }

    /// Says what is allowed, but may be a mistake. A link-local gateway is none.
    pub fn warn(&self) {
        for range in self.sets.iter().flat_map(RangeSet::ranges) {
            let (gateway, subnet) = (range.gateway, range.subnet());
            let link_local = matches!(gateway, IpAddr::V6(six) if six.is_unicast_link_local());
            if !range.reaches_gateway() && !link_local {
                log::warn(&format!(
                    "the gateway {gateway} does not lie in its subnet {subnet}: pods look for it on \
                     their link"
                ));
            }
        }
    }
}

/// Where the leases are, of a configuration that may be broken elsewhere: all that DEL and GC
/// need.
///
/// # Errors
/// Code 7 when `ipam.dataDir` is not a text.
pub fn data_dir(conf: &NetConf) -> Result<PathBuf> {
    match json::get(&conf.object, "ipam") {
        Some(Value::Object(ipam)) => data_dir_of(ipam),
        _ => Ok(PathBuf::from(DATA_DIR)),
    }
}

fn data_dir_of(ipam: &Map<String, Value>) -> Result<PathBuf> {
    let text: String = ipam_key(ipam, "dataDir")?;
    Ok(PathBuf::from(if text.is_empty() { DATA_DIR } else { &text }))
}

fn invalid(fault: &Fault) -> Error {
    Error::config("invalid network configuration").details(fault.to_string())
}

fn fault(message: String) -> Fault {
    <Fault as serde::de::Error>::custom(message)
}

fn ipam_key<T: DeserializeOwned + Default>(ipam: &Map<String, Value>, key: &str) -> Result<T> {
    json::get(ipam, key).map_or(Ok(T::default()), |value| {
        json::decode(value).map_err(|fault| invalid(&fault.under(key).under("ipam")))
    })
}

fn ready_when_full(ipam: &Map<String, Value>) -> Result<bool> {
    let text: String = ipam_key(ipam, "statusWhenFull")?;
    match text.as_str() {
        "" | "ready" => Ok(true),
        "not-ready" => Ok(false),
        _ => Err(Error::config("invalid ipam.statusWhenFull")
            .details(format!("it is {text:?}; use \"ready\" or \"not-ready\""))),
    }
}

/// A range as it is written. Texts stay texts, so that an empty one can count as absent.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRange {
    subnet: Option<String>,
    range_start: String,
    range_end: String,
    gateway: String,
}

impl RawRange {
    fn spec(&self) -> std::result::Result<RangeSpec, Fault> {
        let address = |text: &str, key: &str| match text {
            "" => Ok(None),
            text => text
                .parse::<IpAddr>()
                .map(Some)
                .map_err(|_| fault(format!("invalid IP address: {text}")).under(key)),
        };
        let subnet = self.subnet.as_deref().map(cni::result::parse_cidr).transpose();
        Ok(RangeSpec {
            subnet: subnet.map_err(|error| fault(error).under("subnet"))?,
            start: address(&self.range_start, "rangeStart")?,
            end: address(&self.range_end, "rangeEnd")?,
            gateway: address(&self.gateway, "gateway")?,
        })
    }
}

type Specs = Vec<Vec<RangeSpec>>;

fn specs(value: &Value) -> std::result::Result<Specs, Fault> {
    let raw: Vec<Vec<RawRange>> = json::decode(value)?;
    let place = |outer: usize, inner: usize| format!("[{outer}][{inner}]");
    raw.iter()
        .enumerate()
        .map(|(outer, set)| {
            let read = |(inner, range): (usize, &RawRange)| {
                range.spec().map_err(|fault| fault.under(&place(outer, inner)))
            };
            set.iter().enumerate().map(read).collect()
        })
        .collect()
}

/// First the runtime's, then the old style's single range, then `ranges`: the place of a set is in
/// the name of its `last_reserved_ip` file.
fn sets(conf: &NetConf, single: &RawRange, ipam: &Map<String, Value>) -> Result<Vec<RangeSet>> {
    let mut all = match runtime(conf, "ipRanges") {
        Some(value) => specs(value)
            .map_err(|fault| invalid(&fault.under("ipRanges").under("runtimeConfig")))?,
        None => Specs::new(),
    };
    if single.subnet.is_some() {
        all.push(vec![single.spec().map_err(|fault| invalid(&fault.under("ipam")))?]);
    }
    if let Some(value) = json::get(ipam, "ranges") {
        all.extend(specs(value).map_err(|fault| invalid(&fault.under("ranges").under("ipam")))?);
    }
    let set = |(index, specs): (usize, &Vec<RangeSpec>)| {
        let ranges: std::result::Result<Vec<Range>, RangeError> =
            specs.iter().map(|spec| Range::new(*spec)).collect();
        ranges.and_then(RangeSet::new).map_err(|error| {
            Error::config(format!("invalid range set {index}: {error}")).details(error.remedy())
        })
    };
    all.iter().enumerate().map(set).collect()
}

fn one_per_family(version: Version, sets: &[RangeSet]) -> Result<()> {
    let v4 = sets.iter().filter(|set| set.family() == crate::range::Family::V4).count();
    if version >= Version::V0_3_0 || v4 <= 1 && sets.len() - v4 <= 1 {
        return Ok(());
    }
    let msg = format!("CNI version {version} does not support more than 1 address per family");
    // Without details, as the reference has it: Go clients compare `msg; details`.
    Err(Error::config(msg))
}

fn runtime<'a>(conf: &'a NetConf, key: &str) -> Option<&'a Value> {
    json::get(&conf.object, "runtimeConfig")?.as_object().and_then(|config| json::get(config, key))
}

fn requested(request: &Request) -> Result<Vec<IpAddr>> {
    request.env.args.only(&["IP"])?;
    let mut all = Vec::new();
    if let Some(text) = request.env.args.get("IP").filter(|text| !text.is_empty()) {
        all.push(address(text).map_err(|error| {
            Error::environment(format!("CNI_ARGS: error parsing value of pair \"IP={text}\""))
                .details(error)
        })?);
    }
    let object = &request.conf.object;
    let cni =
        json::get(object, "args").and_then(Value::as_object).and_then(|o| json::get(o, "cni"));
    let ips = cni.and_then(Value::as_object).and_then(|cni| json::get(cni, "ips"));
    for (name, value) in [("args.cni", ips), ("runtimeConfig", runtime(&request.conf, "ips"))] {
        let Some(value) = value else { continue };
        let failed = |fault: Fault| invalid(&fault.under("ips").under(name));
        let texts: Vec<String> = json::decode(value).map_err(failed)?;
        for (index, text) in texts.iter().enumerate() {
            let address = address(text);
            all.push(address.map_err(|e| failed(fault(e).under(&format!("[{index}]"))))?);
        }
    }
    // As the reference, which keeps them in a map.
    let mut once: Vec<IpAddr> = Vec::new();
    all.into_iter().for_each(|address| {
        if !once.contains(&address) {
            once.push(address);
        }
    });
    Ok(once)
}

/// An address with a prefix length or without one, which is ignored.
fn address(text: &str) -> std::result::Result<IpAddr, String> {
    let address = match text.contains('/') {
        true => cni::result::parse_cidr(text).ok().map(|network| network.ip()),
        false => text.parse().ok(),
    };
    address.map(|a: IpAddr| a.to_canonical()).ok_or_else(|| format!("invalid IP address {text}"))
}

#[cfg(test)]
mod tests;
