//! What a plugin that is chained behind set of the pod: CHECK of the plugin that made the attachment
//! does not compare it. The tuning plugin's own CHECK does.

use crate::backup::{Backup, DEFAULT_DIR};
use crate::record::Records;
use crate::{Item, Maker, Owned, Place, Setting};
use cni::{Attachment, Request};
use std::path::Path;

/// Takes out of a plan what the tuning plugin set otherwise, ours by its record, the reference's by
/// the file in which it keeps what was before. (That has no sysctls.)
pub(super) fn excuse(items: &mut Vec<Item>, request: &Request, run_dir: &Path) {
    let attachment = request.attachment();
    as_recorded(items, run_dir, &attachment);
    let record = Records::new(run_dir, Maker::Chained("tuning")).peek(&attachment.hash());
    let mut set: Vec<Setting> = Vec::new();
    for owned in record.map(|record| record.owned).unwrap_or_default() {
        if let Owned::Setting { to, .. } = owned {
            set.push(to);
        }
    }
    set.extend(Backup::new(Path::new(DEFAULT_DIR), &attachment).settings());
    items.retain(|item| !set.iter().any(|set| is_set_by(item, set)));
    for item in items {
        if let Item::Veth(veth) = item
            && set.iter().any(|set| matches!(set, Setting::Mtu { link, .. } if *link == veth.pod))
        {
            veth.pod_mtu = None;
        }
    }
}

/// Rules are compared as ADD made them, also where the result is no longer ADD's.
fn as_recorded(items: &mut [Item], run_dir: &Path, attachment: &Attachment) {
    let Some(record) = Records::new(run_dir, Maker::Main).peek(&attachment.hash()) else { return };
    for item in items {
        if let Item::Rule(rule) = item {
            rule.take_recorded(&record.owned);
        }
    }
}

/// Takes routes out of a plan that the sbr plugin moved out of the main table.
pub(super) fn excuse_moved(items: &mut Vec<Item>, request: &Request, run_dir: &Path) {
    let records = Records::new(run_dir, Maker::Chained("sbr"));
    let record = records.peek(&request.attachment().hash());
    let mut moved = Vec::new();
    for owned in record.map(|record| record.owned).unwrap_or_default() {
        if let Owned::SourceRouting { routing } = owned {
            moved.extend(routing.removed.into_iter().chain(routing.replaced));
        }
    }
    items.retain(|item| match item {
        Item::Route(of) => {
            !moved.iter().any(|moved| moved.dst == of.route.dst && moved.table == of.route.table)
        }
        _ => true,
    });
}

fn is_set_by(item: &Item, set: &Setting) -> bool {
    match (item, set) {
        (Item::Sysctl(sysctl), Setting::Sysctl { key, .. }) => {
            sysctl.place == Place::Pod && sysctl.key == *key
        }
        _ => false,
    }
}
