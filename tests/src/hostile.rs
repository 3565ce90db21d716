//! Malicious input, as strategies of proptest.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// Values that are well-formed JSON, or nearly, and hardly ever what a key wants.
const ODD: [&str; 34] = [
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "4294967296",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1e400",
    "-0",
    "01",
    "NaN",
    "\"\"",
    "\" \"",
    "\".\"",
    "\"..\"",
    "\"../../escape\"",
    "\"a/b\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\n\\r\\t\\\"\"",
    "\"0123456789abcdef\"",
    "\"eth%d\"",
    "\"10.1.0.0/33\"",
    "\"10.1.0.7/0\"",
    "\"::ffff:10.1.0.0/120\"",
    "\"fe80::1%eth0\"",
    "\"ff:ff:ff:ff:ff:ff\"",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "{\"\": {}}",
];

/// What is done to one member of an object or array.
#[derive(Clone, Debug)]
enum Edit {
    Remove,
    Replace(Vec<u8>),
    /// The same key twice, with another value first or last.
    Twice(Vec<u8>, bool),
}

/// What is done to the whole text.
#[derive(Clone, Debug)]
enum Ending {
    None,
    Cut(Index),
    Append(Vec<u8>),
}

/// Any JSON value.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z.]{0,8}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The document as text, spoiled in some places.
pub fn spoiled(document: Value) -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<Index>(), edit()), 1..4);
    (edits, ending()).prop_map(move |(edits, ending)| {
        let members = members(&document);
        let edits = edits.into_iter().map(|(at, edit)| (at.index(members.max(1)), edit));
        let mut text = Vec::new();
        write(&document, &edits.collect(), &mut 0, &mut text);
        match ending {
            Ending::None => {}
            Ending::Cut(at) => text.truncate(at.index(text.len() + 1)),
            Ending::Append(more) => text.extend(more),
        }
        text
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::Remove),
        raw().prop_map(Edit::Replace),
        (raw(), any::<bool>()).prop_map(|(value, first)| Edit::Twice(value, first)),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        12 => Just(Ending::None),
        1 => any::<Index>().prop_map(Ending::Cut),
        1 => raw().prop_map(Ending::Append),
    ]
}

/// A value's text, well formed or not.
fn raw() -> impl Strategy<Value = Vec<u8>> {
    let nested = |open: &'static str, depth| open.repeat(depth).into_bytes();
    prop_oneof![
        8 => select(&ODD[..]).prop_map(|text| text.as_bytes().to_vec()),
        4 => json().prop_map(|value| value.to_string().into_bytes()),
        1 => (1_usize..300).prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat()),
        1 => (1_usize..100_000).prop_map(move |depth| nested("{\"a\":", depth)),
        1 => (1_usize..100_000).prop_map(|length| format!("\"{}\"", "x".repeat(length)).into()),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|noise| {
            [b"\"", &noise[..], b"\""].concat()
        }),
    ]
}

/// How many members its objects and arrays have in all.
fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| 1 + members(item)).sum(),
        Value::Object(map) => map.values().map(|item| 1 + members(item)).sum(),
        _ => 0,
    }
}

fn write(value: &Value, edits: &BTreeMap<usize, Edit>, next: &mut usize, text: &mut Vec<u8>) {
    let (ends, members): ([u8; 2], Vec<(Option<&String>, &Value)>) = match value {
        Value::Array(items) => (*b"[]", items.iter().map(|item| (None, item)).collect()),
        Value::Object(map) => (*b"{}", map.iter().map(|(key, item)| (Some(key), item)).collect()),
        scalar => return text.extend(scalar.to_string().bytes()),
    };
    text.push(ends[0]);
    for (key, member) in members {
        let key = key.map(|key| format!("{}:", Value::from(key.as_str()))).unwrap_or_default();
        let mut whole = key.clone().into_bytes();
        let edit = edits.get(next);
        *next += 1;
        write(member, edits, next, &mut whole);
        let other = |raw: &[u8]| [key.as_bytes(), raw].concat();
        let written = match edit {
            None => whole,
            Some(Edit::Remove) => continue,
            Some(Edit::Replace(raw)) => other(raw),
            Some(Edit::Twice(raw, true)) => [other(raw), whole].join(&b','),
            Some(Edit::Twice(raw, false)) => [whole, other(raw)].join(&b','),
        };
        if text.last() != Some(&ends[0]) {
            text.push(b',');
        }
        text.extend(written);
    }
    text.push(ends[1]);
}
