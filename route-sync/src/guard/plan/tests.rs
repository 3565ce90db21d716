use super::*;
use crate::routes::learned::Learned;
use crate::routes::plan::desired;
use crate::routes::plan::tests::{CLUSTER, config, facts, nodes};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn pods_are_masqueraded_to_nodes_behind_the_tunnel() {
    let never = |mode, address| {
        let (config, nodes, facts) = (config(mode), nodes(CLUSTER), facts());
        let desired = desired(&config, &nodes, &facts, &Learned::new());
        rules(&config, &nodes, &facts, &desired).cluster.contains(&IpNetwork::from(ip(address)))
    };
    for own in ["192.0.2.1", "2001:db8::1"] {
        assert!(never(Mode::Auto, own) && never(Mode::Direct, own) && never(Mode::Vxlan, own));
    }
    assert!(never(Mode::Auto, "192.0.2.2") && never(Mode::Auto, "2001:db8::2"));
    assert!(!never(Mode::Auto, "203.0.113.3") && !never(Mode::Vxlan, "192.0.2.2"));
    assert!(never(Mode::Direct, "203.0.113.3"));
}

#[test]
fn excluded_destinations_are_never_masqueraded_to() {
    let mut config = config(Mode::Auto);
    let excluded: IpNetwork = "198.51.100.0/24".parse().unwrap();
    config.masquerade.exclude_cidrs = vec![excluded];
    let desired = desired(&config, &nodes(CLUSTER), &facts(), &Learned::default());
    let rules = rules(&config, &nodes(CLUSTER), &facts(), &desired);
    assert!(rules.cluster.contains(&excluded));
}
