//! BIRD 2.

use crate::speaker::{ASN, OWN4, OWN6, Speaker, config};
use bgp_speaker::codec::{Family, cease};
use bgp_speaker::fsm::{Config, Event, Reason, State};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::{Background, Node, Outside};
use std::collections::BTreeMap;
use std::time::Duration;

/// BIRD on a node, and the place beside it where we speak.
struct Bird {
    node: Node,
    outside: Outside,
    _daemon: Background,
}

impl Bird {
    /// `protocol` is what stands in its protocol bgp.
    fn start(protocol: &str) -> Bird {
        let node = Node::new();
        let outside = Outside::beside(&node);
        let text = format!(
            "router id {NODE4};
             protocol device {{ }}
             protocol static static4 {{ ipv4; route 10.244.9.0/24 unreachable; }}
             protocol static static6 {{ ipv6; route fd00:0:0:9::/64 unreachable; }}
             protocol bgp ferrule {{ connect delay time 1; {protocol} }}"
        );
        node.write("/run/bird.conf", &text);
        let daemon = node.spawn("bird -f -c /run/bird.conf -s /run/bird.ctl");
        let up = || node.exists("/run/bird.ctl").then_some(());
        ferrule_tests::within(Duration::from_secs(10), up).unwrap_or_else(|| {
            panic!("bird does not start: {}", node.run("bird -p -c /run/bird.conf"))
        });
        Bird { node, outside, _daemon: daemon }
    }

    fn ask(&self, question: &str) -> String {
        self.node.run(&format!("birdc -s /run/bird.ctl {question}"))
    }

    fn speak(&self, config: Config, peer: &str, work: impl FnOnce(&mut Speaker) + Send) {
        self.outside.ns().enter(|| work(&mut Speaker::start(config, peer)));
    }
}

fn routes(via4: &str, via6: &str) -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([
        ("10.244.9.0/24".to_owned(), vec![via4.to_owned()]),
        ("fd00:0:0:9::/64".to_owned(), vec![via6.to_owned()]),
    ])
}

/// RFC 4271, 4760, 6793, 1997, 4724 (End-of-RIB), 2918.
#[test]
fn both_families_both_ways() {
    let bird = Bird::start(&format!(
        "local {NODE4} as 65002; neighbor {OUTSIDE4} as {ASN};
         ipv4 {{ import all; export all; }};
         ipv6 {{ import all; export all; next hop address {NODE6}; }};"
    ));
    bird.speak(config(ASN, 65002), NODE4, |speaker| {
        speaker.until("established", |s| s.session.state() == State::Established);
        speaker.until("BIRD's routes", |s| s.routes() == routes(NODE4, NODE6));
        speaker.until("End-of-RIB", |s| s.ends_of_rib.len() == 2);
        speaker
            .until("ours at BIRD", |_| bird.ask(&format!("show route {OWN6}")).contains("ferrule"));
        let v4 = bird.ask(&format!("show route {OWN4} all"));
        for part in [
            format!("via {OUTSIDE4}"),
            format!("BGP.as_path: {ASN}"),
            "BGP.origin: IGP".to_owned(),
            "BGP.community: (65001,7)".to_owned(),
        ] {
            assert!(v4.contains(&part), "{part}: {v4}");
        }
        let v6 = bird.ask(&format!("show route {OWN6} all"));
        assert!(v6.contains(&format!("BGP.next_hop: {OUTSIDE6}")), "{v6}");

        // Route refresh: it asks us, we ask it.
        bird.ask("reload in ferrule");
        speaker.until("a refresh", |s| s.resends.len() == 2);
        let received = speaker.received;
        speaker.event(Event::Refresh(Family::Ipv4));
        speaker.until("the refreshed route", |s| s.received == received + 1);

        // Withdrawn there, withdrawn here.
        bird.ask("disable static4");
        speaker.until("a withdrawal", |s| !s.routes().contains_key("10.244.9.0/24"));
        speaker.withdraw();
        let gone = |cidr| {
            !bird
                .node
                .try_run(&format!("birdc -s /run/bird.ctl show route {cidr}"))
                .stdout
                .contains("ferrule")
        };
        speaker.until("ours gone at BIRD", |_| gone(OWN4) && gone(OWN6));

        // Its shutdown reaches us in words.
        bird.ask("disable ferrule \"maintenance\"");
        speaker.until("down", |s| !s.downs.is_empty());
        let Reason::Received(notification) = &speaker.downs[0] else {
            panic!("{:?}", speaker.downs)
        };
        assert_eq!((notification.code, notification.subcode), (6, cease::SHUTDOWN));
        assert!(speaker.routes().is_empty());
        bird.ask("enable ferrule");
        speaker.until("established again", |s| s.session.state() == State::Established);
    });
}

/// RFC 6793 section 4.2.3: a peer of 2-octet AS numbers, which has no room for ours in its
/// configuration, and one of four octets behind it.
#[test]
fn a_peer_of_two_octets() {
    let bird = Bird::start(&format!(
        "local {NODE4} as 65002; neighbor {OUTSIDE4} external; enable as4 off;
         ipv4 {{ import all; export filter {{ bgp_path.prepend(4200000009); accept; }}; }};"
    ));
    bird.speak(config(ASN, 65002), NODE4, |speaker| {
        speaker.until("BIRD's route", |s| s.routes().contains_key("10.244.9.0/24"));
        assert!(!speaker.session.established().unwrap().context.four_octet_asn);
        let paths = speaker.rib.paths(NODE4.parse().unwrap());
        let paths: Vec<_> = paths.map(|(_, path)| path.attributes.as_path.clone()).collect();
        assert_eq!(paths, [[65002, 4_200_000_009]]);
        let shown = || bird.ask(&format!("show route {OWN4} all"));
        speaker.until("ours at BIRD", |_| shown().contains(&format!("BGP.as_path: {ASN}\n")));
    });
}

/// RFC 8950, over an IPv6 session, iBGP.
#[test]
fn ipv4_over_ipv6_next_hops() {
    let bird = Bird::start(&format!(
        "local {NODE6} as 65002; neighbor {OUTSIDE6} as 65002;
         ipv4 {{ import all; export all; next hop self; extended next hop on; }};
         ipv6 {{ import all; export all; next hop self; }};"
    ));
    let config = Config { extended_next_hop: true, ..config(65002, 65002) };
    bird.speak(config, NODE6, |speaker| {
        speaker.until("BIRD's routes", |s| s.routes() == routes(NODE6, NODE6));
        speaker
            .until("ours at BIRD", |_| bird.ask(&format!("show route {OWN4}")).contains("ferrule"));
        let v4 = bird.ask(&format!("show route {OWN4} all"));
        assert!(v4.contains(&format!("BGP.next_hop: {OUTSIDE6}")), "{v4}");
        assert!(v4.contains("BGP.local_pref: 100"), "{v4}");
        assert!(v4.contains("BGP.as_path: \n") || v4.contains("BGP.as_path:\n"), "{v4}");
    });
}

/// RFC 4271 section 6.2: each side refuses the other's AS, and both know why.
#[test]
fn a_wrong_as_is_said() {
    let bird = Bird::start(&format!(
        "local {NODE4} as 65002; neighbor {OUTSIDE4} as 65099; ipv4 {{ import all; export all; }};"
    ));
    bird.speak(config(ASN, 65002), NODE4, |speaker| {
        speaker
            .until("a failure", |s| s.downs.iter().any(|r| r.to_string().contains("Bad Peer AS")));
    });
    let bird = Bird::start(&format!(
        "local {NODE4} as 65002; neighbor {OUTSIDE4} as {ASN}; ipv4 {{ import all; export all; }};"
    ));
    bird.speak(config(ASN, 65003), NODE4, |speaker| {
        speaker.until("a failure", |s| {
            s.session.last_error().is_some_and(|error| {
                error
                    .to_string()
                    .starts_with("the peer says that it is AS 65002, configured is 65003")
            })
        });
        speaker.until("BIRD knows", |_| bird.ask("show protocols").contains("Bad peer AS"));
    });
}

/// RFC 4271 section 4.2: the smaller hold time; silence ends the session, and BIRD's end is seen.
#[test]
fn a_dead_peer_is_noticed() {
    let bird = Bird::start(&format!(
        "local {NODE4} as 65002; neighbor {OUTSIDE4} as {ASN}; hold time 3;
         ipv4 {{ import all; export all; }};"
    ));
    bird.speak(config(ASN, 65002), NODE4, |speaker| {
        speaker.until("established", |s| s.session.state() == State::Established);
        let up = speaker.session.established().unwrap();
        assert_eq!(up.hold_time, Duration::from_secs(3));
        assert_eq!(up.context.families.len(), 1);
        speaker.until("a few keepalives", |s| s.session.counters().messages_in >= 7);
        assert_eq!(speaker.downs, []);
        bird.node.run("ip link set uplink0 down");
        speaker.until("the hold timer", |s| {
            s.downs.first().is_some_and(|reason| reason.to_string().starts_with("nothing came"))
        });
        assert!(speaker.routes().is_empty());
    });
}

/// RFC 4271 section 6.8: both dial, and one session stays, whichever identifier is higher.
#[test]
fn both_sides_dial() {
    for id in ["1.1.1.1", "250.1.1.1"] {
        let bird = Bird::start(&format!(
            "local {NODE4} as 65002; neighbor {OUTSIDE4} as {ASN}; connect retry time 1;
             ipv4 {{ import all; export all; }};"
        ));
        let config = Config { router_id: id.parse().unwrap(), ..config(ASN, 65002) };
        bird.speak(config, NODE4, |speaker| {
            for _ in 0..5 {
                bird.ask("restart ferrule");
                speaker.event(Event::Stop { subcode: cease::RESET });
                speaker.event(Event::Start);
                speaker.until("established", |s| s.session.state() == State::Established);
            }
            speaker.until("BIRD agrees", |_| {
                bird.ask("show protocols ferrule").contains("Established")
            });
            speaker.until("routes", |s| s.routes().contains_key("10.244.9.0/24"));
        });
    }
}
