//! host-local's ranges, which are the node's pod CIDRs where a network configuration has none.

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    r#type: String,
    subnet: String,
    ranges: Vec<Vec<Range>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Range {
    subnet: String,
}

/// The `ipam` section; `None` where it is missing, or not as host-local reads it.
fn ipam(configuration: &Map<String, Value>) -> Option<Ipam> {
    Ipam::deserialize(configuration.get("ipam")?).ok()
}

/// The subnets that a network configuration has for its IPAM plugin.
pub fn of(configuration: &Map<String, Value>) -> Vec<IpNetwork> {
    let ipam = ipam(configuration).unwrap_or_default();
    let subnets = ipam.ranges.iter().flatten().map(|range| &range.subnet);
    subnets.chain([&ipam.subnet]).filter_map(|subnet| subnet.parse().ok()).collect()
}

/// Gives a network configuration that leaves its addresses to host-local, and has no ranges, these
/// CIDRs: one range set for each family.
pub fn fill(configuration: &mut Map<String, Value>, cidrs: &[IpNetwork]) {
    let empty = |ipam: &Ipam| {
        ipam.r#type == "host-local" && ipam.subnet.is_empty() && ipam.ranges.is_empty()
    };
    if !ipam(configuration).as_ref().is_some_and(empty) {
        return;
    }
    let of = |v4: bool| -> Vec<Value> {
        let same = cidrs.iter().filter(|cidr| cidr.is_ipv4() == v4);
        same.map(|cidr| json!({"subnet": cidr.to_string()})).collect()
    };
    let sets: Vec<Vec<Value>> =
        [of(true), of(false)].into_iter().filter(|set| !set.is_empty()).collect();
    if let (false, Some(Value::Object(ipam))) = (sets.is_empty(), configuration.get_mut("ipam")) {
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
