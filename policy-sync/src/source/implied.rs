//! What files leave unsaid: a namespace for each that is named, and a pod for each attachment of this node that no pod of
//! the files is, so that containers of any runtime have policies. Such a pod is named as its container, in a namespace
//! named as its network, with the labels `ferrule.io/network` and `ferrule.io/container-id`.

use super::files::Reading;
use super::update::Update;
use super::yaml::Objects;
use crate::model::read;
use crate::state::Attachment;
use kube_source::objects::{Namespace, Pod, PodIp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender};

/// The label with the network's name.
pub const NETWORK: &str = "ferrule.io/network";
/// The label that Kubernetes gives each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// As much of a container's ID as people read.
const SHORT: usize = 12;

/// Sends what files and records say together, until the receiver is dropped.
pub(super) async fn run(
    node: String,
    mut files: Receiver<Reading>,
    mut records: Receiver<Update>,
    updates: Sender<Update>,
) {
    let mut objects = None;
    let mut attachments = BTreeMap::new();
    loop {
        tokio::select! {
            reading = files.recv() => match reading {
                Some(Ok(read)) => objects = Some(read),
                Some(Err(why)) => {
                    let failed = Update::Failed { kind: "pods", why };
                    if updates.send(failed).await.is_err() { return; }
                    continue;
                }
                None => return,
            },
            update = records.recv() => {
                let Some(update) = update else { return };
                if let Update::Attachments(all) = &update {
                    attachments.clone_from(all);
                }
                // After the pods that they are: an attachment without a pod is unrestricted.
                if let Some(objects) = &objects
                    && send(complete(objects, &attachments, &node), &updates).await.is_err()
                {
                    return;
                }
                if updates.send(update).await.is_err() { return; }
                continue;
            }
            () = updates.closed() => return,
        }
        if let Some(objects) = &objects
            && send(complete(objects, &attachments, &node), &updates).await.is_err()
        {
            return;
        }
    }
}

async fn send(objects: Objects, updates: &Sender<Update>) -> Result<(), ()> {
    let Objects { pods, namespaces, policies, cluster_policies, .. } = objects;
    for update in [
        Update::Namespaces(namespaces),
        Update::Pods(pods),
        Update::Policies(policies),
        Update::ClusterPolicies(cluster_policies),
    ] {
        updates.send(update).await.map_err(drop)?;
    }
    Ok(())
}

/// Objects with those that follow from the rest.
pub fn complete(
    objects: &Objects,
    attachments: &BTreeMap<String, Attachment>,
    node: &str,
) -> Objects {
    let mut all = objects.clone();
    let named: Vec<&String> =
        all.pods.iter().filter_map(|pod| pod.metadata.annotations.get(read::CONTAINER)).collect();
    let is_named = |it: &Attachment| {
        it.pod.is_some()
            || named.iter().any(|begin| !begin.is_empty() && it.container.starts_with(*begin))
            || all.pods.iter().any(|pod| {
                let ips = pod.status.pod_ips.iter().filter_map(|ip| ip.ip.parse().ok());
                ips.into_iter().any(|ip| it.addresses.contains(&ip))
            })
    };
    let rest = attachments.values().filter(|it| !is_named(it));
    let mut implied: BTreeMap<(&str, &str), Pod> = BTreeMap::new();
    for attachment in rest {
        let key = (attachment.network.as_str(), attachment.container.as_str());
        let pod = implied.entry(key).or_insert_with(|| pod(attachment, node));
        let ips = attachment.addresses.iter().map(|ip| PodIp { ip: ip.to_string() });
        pod.status.pod_ips.extend(ips);
    }
    let implied: Vec<Arc<Pod>> = implied.into_values().map(Arc::new).collect();
    all.pods.extend(implied);
    all.namespaces = namespaces(&all);
    all
}

fn pod(attachment: &Attachment, node: &str) -> Pod {
    let Attachment { network, container, .. } = attachment;
    let mut pod = Pod::default();
    let short = container.char_indices().nth(SHORT).map_or(container.len(), |(at, _)| at);
    pod.metadata.name = container.get(..short).unwrap_or(container).to_owned();
    pod.metadata.namespace.clone_from(network);
    let labels = [(NETWORK, network), (read::CONTAINER, container)];
    pod.metadata.labels =
        labels.map(|(key, value)| (key.to_owned(), value.clone())).into_iter().collect();
    pod.metadata.annotations.insert(read::CONTAINER.to_owned(), container.clone());
    pod.spec.node_name = node.to_owned();
    pod
}

/// Every namespace that an object is in or that is one, each with the label of its name.
fn namespaces(objects: &Objects) -> Vec<Arc<Namespace>> {
    let mut all: BTreeMap<String, Namespace> = objects
        .namespaces
        .iter()
        .map(|it| (it.metadata.name.clone(), Namespace::clone(it)))
        .collect();
    let of_pods = objects.pods.iter().map(|it| read::name(&it.metadata).namespace);
    let of_policies = objects.policies.iter().map(|it| read::name(&it.metadata).namespace);
    for name in of_pods.chain(of_policies).collect::<BTreeSet<_>>() {
        all.entry(name).or_default();
    }
    let named = |(name, mut namespace): (String, Namespace)| {
        namespace.metadata.labels.insert(NAMESPACE_NAME.to_owned(), name.clone());
        namespace.metadata.name = name;
        Arc::new(namespace)
    };
    all.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Objects {
        let mut objects = Objects::default();
        objects.read(text, "f").unwrap();
        objects
    }

    fn attachment(container: &str, address: &str) -> (String, Attachment) {
        let attachment = Attachment {
            key: container.to_owned(),
            network: "podman".to_owned(),
            container: container.to_owned(),
            addresses: vec![address.parse().unwrap()],
            pod: None,
        };
        (container.to_owned(), attachment)
    }

    #[test]
    fn an_attachment_that_no_pod_names_is_a_pod_of_its_network() {
        let all = objects(
            "kind: Pod\nmetadata: {name: web, annotations: {ferrule.io/container-id: '3f9a'}}\n---\n\
             kind: Pod\nmetadata: {name: db}\nstatus: {podIPs: [{ip: 10.88.0.3}]}\n---\n\
             kind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: {podSelector: {}}\n",
        );
        let attachments = [
            attachment("3f9a77", "10.88.0.2"),
            attachment("b0", "10.88.0.3"),
            attachment("0123456789abcdef", "10.88.0.4"),
        ];
        let all = complete(&all, &attachments.into_iter().collect(), "here");
        let names: Vec<String> =
            all.pods.iter().map(|it| read::name(&it.metadata).to_string()).collect();
        assert_eq!(names, ["default/web", "default/db", "podman/0123456789ab"]);
        assert_eq!(all.pods[2].status.pod_ips[0].ip, "10.88.0.4");
        assert_eq!(all.pods[2].metadata.labels[NETWORK], "podman");
        let names: Vec<&str> = all.namespaces.iter().map(|it| it.metadata.name.as_str()).collect();
        assert_eq!(names, ["default", "podman", "shop"]);
        assert_eq!(all.namespaces[2].metadata.labels[NAMESPACE_NAME], "shop");
    }

    #[test]
    fn labels_of_a_namespace_that_is_written_stay() {
        let all = objects("kind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n");
        let all = complete(&all, &BTreeMap::new(), "here");
        assert_eq!(all.namespaces[0].metadata.labels.len(), 2);
    }
}
