//! Firewall in a real kernel, with the `nft` and `iptables` tools as the oracles. What packets do is
//! the suite firewall's matter.

use std::process::Command;

use crate::common::{assert_differences, in_netns, load, nft, open, ruleset};
use nft::{Forwarded, Isolation};

const A: &str = "ferrule.firewall 3f9a01c2d4e5 pods c0ffee eth0";
const B: &str = "ferrule.firewall 77aa01c2d4e5 pods decaf eth0";

fn pod(address: &str, comment: &str) -> Forwarded {
    Forwarded {
        address: address.parse().unwrap(),
        isolation: None,
        admin: "CNI-ADMIN".to_owned(),
        comment: comment.to_owned(),
    }
}

fn closed(address: &str, bridge: &str, isolated: bool) -> Forwarded {
    let isolation = Some(Isolation { bridge: bridge.to_owned(), isolated });
    Forwarded { isolation, ..pod(address, A) }
}

fn iptables(args: &[&str]) -> String {
    let output = Command::new("iptables-nft").args(args).output().expect("iptables-nft is missing");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("incompatible"), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn add(f: &Forwarded) {
    let mut nft = open();
    nft.add_forwarded(f).unwrap();
    assert_eq!(nft.check_forwarded(f).unwrap(), Vec::<String>::new(), "{}", ruleset());
}

fn remove(f: &Forwarded) {
    assert!(open().del_forwarded(f.address, &f.comment).unwrap());
}

/// What stays for good.
const ADMIN_LEFT: &str = "table ip filter {
\tchain FORWARD {
\t\ttype filter hook forward priority filter; policy accept;
\t}

\tchain CNI-ADMIN {
\t}
}
";

#[test]
fn the_ruleset_is_as_documented_and_the_last_pod_takes_it_but_the_administrators_chain() {
    in_netns(|| {
        let pods = [pod("10.1.0.5", A), pod("10.1.0.6", B)];
        add(&pods[0]);
        assert_eq!(ruleset(), include_str!("firewall.nft"));
        let before = ruleset();
        add(&pods[0]);
        assert_eq!(ruleset(), before);
        nft(&["flush", "ruleset"]);
        load(&before);
        assert_eq!(
            open().check_forwarded(&pods[0]).unwrap(),
            Vec::<String>::new(),
            "{}",
            ruleset()
        );
        add(&pods[1]);
        remove(&pods[0]);
        assert_differences(&open().check_forwarded(&pods[0]).unwrap(), &["element 10.1.0.5"]);
        assert_eq!(open().check_forwarded(&pods[1]).unwrap(), Vec::<String>::new());
        remove(&pods[1]);
        assert_eq!(ruleset(), ADMIN_LEFT);
        assert!(!open().del_forwarded(pods[1].address, B).unwrap());
    });
}

#[test]
fn iptables_lists_its_table_with_our_rules_saves_and_restores_it() {
    in_netns(|| {
        iptables(&["-P", "FORWARD", "DROP"]);
        iptables(&["-A", "FORWARD", "-s", "192.0.2.1", "-j", "ACCEPT"]);
        let before = iptables(&["-S"]);
        let pod = pod("10.1.0.5", A);
        add(&pod);
        let listed = iptables(&["-S"]);
        for line in [
            "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD",
            "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN",
            "-A CNI-FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment \"ferrule.firewall: packets of pods\" -j ACCEPT",
        ] {
            assert!(listed.contains(line), "{line}\n{listed}");
        }
        // The reference looks for its own rules so.
        iptables(&[
            "-C",
            "FORWARD",
            "-m",
            "comment",
            "--comment",
            "CNI firewall plugin rules",
            "-j",
            "CNI-FORWARD",
        ]);
        let script = "iptables-nft-save > /proc/self/fd/3 3>&1 | iptables-nft-restore";
        let saved =
            Command::new("sh").args(["-c", "iptables-nft-save | iptables-nft-restore"]).status();
        assert!(saved.unwrap().success(), "{script}");
        assert_eq!(open().check_forwarded(&pod).unwrap(), Vec::<String>::new(), "{}", ruleset());
        remove(&pod);
        assert_eq!(
            iptables(&["-S"]),
            before.replace("-P OUTPUT ACCEPT\n", "-P OUTPUT ACCEPT\n-N CNI-ADMIN\n")
        );
    });
}

#[test]
fn our_rule_stands_before_what_denies_all_in_chains_of_others() {
    in_netns(|| {
        load(
            "table inet filter {
                chain forward { type filter hook forward priority filter; policy drop;
                    ip daddr 169.254.169.254 drop
                }
            }
            table inet fw {
                chain forward { type filter hook forward priority 10; policy accept;
                    ct state established accept
                    iifname \"lo\" jump refuse
                    jump refuse
                    ip saddr 192.0.2.1 accept
                }
                chain refuse { meta l4proto tcp reject with tcp reset
                    counter reject with icmpx admin-prohibited
                }
            }
            table ip open {
                chain forward { type filter hook forward priority 20; policy accept;
                    ip daddr 192.0.2.9 drop
                }
            }
            table ip6 filter {
                chain FORWARD { type filter hook forward priority filter; policy drop;
                }
            }",
        );
        let before = ruleset();
        let pod = pod("10.1.0.5", A);
        add(&pod);
        let ours = "meta mark & 0x00001000 == 0x00001000 counter packets 0 bytes 0 accept comment \"ferrule.firewall: packets of pods\"";
        let listed = nft(&["list", "chain", "inet", "filter", "forward"]);
        assert!(listed.contains(&format!("169.254.169.254 drop\n\t\t{ours}\n\t}}")), "{listed}");
        let listed = nft(&["list", "chain", "inet", "fw", "forward"]);
        assert!(
            listed.contains(&format!("iifname \"lo\" jump refuse\n\t\t{ours}\n\t\tjump refuse")),
            "{listed}"
        );
        for others in [["ip", "open", "forward"], ["ip6", "filter", "FORWARD"]] {
            let [family, table, chain] = others;
            let listed = nft(&["list", "chain", family, table, chain]);
            assert!(!listed.contains("ferrule"), "{listed}");
        }
        // Its owner loads the table again.
        load("flush chain inet filter forward");
        assert_differences(
            &open().check_forwarded(&pod).unwrap(),
            &["chain forward of table inet filter denies what no rule accepts"],
        );
        load("add rule inet filter forward ip daddr 169.254.169.254 drop");
        add(&pod);
        remove(&pod);
        assert_eq!(ruleset(), before.clone() + ADMIN_LEFT);
    });
}

#[test]
fn a_chain_that_only_its_owner_may_change_is_named() {
    in_netns(|| {
        use std::io::Write;
        let mut owner = Command::new("nft")
            .arg("-i")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut input = owner.stdin.take().unwrap();
        writeln!(input, "add table inet firewalld {{ flags owner; }}").unwrap();
        writeln!(
            input,
            "add chain inet firewalld f {{ type filter hook forward priority 10; policy drop; }}"
        )
        .unwrap();
        while !ruleset().contains("policy drop") {
            std::thread::yield_now();
        }
        let before = ruleset();
        let error = open().add_forwarded(&pod("10.1.0.5", A)).unwrap_err().to_string();
        assert!(error.starts_with("chain f of table inet firewalld denies"), "{error}");
        assert!(error.contains(&format!("process {}", owner.id())), "{error}");
        assert_eq!(ruleset(), before);
        drop(input);
        owner.wait().unwrap();
    });
}

#[test]
fn check_names_what_others_took_away_and_add_mends_it() {
    in_netns(|| {
        let pod = pod("10.1.0.5", A);
        for (damage, named) in [
            ("flush chain ip filter FORWARD", "the jump to CNI-FORWARD in chain FORWARD"),
            (
                "flush chain ip filter CNI-FORWARD",
                "the jump to CNI-ADMIN at the head of chain CNI-FORWARD",
            ),
            ("insert rule ip filter FORWARD counter drop", "is never reached"),
            ("delete table ip filter", "chain FORWARD of table ip filter is missing"),
            (
                "flush chain inet ferrule firewall",
                "chain firewall of table inet ferrule has 0 rules",
            ),
            (
                "flush chain inet ferrule firewall-end",
                "chain firewall-end of table inet ferrule has 0 rules",
            ),
            (
                "flush chain inet ferrule firewall-open",
                "chain firewall-open of table inet ferrule has 0 rules",
            ),
            ("flush map inet ferrule firewall4", "element 10.1.0.5 of firewall4"),
            ("flush ruleset", "table inet ferrule is missing"),
        ] {
            add(&pod);
            load(damage);
            let found = open().check_forwarded(&pod).unwrap();
            assert!(found.iter().any(|text| text.contains(named)), "{damage}: {found:#?}");
            add(&pod);
            load("flush ruleset");
        }
    });
}

#[test]
fn bridges_with_a_policy_are_closed_while_they_have_pods() {
    in_netns(|| {
        let element = |set: &str| nft(&["list", "set", "inet", "ferrule", set]);
        let pods = [
            closed("10.1.0.5", "br-a", false),
            closed("10.1.0.6", "br-a", true),
            closed("10.2.0.5", "br-b", false),
        ];
        pods.iter().for_each(add);
        let bridges = element("closed-bridges");
        assert!(bridges.contains("\"br-a\"") && bridges.contains("\"br-b\""), "{bridges}");
        let same = element("same-bridge");
        assert!(!same.contains("\"br-a\"") && same.contains("\"br-b\" . \"br-b\""), "{same}");
        remove(&pods[1]);
        assert!(element("same-bridge").contains("\"br-a\" . \"br-a\""));
        assert_eq!(open().check_forwarded(&pods[0]).unwrap(), Vec::<String>::new());
        remove(&pods[2]);
        assert!(!element("closed-bridges").contains("br-b"));
        assert!(!element("same-bridge").contains("br-b"));
        remove(&pods[0]);
        assert_eq!(ruleset(), ADMIN_LEFT);
    });
}

#[test]
fn both_families_and_administrators_chains_of_any_name() {
    in_netns(|| {
        let mut pod = pod("2001:db8::5", A);
        pod.admin = "MINE".to_owned();
        add(&pod);
        assert!(nft(&["list", "chain", "ip6", "filter", "CNI-FORWARD"]).contains("jump MINE"));
        assert!(!ruleset().contains("table ip filter"));
        remove(&pod);
        assert_eq!(
            ruleset(),
            ADMIN_LEFT.replace("ip filter", "ip6 filter").replace("CNI-ADMIN", "MINE")
        );
    });
}

#[test]
fn the_references_rules_of_an_address_go_and_its_chain_with_the_last() {
    in_netns(|| {
        iptables(&["-N", "CNI-FORWARD"]);
        iptables(&["-N", "CNI-ADMIN"]);
        iptables(&[
            "-I",
            "FORWARD",
            "-m",
            "comment",
            "--comment",
            "CNI firewall plugin rules",
            "-j",
            "CNI-FORWARD",
        ]);
        iptables(&[
            "-I",
            "CNI-FORWARD",
            "-m",
            "comment",
            "--comment",
            "CNI firewall plugin admin overrides",
            "-j",
            "CNI-ADMIN",
        ]);
        for address in ["10.1.0.5", "10.1.0.6"] {
            iptables(&[
                "-A",
                "CNI-FORWARD",
                "-d",
                address,
                "-m",
                "conntrack",
                "--ctstate",
                "RELATED,ESTABLISHED",
                "-j",
                "ACCEPT",
            ]);
            iptables(&["-A", "CNI-FORWARD", "-s", address, "-j", "ACCEPT"]);
        }
        let both = iptables(&["-S", "CNI-FORWARD"]);
        // Our own last pod leaves the reference's alone.
        let own = pod("10.1.0.9", A);
        add(&own);
        remove(&own);
        assert_eq!(iptables(&["-S", "CNI-FORWARD"]), both);
        open().del_reference_forwarded("10.1.0.5".parse().unwrap()).unwrap();
        let left = iptables(&["-S", "CNI-FORWARD"]);
        assert!(!left.contains("10.1.0.5") && left.matches("10.1.0.6").count() == 2, "{left}");
        open().del_reference_forwarded("10.1.0.6".parse().unwrap()).unwrap();
        let left = iptables(&["-S"]);
        assert!(!left.contains("CNI-FORWARD") && left.contains("-N CNI-ADMIN"), "{left}");
    });
}
