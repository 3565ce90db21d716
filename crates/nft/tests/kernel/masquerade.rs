//! Masquerade in a real kernel, with the `nft` tool as the oracle.

use crate::common::{assert_differences, in_netns, load, open, pod, remove, ruleset};
use nft::{COMMENT_MAX, Error, Nft};

const A: &str = "3f9a01c2d4e5 pods c0ffee eth0";
const B: &str = "77aa01c2d4e5 pods decaf eth0";
const CHAIN: &str = "masq-55d575a951ea7196";

fn both() -> [nft::Masquerade; 2] {
    [pod("pods", "10.1.0.5", "10.1.0.1/24", A), pod("pods", "fd00:1::5", "fd00:1::1/64", A)]
}

#[test]
fn the_ruleset_is_as_documented() {
    in_netns(|| {
        let mut nft = open();
        for m in both() {
            nft.add_masquerade(&m).unwrap();
            assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new());
        }
        assert_eq!(ruleset(), include_str!("masquerade.nft"));
        for m in both() {
            remove(&mut nft, &m);
        }
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn every_kind_of_prefix_is_what_nft_makes_of_its_text() {
    in_netns(|| {
        let subnets = ["0.0.0.0/0", "10.0.0.0/8", "10.1.16.0/20", "10.1.0.0/30", "10.1.0.9/32"];
        let subnets6 = ["fc00::/7", "fd00:1::/56", "fd00:1::/57", "fd00:1::9/128", "::/0"];
        for subnet in subnets.into_iter().chain(subnets6) {
            let address = subnet.split('/').next().unwrap();
            let m = pod("pods", address, subnet, A);
            let mut nft = open();
            nft.add_masquerade(&m).unwrap();
            let saved = ruleset();
            let shown = subnet.trim_end_matches("/32").trim_end_matches("/128");
            assert!(saved.contains(&format!("daddr {shown} return")), "{subnet}: {saved}");
            crate::common::nft(&["flush", "ruleset"]);
            load(&saved);
            assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new(), "{subnet}");
            remove(&mut nft, &m);
            assert_eq!(ruleset(), "");
        }
    });
}

#[test]
fn adding_again_changes_nothing_and_the_newest_comment_stays() {
    in_netns(|| {
        let mut nft = open();
        let [first, _] = both();
        nft.add_masquerade(&first).unwrap();
        let before = ruleset();
        nft.add_masquerade(&first).unwrap();
        assert_eq!(ruleset(), before);

        let second = pod("pods", "10.1.0.5", "10.1.0.0/24", B);
        nft.add_masquerade(&second).unwrap();
        assert_differences(&nft.check_masquerade(&first).unwrap(), &[B, B]);
        // The late DEL of the first attachment leaves the second's element alone.
        remove(&mut nft, &first);
        assert_eq!(nft.check_masquerade(&second).unwrap(), Vec::<String>::new());
        remove(&mut nft, &second);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn an_address_that_comes_again_in_another_network_is_the_others() {
    in_netns(|| {
        let mut nft = open();
        let [old, _] = both();
        let new = pod("other", "10.1.0.5", "10.1.0.0/24", B);
        nft.add_masquerade(&old).unwrap();
        nft.add_masquerade(&new).unwrap();
        assert_eq!(nft.check_masquerade(&new).unwrap(), Vec::<String>::new());
        let of_each = ["leads to jump", "comment", "leads to jump", "comment"];
        assert_differences(&nft.check_masquerade(&old).unwrap(), &of_each);
        remove(&mut nft, &old);
        assert_eq!(nft.check_masquerade(&new).unwrap(), Vec::<String>::new());
        remove(&mut nft, &new);
        // The old network's chain lost its element to the new one without a DEL; it is empty
        // of meaning and small, and goes when the network's next pod does.
        nft.add_masquerade(&old).unwrap();
        remove(&mut nft, &old);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn the_last_pod_of_a_subnet_takes_its_chain_and_the_last_of_all_the_table() {
    in_netns(|| {
        let mut nft = open();
        let pods = [
            pod("pods", "10.1.0.5", "10.1.0.0/24", A),
            pod("pods", "10.1.0.6", "10.1.0.0/24", B),
            pod("other", "10.2.0.5", "10.2.0.0/24", B),
        ];
        for m in &pods {
            nft.add_masquerade(m).unwrap();
        }
        remove(&mut nft, &pods[0]);
        assert!(ruleset().contains(CHAIN));
        remove(&mut nft, &pods[1]);
        assert!(!ruleset().contains(CHAIN));
        assert_eq!(nft.check_masquerade(&pods[2]).unwrap(), Vec::<String>::new());
        remove(&mut nft, &pods[2]);
        assert_eq!(ruleset(), "");
        remove(&mut nft, &pods[2]);
    });
}

#[test]
fn a_table_with_cluster_cidrs_or_foreign_chains_stays() {
    in_netns(|| {
        let mut nft = open();
        let [m, _] = both();
        for (add, del) in [
            ("add element inet ferrule cluster4 { 10.0.0.0/8 }", "flush set inet ferrule cluster4"),
            ("add element inet ferrule cluster6 { fd00::/8 }", "flush set inet ferrule cluster6"),
            ("add chain inet ferrule foreign", "delete chain inet ferrule foreign"),
            ("add set inet ferrule foreign { type mark; }", "delete set inet ferrule foreign"),
        ] {
            nft.add_masquerade(&m).unwrap();
            load(add);
            remove(&mut nft, &m);
            assert!(ruleset().contains("chain masq {"), "{add}");
            assert!(!ruleset().contains(CHAIN), "{add}");
            load(del);
            nft.add_masquerade(&m).unwrap();
            remove(&mut nft, &m);
            assert_eq!(ruleset(), "", "{add}");
        }
    });
}

#[test]
fn a_foreign_flush_is_seen_survived_and_healed() {
    in_netns(|| {
        let mut nft = open();
        let [m, _] = both();
        nft.add_masquerade(&m).unwrap();
        let whole = ruleset();
        crate::common::nft(&["flush", "ruleset"]);
        assert_differences(&nft.check_masquerade(&m).unwrap(), &["table inet ferrule is missing"]);
        remove(&mut nft, &m);
        nft.add_masquerade(&m).unwrap();
        assert_eq!(ruleset(), whole);

        crate::common::nft(&["flush", "chain", "inet", "ferrule", "masq"]);
        assert_differences(
            &nft.check_masquerade(&m).unwrap(),
            &["masq of table inet ferrule has 0"],
        );
        nft.add_masquerade(&m).unwrap();
        assert_eq!(ruleset(), whole);

        crate::common::nft(&["flush", "chain", "inet", "ferrule", CHAIN]);
        assert_differences(&nft.check_masquerade(&m).unwrap(), &["has 0 rules and not 3"]);
        crate::common::nft(&["flush", "map", "inet", "ferrule", "masq4"]);
        assert_eq!(nft.check_masquerade(&m).unwrap().len(), 2);
        nft.add_masquerade(&m).unwrap();
        assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new());
        assert_eq!(ruleset(), whole);
    });
}

#[test]
fn a_saved_ruleset_loads_again_and_is_still_ours() {
    in_netns(|| {
        let mut nft = open();
        let long = format!("3f9a \"quoted\" line\nbreak {} ends", "é".repeat(100));
        let pods = both().map(|m| nft::Masquerade { comment: long.clone(), ..m });
        for m in &pods {
            nft.add_masquerade(m).unwrap();
        }
        let saved = crate::common::nft(&["list", "ruleset"]);
        let shown = nft::fit(&long);
        assert!(shown.len() <= COMMENT_MAX && shown.len() >= COMMENT_MAX - 1);
        assert!(saved.contains(&format!("comment \"{shown}\"")), "{saved}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &saved).unwrap();
        crate::common::nft(&["flush", "ruleset"]);
        crate::common::nft(&["-f", file.path().to_str().unwrap()]);
        assert_eq!(crate::common::nft(&["list", "ruleset"]), saved);
        for m in &pods {
            assert_eq!(nft.check_masquerade(m).unwrap(), Vec::<String>::new());
            remove(&mut nft, m);
        }
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn check_sees_what_others_changed() {
    in_netns(|| {
        let mut nft = open();
        let [m, _] = both();
        let cases: [(&str, &[&str]); 7] = [
            (
                "insert rule inet ferrule masq accept",
                &["has 5 rules", "rule 1", "rule 2", "rule 3"],
            ),
            ("add rule inet ferrule masq accept", &["has 5 rules and not 4"]),
            ("add table inet ferrule { flags dormant; }", &["dormant"]),
            ("chain inet ferrule masq { policy drop; }", &["does not accept by default"]),
            ("delete element inet ferrule masq4 { 10.1.0.5 }", &["10.1.0.5 of masq4"]),
            (
                "delete element inet ferrule masq4 { 10.1.0.5 }
                 add element inet ferrule masq4 { 10.1.0.5 : accept }",
                &["leads to accept and not jump masq-", "has the comment \"\""],
            ),
            (
                "flush chain inet ferrule masq-55d575a951ea7196
                 add rule inet ferrule masq-55d575a951ea7196 ip daddr 10.9.0.0/24 return
                 add rule inet ferrule masq-55d575a951ea7196 ip daddr 224.0.0.0/4 return
                 add rule inet ferrule masq-55d575a951ea7196 masquerade random",
                &["rule 1 of chain masq-55d575a951ea7196", "rule 3 of chain masq-55d575a951ea7196"],
            ),
        ];
        for (change, differences) in cases {
            crate::common::nft(&["flush", "ruleset"]);
            nft.add_masquerade(&m).unwrap();
            load(change);
            let mut found = nft.check_masquerade(&m).unwrap();
            found.truncate(differences.len());
            assert_differences(&found, differences);
        }
    });
}

#[test]
fn a_foreign_element_is_left_alone_by_del_and_replaced_by_add() {
    in_netns(|| {
        let mut nft = open();
        let [m, _] = both();
        nft.add_masquerade(&pod("pods", "10.1.0.9", "10.1.0.0/24", B)).unwrap();
        load("add element inet ferrule masq4 { 10.1.0.5 comment \"somebody\" : accept }");
        let before = ruleset();
        remove(&mut nft, &m);
        assert_eq!(ruleset(), before);
        nft.add_masquerade(&m).unwrap();
        assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_base_chain_of_another_kind_is_an_error_that_says_so() {
    in_netns(|| {
        let mut nft = open();
        let [m, _] = both();
        load("table inet ferrule { chain masq { type nat hook postrouting priority 5; }; }");
        let before = ruleset();
        let error = nft.add_masquerade(&m).unwrap_err();
        assert!(!error.is_unsupported(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("add base chain masq in table inet ferrule: "), "{text}");
        assert_eq!(ruleset(), before);
        assert_differences(
            &nft.check_masquerade(&m).unwrap(),
            &["another hook or priority", "0 rules", "masq-", "element 10.1.0.5"],
        );
    });
}

#[test]
fn families_do_not_mix() {
    in_netns(|| {
        let mut nft: Nft = open();
        let m = pod("pods", "fd00::1", "10.0.0.0/8", A);
        assert!(matches!(nft.add_masquerade(&m), Err(Error::Invalid(_))));
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn nothing_to_delete_is_success_and_touches_nothing() {
    in_netns(|| {
        let mut nft = open();
        for m in both() {
            remove(&mut nft, &m);
        }
        assert_eq!(ruleset(), "");
        load("table ip foreign { chain c { type nat hook postrouting priority 100; }; }");
        let foreign = ruleset();
        for m in both() {
            nft.add_masquerade(&m).unwrap();
        }
        for m in both() {
            remove(&mut nft, &m);
        }
        assert_eq!(ruleset(), foreign);
    });
}

fn excluding(address: &str, subnet: &str, exclude: &[&str], comment: &str) -> nft::Masquerade {
    let exclude = exclude.iter().map(|net| net.parse().unwrap()).collect();
    nft::Masquerade { exclude, ..pod("pods", address, subnet, comment) }
}

#[test]
fn exceptions_are_one_set_for_a_list_however_long_and_go_with_its_last_pod() {
    in_netns(|| {
        let mut nft = open();
        let list = ["192.0.2.0/24", "192.0.2.128/25", "198.51.100.0/24", "2001:db8::/32"];
        let pods = [
            excluding("10.1.0.5", "10.1.0.0/24", &list, A),
            excluding("10.1.0.6", "10.1.0.0/24", &list, B),
            excluding("fd00:1::5", "fd00:1::/64", &list, A),
            excluding("10.1.0.7", "10.1.0.0/24", &list[2..], B),
            pod("pods", "10.1.0.8", "10.1.0.0/24", B),
        ];
        for m in &pods {
            nft.add_masquerade(m).unwrap();
        }
        let saved = ruleset();
        assert!(saved.contains("elements = { 192.0.2.0/24, 198.51.100.0/24 }"), "{saved}");
        assert!(saved.contains("elements = { 2001:db8::/32 }"), "{saved}");
        assert_eq!(saved.matches("set exclude-").count(), 3, "{saved}");
        assert_eq!(saved.matches("daddr @exclude-").count(), 6, "{saved}");
        crate::common::nft(&["flush", "ruleset"]);
        load(&saved);
        for m in &pods {
            assert_eq!(nft.check_masquerade(m).unwrap(), Vec::<String>::new());
        }
        for (m, sets) in pods.iter().zip([3, 2, 1, 0, 0]) {
            remove(&mut nft, m);
            assert_eq!(ruleset().matches("set exclude-").count(), sets);
        }
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_set_of_exceptions_that_was_altered_is_seen_and_made_anew_with_its_chain() {
    in_netns(|| {
        let mut nft = open();
        let m = excluding("10.1.0.5", "10.1.0.0/24", &["192.0.2.0/24"], A);
        nft.add_masquerade(&m).unwrap();
        let whole = ruleset();
        let set = whole.split_whitespace().find(|word| word.starts_with("exclude-")).unwrap();
        for change in ["add element inet ferrule SET { 10.9.0.0/16 }", "flush set inet ferrule SET"]
        {
            load(&change.replace("SET", set));
            assert_differences(&nft.check_masquerade(&m).unwrap(), &["is not 192.0.2.0/24"]);
            load(&format!("flush chain inet ferrule {}", set.replace("exclude", "masq")));
            nft.add_masquerade(&m).unwrap();
            assert_eq!(ruleset(), whole, "{change}");
        }
        remove(&mut nft, &m);
        assert_eq!(ruleset(), "");
    });
}

/// As a release that knew nothing of invalid packets left it.
const OLDER: &str = "flush chain inet ferrule drop-invalid
    delete chain inet ferrule drop-invalid
    flush map inet ferrule invalid4
    delete map inet ferrule invalid4
    flush map inet ferrule invalid6
    delete map inet ferrule invalid6
    delete chain inet ferrule invalid-55d575a951ea7196
    delete chain inet ferrule invalid-8eb10f6d58f59d7f";

#[test]
fn pods_of_an_older_release_are_whole_and_the_next_add_protects_them_too() {
    in_netns(|| {
        let mut nft = open();
        for m in both() {
            nft.add_masquerade(&m).unwrap();
        }
        let whole = ruleset();
        load(OLDER);
        for m in both() {
            assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new());
        }
        let new = pod("pods", "10.1.0.6", "10.1.0.0/24", B);
        nft.add_masquerade(&new).unwrap();
        for m in both().into_iter().chain([new.clone()]) {
            assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new());
        }
        remove(&mut nft, &new);
        let lines = |ruleset: &str| {
            let mut lines: Vec<_> = ruleset.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines(&ruleset()), lines(&whole));
        load(OLDER);
        for m in both() {
            remove(&mut nft, &m);
        }
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn what_an_older_releases_del_left_goes_with_gc_and_with_a_later_del() {
    in_netns(|| {
        let mut nft = open();
        let [m, six] = both();
        for by_key in [true, false] {
            nft.add_masquerade(&m).unwrap();
            nft.add_masquerade(&six).unwrap();
            load("flush map inet ferrule masq4\ndelete chain inet ferrule masq-55d575a951ea7196");
            if by_key {
                remove(&mut nft, &m);
            } else {
                for (address, comment) in nft.masquerades().unwrap() {
                    if comment == A {
                        nft.del_masquerade(address, A).unwrap();
                    }
                }
                nft.del_unused().unwrap();
            }
            remove(&mut nft, &six);
            assert_eq!(ruleset(), "", "by key: {by_key}");
        }
    });
}
