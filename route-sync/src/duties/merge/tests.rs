use super::*;
use proptest::prelude::*;
use serde_json::json;

fn conflist(plugins: Value) -> List {
    let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins});
    list.as_object().unwrap().clone()
}

fn types(list: &List) -> Vec<&str> {
    plugins(list).iter().map(kind).collect()
}

#[test]
fn what_others_appended_stays_at_its_place() {
    let base = conflist(json!([{"type": "vxlan", "mtu": 1}, {"type": "portmap"}]));
    let there = conflist(json!([
        {"type": "vxlan", "mtu": 1}, {"type": "istio-cni", "x": 1}, {"type": "portmap"}, {"type": "linkerd-cni"}
    ]));
    let now =
        conflist(json!([{"type": "vxlan", "mtu": 2}, {"type": "portmap"}, {"type": "tuning"}]));
    let merged = merge(Some(&base), &there, &now);
    assert_eq!(types(&merged.list), ["vxlan", "istio-cni", "portmap", "tuning", "linkerd-cni"]);
    assert_eq!(plugins(&merged.list)[0], json!({"type": "vxlan", "mtu": 2}));
    assert_eq!(plugins(&merged.list)[1], json!({"type": "istio-cni", "x": 1}));
    assert_eq!(merged.others, ["istio-cni", "linkerd-cni"]);
    assert!(merged.kept.is_empty() && merged.lost.is_empty(), "{merged:?}");
}

#[test]
fn what_stood_behind_a_plugin_that_goes_stays() {
    let base = conflist(json!([{"type": "vxlan"}, {"type": "portmap"}, {"type": "sbr"}]));
    let there =
        conflist(json!([{"type": "vxlan"}, {"type": "portmap"}, {"type": "x"}, {"type": "sbr"}]));
    let now = conflist(json!([{"type": "vxlan"}, {"type": "sbr"}]));
    let merged = merge(Some(&base), &there, &now);
    assert_eq!(types(&merged.list), ["vxlan", "x", "sbr"]);
    let bgp = conflist(json!([{"type": "bgp"}]));
    let merged = merge(Some(&base), &there, &bgp);
    assert_eq!(types(&merged.list), ["bgp", "x"], "{merged:?}");
}

#[test]
fn an_edit_stays_until_the_template_says_something_else() {
    let base = conflist(json!([{"type": "vxlan", "mtu": 1450, "ipam": {"type": "host-local"}}]));
    let there = conflist(
        json!([{"type": "vxlan", "mtu": 1400, "ipam": {"type": "host-local", "dataDir": "/d"}}]),
    );
    let same = merge(Some(&base), &there, &base);
    assert_eq!(same.list, there);
    assert_eq!(
        same.kept,
        [
            "plugins[vxlan].ipam.dataDir is \"/d\" there and absent in the template",
            "plugins[vxlan].mtu is 1400 there and 1450 in the template",
        ]
    );
    let now = conflist(json!([{"type": "vxlan", "mtu": 1440, "ipam": {"type": "host-local"}}]));
    let other = merge(Some(&base), &there, &now);
    assert_eq!(plugins(&other.list)[0]["mtu"], 1440);
    assert_eq!(plugins(&other.list)[0]["ipam"]["dataDir"], "/d");
    let lost = "plugins[vxlan].mtu was 1400 there, and the template now has 1440";
    assert_eq!((other.lost.as_slice(), other.kept.len()), ([lost.to_owned()].as_slice(), 1));
}

#[test]
fn a_plugin_that_was_taken_out_stays_out_and_the_first_does_not() {
    let base = conflist(json!([{"type": "vxlan"}, {"type": "portmap"}]));
    let merged = merge(Some(&base), &conflist(json!([{"type": "vxlan"}])), &base);
    assert_eq!(types(&merged.list), ["vxlan"]);
    assert_eq!(merged.kept, ["plugins[portmap] is not there, and the template has it"]);
    let merged = merge(Some(&base), &conflist(json!([{"type": "portmap"}])), &base);
    assert_eq!(types(&merged.list), ["vxlan", "portmap"]);
    assert_eq!(merged.lost.len(), 1);
}

#[test]
fn a_plugin_that_was_chained_by_hand_and_is_in_the_template_now_is_there_once() {
    let base = conflist(json!([{"type": "vxlan"}]));
    let there = conflist(json!([{"type": "vxlan"}, {"type": "portmap", "snat": false}]));
    let now = conflist(json!([{"type": "vxlan"}, {"type": "portmap", "snat": true}]));
    let merged = merge(Some(&base), &there, &now);
    assert_eq!(merged.list, now);
    assert_eq!(merged.lost.len(), 1, "{merged:?}");
}

#[test]
fn without_a_base_the_template_decides_what_is_ours() {
    let there = conflist(json!([{"type": "vxlan", "mtu": 1}, {"type": "istio-cni"}]));
    let now = conflist(json!([{"type": "vxlan"}, {"type": "portmap"}]));
    let merged = merge(None, &there, &now);
    assert_eq!(types(&merged.list), ["vxlan", "portmap", "istio-cni"]);
    assert_eq!(plugins(&merged.list)[0], json!({"type": "vxlan"}));
    assert_eq!(
        merged.lost,
        ["plugins[vxlan].mtu was 1 there, and the template now has no such key"]
    );
    let other = conflist(json!([{"type": "flannel"}, {"type": "portmap"}]));
    let merged = merge(None, &other, &now);
    assert_eq!((merged.list, merged.lost.len()), (now, 1));
}

/// Plugins of few types and keys, so that lists have much in common.
fn some_plugins(kinds: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<Value>> {
    let value = prop_oneof![
        Just(json!(1)),
        Just(json!(2)),
        Just(json!({"a": 1})),
        Just(json!({"a": 2, "b": 1})),
        Just(json!([1]))
    ];
    let keys = prop::collection::btree_map(prop::sample::select(&["k", "l"][..]), value, 0..3);
    let plugin = (prop::sample::select(kinds), keys).prop_map(|(kind, keys)| {
        let mut plugin = json!(keys);
        plugin["type"] = kind.into();
        plugin
    });
    prop::collection::vec(plugin, 0..most)
}

const OURS: &[&str] = &["portmap", "bandwidth", "tuning"];
const THEIRS: &[&str] = &["istio-cni", "linkerd-cni", "x"];

/// What a template may be: its first plugin is the network's.
fn template() -> impl Strategy<Value = List> {
    (some_plugins(&["vxlan"], 2), some_plugins(OURS, 4)).prop_map(|(mut first, rest)| {
        first.truncate(1);
        if first.is_empty() {
            first.push(json!({"type": "vxlan"}));
        }
        first.extend(rest);
        conflist(first.into())
    })
}

/// A list with others' plugins at any places.
fn with_others(list: &List, others: &[Value], places: &[prop::sample::Index]) -> List {
    let mut all = plugins(list).to_vec();
    let mut from = 0;
    for (other, place) in others.iter().zip(places) {
        from += place.index(all.len() + 1 - from);
        all.insert(from, other.clone());
        from += 1;
    }
    conflist(all.into())
}

fn only_theirs(list: &List) -> Vec<Value> {
    plugins(list).iter().filter(|it| THEIRS.contains(&kind(it))).cloned().collect()
}

proptest! {
    /// Nothing was changed there: the template as it is now.
    #[test]
    fn an_untouched_file_becomes_the_template(base in template(), now in template()) {
        let merged = merge(Some(&base), &base, &now);
        prop_assert_eq!(&merged.list, &now);
        prop_assert!(merged.kept.is_empty() && merged.lost.is_empty(), "{:?}", merged);
    }

    /// The template did not change: the file stays as it is.
    #[test]
    fn an_unchanged_template_changes_nothing(
        base in template(), others in some_plugins(THEIRS, 4),
        places in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let there = with_others(&base, &others, &places);
        let merged = merge(Some(&base), &there, &base);
        prop_assert_eq!(merged.list, there);
        prop_assert!(merged.kept.is_empty() && merged.lost.is_empty());
    }

    /// Others' plugins stay, each once and unchanged, whatever else happens.
    #[test]
    fn others_plugins_stay(
        base in template(), edited in template(), now in template(),
        others in some_plugins(THEIRS, 4), known in any::<bool>(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let mut there = with_others(&edited, &others, &places);
        if !known {
            // The file is ours if it begins with the template's first plugin.
            let mut all = plugins(&there).to_vec();
            let at = all.iter().position(|plugin| kind(plugin) == "vxlan").unwrap();
            let first = all.remove(at);
            all.insert(0, first);
            there = conflist(all.into());
        }
        let merged = merge(known.then_some(&base), &there, &now);
        let sorted = |list: &List| {
            let mut texts: Vec<String> = only_theirs(list).iter().map(Value::to_string).collect();
            texts.sort();
            texts
        };
        prop_assert_eq!(sorted(&merged.list), sorted(&there));
        let named: Vec<&str> = merged.others.iter().map(String::as_str).collect();
        let theirs = only_theirs(&there);
        let all: Vec<&str> = theirs.iter().map(kind).collect();
        prop_assert!(all.iter().all(|kind| named.contains(kind)));
    }

    /// Once written, what comes out is what is there: nothing is written a second time.
    #[test]
    fn a_second_merge_changes_nothing(
        base in template(), edited in template(), now in template(),
        others in some_plugins(THEIRS, 4), known in any::<bool>(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let there = with_others(&edited, &others, &places);
        let first = merge(known.then_some(&base), &there, &now);
        let second = merge(Some(&now), &first.list, &now);
        prop_assert_eq!(&second.list, &first.list);
        prop_assert!(second.lost.is_empty(), "{:?}", second.lost);
    }

    /// What the template has and no administrator took out is in the result, and the first plugin
    /// always; what differs from it is reported.
    #[test]
    fn the_template_is_in_force_but_for_what_is_reported(
        base in template(), there in template(), now in template(), known in any::<bool>(),
    ) {
        let merged = merge(known.then_some(&base), &there, &now);
        prop_assert!(types(&merged.list).contains(&"vxlan"));
        if merged.kept.is_empty() && merged.others.is_empty() {
            prop_assert_eq!(&merged.list, &now);
        }
    }

    /// Whatever is there, it does not panic, and gives a network.
    #[test]
    fn whatever_is_there_gives_a_network(
        there in prop::collection::btree_map("[a-z]{1,3}|plugins|name", arbitrary(), 0..4),
        base in prop::option::of(template()), now in template(),
    ) {
        let there: List = there.into_iter().collect();
        let merged = merge(base.as_ref(), &there, &now);
        prop_assert!(!plugins(&merged.list).is_empty());
    }
}

/// Any JSON.
fn arbitrary() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,5}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof![Just("type".to_owned()), "[a-z]{1,2}".prop_map(String::from)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
