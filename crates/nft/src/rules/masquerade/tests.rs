use super::*;

fn masquerade(subnet: &str) -> Masquerade {
    let subnet: IpNetwork = subnet.parse().unwrap();
    let (network, comment) = ("pods".to_owned(), "x".to_owned());
    Masquerade { network, address: subnet.ip(), subnet, exclude: Vec::new(), comment }
}

fn chain(m: &Masquerade) -> String {
    chain_name(&m.shared().id())
}

#[test]
fn the_chain_is_one_for_a_network_and_subnet() {
    let name = chain(&masquerade("10.1.0.5/24"));
    // The name is on disk in saved rulesets: it must not change between versions.
    assert_eq!(name, "masq-55d575a951ea7196");
    assert_eq!(name, chain(&masquerade("10.1.0.9/24")));
    assert_ne!(name, chain(&masquerade("10.1.0.5/25")));
    let other = Masquerade { network: "pod".to_owned(), ..masquerade("10.1.0.5/24") };
    assert_ne!(name, chain(&other));
}

fn excluding(list: &[&str]) -> Masquerade {
    let exclude = list.iter().map(|net| net.parse().unwrap()).collect();
    Masquerade { exclude, ..masquerade("10.1.0.5/24") }
}

#[test]
fn another_list_of_exceptions_is_another_chain() {
    let one = chain(&excluding(&["192.0.2.7/24", "198.51.100.0/24"]));
    assert_ne!(one, chain(&masquerade("10.1.0.5/24")));
    assert_ne!(one, chain(&excluding(&["192.0.2.0/24"])));
    let same = ["198.51.100.0/24", "192.0.2.0/24", "192.0.2.0/24", "2001:db8::/32"];
    assert_eq!(one, chain(&excluding(&same)), "order, host bits and the other family");
    assert_eq!(chain(&excluding(&["2001:db8::/32"])), chain(&masquerade("10.1.0.5/24")));
}

#[test]
fn the_rule_count_that_decides_is_that_of_the_rules() {
    for (m, more) in [
        (masquerade("10.1.0.5/24"), 0),
        (masquerade("fd00::5/64"), 0),
        (excluding(&["192.0.2.0/24", "198.51.100.0/24"]), 1),
    ] {
        let rules = m.shared().rules(rule::masquerade());
        assert_eq!(rules.len(), (CHAIN_RULES + more) as usize);
    }
}

#[test]
fn an_address_of_the_other_family_is_refused() {
    let mixed = Masquerade { address: "fd00::1".parse().unwrap(), ..masquerade("10.1.0.5/24") };
    assert!(matches!(mixed.check(), Err(Error::Invalid(_))));
}
