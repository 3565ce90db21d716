//! Limits of neighbours in a real kernel, with the `nft` tool as the oracle. What they drop is seen
//! by the suite `cluster`.

use crate::common::{in_netns, load, nft as tool, open, ruleset};

/// Ours, in the order of their first making.
fn tables() -> String {
    let list = |family| tool(&["-s", "list", "table", family, "ferrule-neighbours"]);
    ["bridge", "inet", "arp"].map(list).concat()
}

#[test]
fn the_ruleset_is_as_documented() {
    in_netns(|| {
        let mut nft = open();
        assert!(nft.limit_neighbours().unwrap());
        let wanted = include_str!("neighbours.nft");
        assert_eq!(ruleset(), wanted);
        assert!(!nft.limit_neighbours().unwrap());
        // As after a restart of nftables.service: `nft` writes some expressions otherwise.
        load(&format!("flush ruleset\n{wanted}"));
        nft.limit_neighbours().unwrap();
        assert!(!nft.limit_neighbours().unwrap());
        assert_eq!(tables(), wanted);
        nft.del_neighbour_limits().unwrap();
        assert_eq!(ruleset(), "");
        nft.del_neighbour_limits().unwrap();
    });
}

#[test]
fn what_somebody_altered_is_made_anew() {
    in_netns(|| {
        let mut nft = open();
        for harm in [
            "delete table arp ferrule-neighbours",
            "flush chain bridge ferrule-neighbours asks",
            "delete chain inet ferrule-neighbours asks",
            "add table bridge ferrule-neighbours { flags dormant; }",
            "insert rule inet ferrule-neighbours asks accept",
        ] {
            nft.limit_neighbours().unwrap();
            tool(&[harm]);
            assert!(nft.limit_neighbours().unwrap(), "{harm}");
            assert_eq!(tables(), include_str!("neighbours.nft"), "{harm}");
        }
    });
}
