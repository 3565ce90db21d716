//! What is ours goes, and nothing else.

use crate::check::{COMMENT, HOST, everything, macspoof, masquerade, veth};
use crate::common::{Pod, in_netns, sh};
use attach::{Error, Item, Kernel, Owned, Place, Rule};

const ALIAS: &str = "ferrule c1";

fn links() -> String {
    sh("ip -br link | cut -d' ' -f1 | cut -d@ -f1 | paste -sd' '").trim_end().to_owned()
}

/// The refusal of a removal, in words.
fn refusal(done: attach::Result<()>) -> String {
    match done {
        Err(Error::Conflict(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// As DEL does it.
fn remove(kernel: &mut Kernel) -> attach::Result<()> {
    kernel.silence_veth(HOST, ALIAS)?;
    kernel.release(&Owned::Veth { host: HOST.to_owned() }, ALIAS).map(drop)
}

#[test]
fn a_pair_of_ours_is_removed_and_then_it_is_gone() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        for alias in [ALIAS, ""] {
            sh(&format!("ip link add {HOST} type veth peer name peer"));
            sh(&format!("ip link set {HOST} alias '{alias}'"));
            remove(&mut kernel).unwrap();
            assert_eq!(links(), "lo");
            remove(&mut kernel).unwrap();
        }
    });
}

#[test]
fn many_are_removed_at_once_and_no_other_link() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        for nth in 0..5 {
            sh(&format!("ip link add v{nth} type veth peer name w{nth}"));
        }
        sh("ip link set v4 group 7");
        let mut known = |name| kernel.known_link(Place::Host, name).unwrap();
        let (links_of_three, gone) = (["v0", "v1", "v2"].map(&mut known), known("v3"));
        sh("ip link del v3");
        let all = [&links_of_three[..], std::slice::from_ref(&gone)].concat();
        kernel.remove_links(&all).unwrap();
        assert_eq!(links(), "lo w4 v4");
        kernel.remove_links(&all).unwrap();
        kernel.remove_links(std::slice::from_ref(&gone)).unwrap();
        kernel.remove_links(&[]).unwrap();
        assert_eq!(links(), "lo w4 v4");
    });
}

#[test]
fn a_pair_with_anothers_alias_is_left_alone() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        sh(&format!("ip link add {HOST} type veth peer name peer"));
        for alias in ["ferrule c10", "ferrule c", "x"] {
            sh(&format!("ip link set {HOST} alias '{alias}'"));
            let text = refusal(remove(&mut kernel));
            assert!(text.starts_with(&format!("link {HOST} is left alone: ")), "{text}");
            assert!(text.contains(&format!("{alias:?}")), "{text}");
            assert!(sh("ip -br link").contains(HOST));
        }
    });
}

#[test]
fn what_is_no_pair_is_left_alone() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        sh(&format!("ip link add {HOST} type bridge"));
        for alias in ["", ALIAS] {
            sh(&format!("ip link set {HOST} alias '{alias}'"));
            let text = refusal(remove(&mut kernel));
            assert!(text.contains("it is a bridge"), "{text}");
            assert_eq!(links(), format!("lo {HOST}"));
        }
    });
}

#[test]
fn a_name_that_is_taken_is_a_conflict_that_says_by_what() {
    in_netns(|| {
        let pod = Pod::new();
        sh("ip link add br0 up type bridge");
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        let item = [Item::Veth(veth(HOST, ALIAS))];
        pod.sh("ip link add eth0 type bridge");
        let text = refusal(kernel.apply(&item, &mut Vec::new()));
        let wanted =
            "container veth name (\"eth0\") peer provided (\"veth0123456789a\") already exists";
        assert_eq!(text, wanted);
        assert_eq!(links(), "lo br0");
        sh(&format!("ip link add {HOST} type bridge"));
        let text = refusal(kernel.apply(&item, &mut Vec::new()));
        assert_eq!(text, format!("host veth {HOST:?} already exists"));
    });
}

#[test]
fn elements_go_only_with_their_own_comment() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        let items = |comment: &str| {
            [
                Item::Rule(Rule::Masquerade(masquerade("10.1.0.2/24", comment))),
                Item::Rule(Rule::Masquerade(masquerade("fd00:1::2/64", comment))),
                Item::Rule(Rule::Macspoof(macspoof(comment))),
            ]
        };
        let (own, other) = (items(COMMENT), items("another pod's"));
        kernel.apply(&own, &mut Vec::new()).unwrap();
        let whole = sh("nft list ruleset");
        assert!(kernel.remove(&other, "another pod's").is_empty(), "another's is no error");
        assert_eq!(sh("nft list ruleset"), whole);
        // The next pod of the address comes, and then the late removal of the first.
        kernel.apply(&other, &mut Vec::new()).unwrap();
        assert!(kernel.remove(&own, COMMENT).is_empty());
        assert_eq!(kernel.check(&other).unwrap(), Vec::<String>::new());
        assert!(kernel.remove(&other, "another pod's").is_empty());
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn without_the_pod_the_rest_is_removed_all_the_same() {
    in_netns(|| {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        kernel.apply(&everything(), &mut Vec::new()).unwrap();
        let problems = Kernel::open(None).unwrap().remove(&everything(), COMMENT);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(links(), "lo br0");
        assert_eq!(sh("nft list ruleset"), "");
    });
}
