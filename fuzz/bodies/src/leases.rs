//! A whole lease directory, whatever was left in it.

use crate::is_told;
use cni::{Args, Command, Env, NetConf, Plugin, Request};
use host_local::HostLocal;
use host_local::lease::{Holder, address_of};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

const OURS: &str = "ours";
/// Bytes of a record of the index, the last eight of which are its checksum.
const RECORD: usize = 128;

/// Files, each a byte that says which, a byte for the length of its content in units of four, and
/// the content. Then ADD, CHECK, DEL and GC in them.
pub fn leases(data: &[u8]) {
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let dir = root.path().join("pods");
    let own = root.path().join(".ferrule/pods");
    fs::create_dir_all(&dir).and_then(|()| fs::create_dir_all(&own)).expect("directories");
    let mut rest = data;
    while let [which, length, content @ ..] = rest {
        let (content, tail) = content.split_at(content.len().min(usize::from(*length) * 4));
        put(&dir, &own, *which, content);
        rest = tail;
    }
    let others = valid(&dir);
    let plugin = HostLocal::default();
    add(&plugin, root.path(), &others);
    unharmed(&dir, &others);

    plugin.del(&request(root.path(), Command::Del)).expect("DEL succeeds");
    assert!(!valid(&dir).values().any(|holder| *holder == Holder::new(OURS, "eth0")));
    unharmed(&dir, &others);

    plugin.gc(&request(root.path(), Command::Gc)).expect("GC succeeds");
    assert!(valid(&dir).values().all(|holder| holder.container_id == "kept"));
}

fn put(dir: &Path, own: &Path, which: u8, content: &[u8]) {
    let written = match which {
        200 => fs::write(own.join("index"), content),
        201 => fs::write(own.join("index"), sealed(content)),
        202 => fs::write(own.join("taken-4-01402"), content),
        203 => fs::write(dir.join("last_reserved_ip.0"), content),
        204 => fs::write(own.join("new"), content),
        205 => fs::write(dir.join("lock"), content),
        lease => fs::write(dir.join(format!("10.1.0.{lease}")), content),
    };
    written.expect("a file");
}

/// The records of an index with checksums that are right: those of FNV-1a.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut records = content.to_vec();
    for record in records.chunks_exact_mut(RECORD).filter(|r| r.iter().any(|byte| *byte != 0)) {
        let (body, sum) = record.split_at_mut(RECORD - 8);
        let fnv = body.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        sum.copy_from_slice(&fnv.to_le_bytes());
    }
    records
}

/// The leases that anybody would call leases.
fn valid(dir: &Path) -> BTreeMap<IpAddr, Holder> {
    let entries = fs::read_dir(dir).expect("the directory").flatten();
    let lease = |entry: fs::DirEntry| {
        let address = entry.file_name().to_str().and_then(address_of)?;
        Some((address, Holder::parse(&fs::read(entry.path()).ok()?)?))
    };
    entries.filter_map(lease).collect()
}

/// Nobody lost an address but us.
fn unharmed(dir: &Path, others: &BTreeMap<IpAddr, Holder>) {
    let now = valid(dir);
    for (address, holder) in others.iter().filter(|(_, holder)| holder.container_id != OURS) {
        assert_eq!(now.get(address), Some(holder), "{address}");
    }
}

fn add(plugin: &HostLocal, data_dir: &Path, others: &BTreeMap<IpAddr, Holder>) {
    let result = match plugin.add(&request(data_dir, Command::Add)) {
        Ok(result) => result,
        Err(error) => return is_told(&error),
    };
    let [ip] = &result.ips[..] else { panic!("{result:?}") };
    let address = ip.address.ip();
    assert!(!others.contains_key(&address), "{address} was leased");
    let written = fs::read(data_dir.join("pods").join(address.to_string())).expect("its file");
    assert_eq!(Holder::parse(&written), Some(Holder::new(OURS, "eth0")));
    plugin.check(&request(data_dir, Command::Check)).expect("CHECK agrees");
}

fn request(data_dir: &Path, command: Command) -> Request {
    let document = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "host-local",
        "ipam": {"type": "host-local", "dataDir": data_dir, "ranges": [[{"subnet": "10.1.0.0/28"}]]},
        "cni.dev/valid-attachments": [{"containerID": "kept", "ifname": "eth0"}],
    });
    let stdin = document.to_string().into_bytes();
    let conf = NetConf::parse(&stdin).and_then(|object| NetConf::read(object, command));
    let env = Env {
        command,
        container_id: OURS.to_owned(),
        netns: None,
        ifname: "eth0".to_owned(),
        args: Args::default(),
        path: Vec::new(),
    };
    Request { env, conf: conf.expect("a valid configuration"), stdin }
}
