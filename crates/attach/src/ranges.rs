//! The subnets of a network configuration: host-local's ranges, which are the node's pod CIDRs where
//! it has none, and those of static's addresses.

use cni::json::{get, spelled};
use ipnetwork::IpNetwork;
use serde_json::{Map, Value, json};

/// `subnet` of the `ipam` section or of a range.
fn subnet(object: &Map<String, Value>) -> Option<&str> {
    get(object, "subnet")?.as_str().filter(|subnet| !subnet.is_empty())
}

/// The subnets that a network configuration has for its IPAM plugin: host-local's ranges, and those
/// of static's addresses.
pub fn of(configuration: &Map<String, Value>) -> Vec<IpNetwork> {
    let Some(Value::Object(ipam)) = get(configuration, "ipam") else { return Vec::new() };
    let sets = get(ipam, "ranges").and_then(Value::as_array).into_iter().flatten();
    let ranges = sets.filter_map(Value::as_array).flatten().filter_map(Value::as_object);
    let subnets = ranges.chain([ipam]).filter_map(subnet);
    let mut all: Vec<IpNetwork> = subnets.filter_map(|subnet| subnet.parse().ok()).collect();
    for subnet in subnets_of_addresses(ipam) {
        if !all.contains(&subnet) {
            all.push(subnet);
        }
    }
    all
}

/// The subnets of static's `addresses`.
fn subnets_of_addresses(ipam: &Map<String, Value>) -> impl Iterator<Item = IpNetwork> {
    let addresses = get(ipam, "addresses").and_then(Value::as_array).into_iter().flatten();
    let texts = addresses.filter_map(Value::as_object).filter_map(|entry| get(entry, "address"));
    texts.filter_map(Value::as_str).filter_map(|text| {
        let address = cni::result::parse_cidr(text).ok()?;
        IpNetwork::new(address.network(), address.prefix()).ok()
    })
}

/// Gives a network configuration that leaves its addresses to host-local, and has no ranges, these
/// CIDRs: one range set for each family.
pub fn fill(configuration: &mut Map<String, Value>, cidrs: &[IpNetwork]) {
    let Some(key) = spelled(configuration, "ipam").map(str::to_owned) else { return };
    let Some(Value::Object(ipam)) = configuration.get_mut(&key) else { return };
    let host_local = get(ipam, "type").is_some_and(|kind| kind == "host-local");
    let none = |ranges: &Value| ranges.as_array().is_some_and(Vec::is_empty);
    let bare = subnet(ipam).is_none() && get(ipam, "ranges").is_none_or(none);
    let of = |v4: bool| -> Vec<Value> {
        let same = cidrs.iter().filter(|cidr| cidr.is_ipv4() == v4);
        same.map(|cidr| json!({"subnet": cidr.to_string()})).collect()
    };
    let sets: Vec<_> = [of(true), of(false)].into_iter().filter(|set| !set.is_empty()).collect();
    if host_local && bare && !sets.is_empty() {
        ipam.insert("ranges".to_owned(), json!(sets));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(ipam: Value) -> Map<String, Value> {
        Map::from_iter([("ipam".to_owned(), ipam)])
    }

    fn cidrs() -> Vec<IpNetwork> {
        ["fd00:1::/64", "10.1.0.0/24", "10.2.0.0/24"].map(|text| text.parse().unwrap()).to_vec()
    }

    #[test]
    fn what_has_no_ranges_gets_a_set_for_each_family() {
        let mut bare = object(json!({"type": "host-local", "routes": []}));
        fill(&mut bare, &cidrs());
        let sets = json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/24"}],
            [{"subnet": "fd00:1::/64"}]]);
        assert_eq!(bare["ipam"], json!({"type": "host-local", "routes": [], "ranges": sets}));
        assert_eq!(of(&bare).len(), 3);
    }

    /// As the plugins read them: without regard to case, and `null` is as nothing.
    #[test]
    fn keys_may_be_spelled_otherwise() {
        let keys = json!({"TYPE": "host-local", "Ranges": null, "subnet": ""});
        let mut odd = Map::from_iter([("IPAM".to_owned(), keys)]);
        fill(&mut odd, &cidrs()[..1]);
        assert_eq!(odd["IPAM"]["ranges"], json!([[{"subnet": "fd00:1::/64"}]]));
        assert_eq!(of(&odd), cidrs()[..1]);
        let mut own =
            object(json!({"type": "host-local", "RANGES": [[{"SubNet": "10.9.0.0/24"}]]}));
        let before = own.clone();
        fill(&mut own, &cidrs());
        assert_eq!(own, before);
        assert_eq!(of(&own).len(), 1);
    }

    #[test]
    fn addresses_of_static_have_subnets() {
        let list = json!([{"address": "10.1.0.5/24"}, {"Address": "10.1.0.6/24"},
            {"address": "fd00:1::5/64"}, {"address": "nonsense"}, 5]);
        let named = object(json!({"type": "static", "Addresses": list}));
        let subnets: Vec<IpNetwork> =
            ["10.1.0.0/24", "fd00:1::/64"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(of(&named), subnets);
    }

    #[test]
    fn what_has_its_own_or_another_plugin_stays() {
        for ipam in [
            json!({"type": "host-local", "subnet": "10.9.0.0/24"}),
            json!({"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]}),
            json!({"type": "host-local", "ranges": "nonsense"}),
            json!({"type": "dhcp"}),
            json!({}),
            json!(5),
        ] {
            let mut own = object(ipam.clone());
            fill(&mut own, &cidrs());
            assert_eq!(own, object(ipam));
        }
        let mut none = Map::new();
        fill(&mut none, &cidrs());
        assert!(none.is_empty());
        let mut bare = object(json!({"type": "host-local"}));
        fill(&mut bare, &[]);
        assert_eq!(bare, object(json!({"type": "host-local"})));
    }
}
