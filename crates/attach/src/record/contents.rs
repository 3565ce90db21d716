//! What a record says, and how it stands in its file.

use crate::Owned;
use cni::Attachment;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;

/// What a plugin made, or was about to make, for one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "File", into = "File")]
pub struct Record {
    /// The network's name.
    pub network: String,
    /// The container.
    pub container_id: String,
    /// The interface in the container.
    pub ifname: String,
    /// The plugin that made it, as its executable is called; empty in a record of version 0.1.0.
    pub plugin: String,
    /// The IPAM plugin that holds its lease.
    pub ipam: Option<String>,
    /// What may exist of what the attachment owns, in the order of its making.
    pub owned: Vec<Owned>,
    /// ADD succeeded. Without it, and unlocked, the record is of a killed ADD.
    pub complete: bool,
}

/// The file. The fields from `host_veth` to `routes` are those of version 0.1.0: what it would have
/// written, so that its DEL removes what this version made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    version: u32,
    network: String,
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    plugin: String,
    owned: Option<Vec<Owned>>,
    host_veth: String,
    addresses: Vec<IpAddr>,
    macspoof: Option<String>,
    rpfilter: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<(String, IpAddr)>,
    ipam: Option<String>,
    complete: bool,
}

impl Default for File {
    fn default() -> File {
        File {
            version: Record::VERSION,
            network: String::new(),
            container_id: String::new(),
            ifname: String::new(),
            plugin: String::new(),
            owned: None,
            host_veth: String::new(),
            addresses: Vec::new(),
            macspoof: None,
            rpfilter: false,
            routes: Vec::new(),
            ipam: None,
            complete: false,
        }
    }
}

impl From<File> for Record {
    fn from(mut file: File) -> Record {
        let owned = file.owned.take().unwrap_or_else(|| file.owned_by_earlier());
        let File { network, container_id, ifname, plugin, ipam, complete, .. } = file;
        Record { network, container_id, ifname, plugin, ipam, owned, complete }
    }
}

impl File {
    /// What the fields of version 0.1.0 say of what is owned.
    fn owned_by_earlier(&self) -> Vec<Owned> {
        let attachment = Attachment::new(&self.network, &self.container_id, &self.ifname);
        let host = match self.host_veth.as_str() {
            "" => attachment.host_veth(),
            host => host.to_owned(),
        };
        let mac = self.macspoof.as_ref().and_then(|mac| mac.parse().ok());
        let rpfilter = self.rpfilter.then(|| Owned::Rpfilter { link: host.clone() });
        let macspoof = mac.map(|mac| Owned::Macspoof { port: host.clone(), mac });
        let masquerades =
            self.addresses.iter().map(|address| Owned::Masquerade { address: *address });
        let routes = self.routes.iter();
        let routes =
            routes.map(|(link, address)| Owned::PodRoute { link: link.clone(), address: *address });
        let veth = Owned::Veth { host: host.clone() };
        let rules = rpfilter.into_iter().chain(macspoof).chain(masquerades);
        [veth].into_iter().chain(rules).chain(routes).collect()
    }

    /// Adds what version 0.1.0 would have written: it knew these kinds, and later ones have no field.
    fn tell_earlier(&mut self, owned: &Owned) {
        if let Owned::Veth { host } = owned {
            self.host_veth.clone_from(host);
        } else if let Owned::Masquerade { address } = owned {
            self.addresses.push(*address);
        } else if let Owned::Macspoof { mac, .. } = owned {
            self.macspoof = Some(mac.to_string());
        } else if let Owned::Rpfilter { .. } = owned {
            self.rpfilter = true;
        } else if let Owned::PodRoute { link, address } = owned {
            self.routes.push((link.clone(), *address));
        }
    }
}

impl From<Record> for File {
    fn from(record: Record) -> File {
        let Record { network, container_id, ifname, plugin, ipam, owned, complete } = record;
        let file =
            File { network, container_id, ifname, plugin, ipam, complete, ..File::default() };
        let mut file = File { owned: Some(owned.clone()), ..file };
        owned.iter().for_each(|owned| file.tell_earlier(owned));
        file
    }
}

/// Why a record is of a release that is newer than this one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Newer {
    /// Its version.
    Version(u64),
    /// The kind of something that it owns.
    Kind(String),
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Newer::Version(version) => {
                let known = Record::VERSION;
                write!(f, "it is of version {version}, and this plugin reads up to {known}")
            }
            Newer::Kind(kind) => write!(f, "it owns a {kind}, which this plugin does not know"),
        }
    }
}

impl Record {
    /// The newest version that this code reads, and the one that it writes.
    pub const VERSION: u32 = 1;

    /// What a record's file says; `None` when it is torn. A newer record may own what this code
    /// does not know, so no other part of it is read.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Record>, Newer> {
        #[derive(Deserialize)]
        struct Version {
            #[serde(default)]
            version: u64,
        }
        match serde_json::from_slice(text) {
            Ok(Version { version }) if version > u64::from(Record::VERSION) => {
                return Err(Newer::Version(version));
            }
            _ => {}
        }
        if let Ok(record) = serde_json::from_slice(text) {
            return Ok(Some(record));
        }
        #[derive(Default, Deserialize)]
        struct Things {
            owned: Vec<Value>,
        }
        let things: Things = serde_json::from_slice(text).unwrap_or_default();
        let unknown = |thing: &&Value| Owned::deserialize(*thing).is_err();
        match things.owned.iter().find(unknown) {
            Some(thing) => Err(Newer::Kind(thing["kind"].as_str().unwrap_or("thing").to_owned())),
            None => Ok(None),
        }
    }

    /// The attachment recorded.
    pub fn attachment(&self) -> Attachment {
        Attachment::new(&self.network, &self.container_id, &self.ifname)
    }

    /// Adds what is owned of these items; whether there was anything new.
    pub(crate) fn own(&mut self, items: &[crate::Item]) -> bool {
        let before = self.owned.len();
        for owned in items.iter().filter_map(crate::Item::owned) {
            if !self.owned.contains(&owned) {
                self.owned.push(owned);
            }
        }
        self.owned.len() > before
    }

    /// The link with a reverse path filter, if it has one.
    pub(crate) fn rpfilter(&self) -> Option<&str> {
        for owned in &self.owned {
            if let Owned::Rpfilter { link } = owned {
                return Some(link);
            }
        }
        None
    }
}
