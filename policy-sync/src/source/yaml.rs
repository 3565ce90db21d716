//! Objects in YAML, as `kubectl apply` takes them and `kubectl get -o yaml` prints them; JSON is YAML too.

use kube_source::objects::policy::{ClusterNetworkPolicy, NetworkPolicy};
use kube_source::objects::{Metadata, Namespace, Object, Pod};
use serde_json::Value;
use std::sync::Arc;

/// Objects by their kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Namespaces.
    pub namespaces: Vec<Arc<Namespace>>,
    /// NetworkPolicies.
    pub policies: Vec<Arc<NetworkPolicy>>,
    /// ClusterNetworkPolicies.
    pub cluster_policies: Vec<Arc<ClusterNetworkPolicy>>,
    /// Where each object is: kind, namespace and name, and the file.
    places: Vec<([String; 3], String)>,
}

impl Objects {
    /// Adds the objects of a text; `place` names its file. Other kinds are none of ours, and skipped.
    ///
    /// # Errors
    /// It is no YAML, an object is not as its kind has it, or is there already: in words, with the place.
    pub fn read(&mut self, text: &str, place: &str) -> Result<(), String> {
        // Only `true` and `false`: a namespace may be named `n`.
        let options = serde_saphyr::options! { strict_booleans: true };
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
            .map_err(|error| format!("{place}: {}", error.to_string().replace('\n', ", ")))?;
        for (document, at) in documents.into_iter().zip(1..) {
            self.add(document, &format!("{place}, document {at}"))?;
        }
        Ok(())
    }

    fn add(&mut self, document: Value, place: &str) -> Result<(), String> {
        let kind = document.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        match kind.as_str() {
            "" if document.is_null() => Ok(()),
            "" => Err(format!("{place} is no object: write its kind, as \"kind: NetworkPolicy\"")),
            "List" => self.add_all(document, place),
            "Pod" => self.keep(document, place, |it| &mut it.pods),
            "Namespace" => self.keep(document, place, |it| &mut it.namespaces),
            "NetworkPolicy" => self.keep(document, place, |it| &mut it.policies),
            "ClusterNetworkPolicy" => self.keep(document, place, |it| &mut it.cluster_policies),
            _ => Ok(()),
        }
    }

    fn add_all(&mut self, mut list: Value, place: &str) -> Result<(), String> {
        let items = list.get_mut("items").map(Value::take);
        let items = items.and_then(|it| if let Value::Array(it) = it { Some(it) } else { None });
        items.unwrap_or_default().into_iter().try_for_each(|item| self.add(item, place))
    }

    fn keep<T: Object>(
        &mut self,
        document: Value,
        place: &str,
        list: impl FnOnce(&mut Objects) -> &mut Vec<Arc<T>>,
    ) -> Result<(), String> {
        let kind = T::RESOURCE.kind;
        let object: T = serde_json::from_value(document)
            .map_err(|error| format!("{place} is no {kind} as the API has it: {error}"))?;
        let Metadata { name, namespace, .. } = object.metadata();
        if name.is_empty() {
            return Err(format!("{place}: a {kind} has no name: write metadata.name"));
        }
        let key = [kind.to_owned(), namespace.clone(), name.clone()];
        if let Some((_, other)) = self.places.iter().find(|(other, _)| *other == key) {
            return Err(format!(
                "{place}: {kind} {namespace}/{name} is in {other} too: remove one of them"
            ));
        }
        self.places.push((key, place.to_owned()));
        list(self).push(Arc::new(object));
        Ok(())
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Objects, String> {
        let mut objects = Objects::default();
        objects.read(text, "f.yaml").map(|()| objects)
    }

    const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector:
    matchLabels:
      app: web
  ingress:
  - from:
    - podSelector: {}
    ports:
    - port: http
    - {protocol: UDP, port: 53, endPort: 54}
";

    #[test]
    fn documents_lists_and_other_kinds_are_read() {
        let text = format!(
            "{POLICY}---\n---\nkind: Service\nmetadata: {{name: s}}\n---\nkind: List\nitems:\n\
             - kind: Pod\n  metadata: {{name: p}}\n- kind: Namespace\n  metadata: {{name: n}}\n"
        );
        let objects = read(&text).unwrap();
        let counts = [objects.pods.len(), objects.namespaces.len(), objects.policies.len()];
        assert_eq!(counts, [1, 1, 1]);
        let (policy, faults) = crate::model::read::network_policy(&objects.policies[0]);
        assert!(faults.is_empty());
        let rules = policy.unwrap().ingress.unwrap();
        let ports: Vec<String> = rules[0].ports.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(ports, ["TCP \"http\"", "UDP 53-54"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, words) in [
            ("a: [", "f.yaml: "),
            ("spec: {}", "f.yaml, document 1 is no object: write its kind"),
            ("kind: Pod", "f.yaml, document 1: a Pod has no name: write metadata.name"),
            (
                "kind: NetworkPolicy\nmetadata: {name: x}\nspec: {policyTypes: [Out]}",
                "unknown variant `Out`",
            ),
            (
                "kind: Pod\nmetadata: {name: x}\n---\nkind: Pod\nmetadata: {name: x}",
                "is in f.yaml, document 1 too",
            ),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
