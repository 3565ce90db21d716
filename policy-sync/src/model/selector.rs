//! Selection by labels.

use kube_source::objects::policy::{LabelSelector, Operator, Requirement};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Which objects by their labels: those that meet every requirement.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Vec<(String, Test)>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
}

impl Test {
    fn holds(&self, value: Option<&String>) -> bool {
        match self {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

impl Selector {
    /// Every object.
    pub fn all() -> Selector {
        Selector::default()
    }

    /// From an object's selector.
    ///
    /// # Errors
    /// A requirement that no API server admits, in words.
    pub fn read(selector: &LabelSelector) -> Result<Selector, String> {
        let labels = selector.match_labels.iter();
        let is = |value: &String| Test::In(BTreeSet::from([value.clone()]));
        let mut tests: Vec<_> = labels.map(|(key, value)| (key.clone(), is(value))).collect();
        for requirement in &selector.match_expressions {
            tests.push((requirement.key.clone(), test(requirement)?));
        }
        tests.sort();
        tests.dedup();
        Ok(Selector(tests))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(key, test)| test.holds(labels.get(key)))
    }

    /// Whether every object is selected.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

fn test(requirement: &Requirement) -> Result<Test, String> {
    let Requirement { key, operator, values } = requirement;
    let set = || values.iter().cloned().collect();
    match (operator, values.is_empty()) {
        (Operator::In, false) => Ok(Test::In(set())),
        (Operator::NotIn, false) => Ok(Test::NotIn(set())),
        (Operator::Exists, true) => Ok(Test::Exists),
        (Operator::DoesNotExist, true) => Ok(Test::Absent),
        (Operator::In | Operator::NotIn, true) => {
            Err(format!("the selector's {operator:?} for label {key:?} has no values: write some"))
        }
        (Operator::Exists | Operator::DoesNotExist, false) => Err(format!(
            "the selector's {operator:?} for label {key:?} has values: remove them, or write In or NotIn"
        )),
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let list =
            |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(", ");
        for (at, (key, test)) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { ", " } else { "" })?;
            match test {
                Test::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values))?,
                Test::In(values) => write!(f, "{key} in ({})", list(values))?,
                Test::NotIn(values) => write!(f, "{key} not in ({})", list(values))?,
                Test::Exists => f.write_str(key)?,
                Test::Absent => write!(f, "no {key}")?,
            }
        }
        if self.is_all() { f.write_str("all") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selector(text: serde_json::Value) -> Result<Selector, String> {
        Selector::read(&serde_json::from_value(text).unwrap())
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_operator_selects_as_the_api_says() {
        let expression = |key: &str, operator: &str, values: &[&str]| {
            let it =
                json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
            selector(it).unwrap()
        };
        let with = labels(&[("app", "web"), ("tier", "")]);
        for (selector, expected) in [
            (expression("app", "In", &["db", "web"]), true),
            (expression("app", "In", &["db"]), false),
            (expression("none", "In", &[""]), false),
            (expression("app", "NotIn", &["web"]), false),
            (expression("app", "NotIn", &["db"]), true),
            (expression("none", "NotIn", &["x"]), true),
            (expression("tier", "Exists", &[]), true),
            (expression("none", "Exists", &[]), false),
            (expression("tier", "DoesNotExist", &[]), false),
            (expression("none", "DoesNotExist", &[]), true),
            (Selector::all(), true),
        ] {
            assert_eq!(selector.matches(&with), expected, "{selector}");
        }
        let both = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]});
        assert!(!selector(both.clone()).unwrap().matches(&with), "all must hold");
        assert_eq!(selector(both).unwrap().to_string(), "app=web, x");
    }

    #[test]
    fn a_requirement_that_cannot_be_is_named() {
        let it = json!({"matchExpressions": [{"key": "app", "operator": "In"}]});
        assert_eq!(
            selector(it).unwrap_err(),
            "the selector's In for label \"app\" has no values: write some"
        );
        let it =
            json!({"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]});
        assert!(selector(it).unwrap_err().contains("has values"));
    }
}
