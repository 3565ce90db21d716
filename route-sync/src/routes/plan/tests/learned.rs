//! Routes learned by BGP, applied one by one.

use super::*;

const CIDRS: [&str; 7] = [
    "10.1.1.0/24",
    "10.1.2.0/24",
    "10.1.3.0/24",
    "fd00:3::/64",
    "10.9.0.0/16",
    "10.9.1.0/24",
    "fd00:9::/64",
];

fn hops(last: u8) -> Hops {
    let gateway = Some(IpAddr::from([192, 0, 2, last]));
    vec![net::route::Hop { gateway, link: 2, onlink: false }].into()
}

proptest! {
    /// Changes applied one by one, in any order, give the same as all of them at once.
    #[test]
    fn one_by_one_equals_all_at_once(
        mode in prop_oneof![Just(Mode::Auto), Just(Mode::Direct), Just(Mode::Vxlan)],
        twin in any::<bool>(),
        changes in proptest::collection::vec((0..7_usize, proptest::option::of(200..203_u8)), 0..30),
    ) {
        let twin = if twin { "twin 203.0.113.4 10.1.1.0/24,10.1.3.0/24" } else { "" };
        let nodes = nodes(&format!("{CLUSTER}{twin}"));
        let mut learned = Learned::new();
        let mut one_by_one = desired(&config(mode), &nodes, &facts(), &learned);
        for (at, last) in changes {
            let cidr = cidr(CIDRS[at]);
            match last {
                Some(last) => {
                    learned.insert(cidr, hops(last));
                    one_by_one.learn(mode, cidr, &hops(last));
                }
                None => {
                    learned.remove(&cidr);
                    one_by_one.unlearn(cidr);
                }
            }
            let at_once = desired(&config(mode), &nodes, &facts(), &learned);
            prop_assert_eq!(&one_by_one, &at_once);
            let alone = one_by_one.path_to(cidr).map(|path| path.into_owned());
            let of_all = one_by_one.all_paths().find(|path| path.cidr == cidr);
            prop_assert_eq!(alone, of_all.map(|path| path.into_owned()));
        }
    }
}
