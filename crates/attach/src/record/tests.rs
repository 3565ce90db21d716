//! Records as files.

use super::*;
use crate::Owned;

#[test]
fn a_record_is_found_again_until_removed() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path(), Maker::Main);
    let attachment = Attachment::new("n", "c", "eth0");
    assert!(!records.exists(&attachment));
    let mut claim = records.claim(&attachment).unwrap();
    assert_eq!(claim.record, None);
    let record = Record {
        network: "n".into(),
        owned: vec![Owned::Veth { host: "veth1".into() }],
        ..Record::default()
    };
    claim.write(&record).unwrap();
    assert!(records.claim_free(&attachment.hash()).unwrap().is_none(), "it is locked");
    drop(claim);
    assert_eq!(records.hashes().unwrap(), [attachment.hash()]);
    assert!(Records::new(dir.path(), Maker::Chained("x")).hashes().unwrap().is_empty());
    let found = records.claim_free(&attachment.hash()).unwrap().unwrap();
    assert_eq!(found.record.as_ref(), Some(&record));
    found.remove().unwrap();
    assert!(!records.exists(&attachment));
}

#[test]
fn a_claim_that_came_to_nothing_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path(), Maker::Main);
    let attachment = Attachment::new("n", "c", "eth0");
    drop(records.claim(&attachment).unwrap());
    assert!(!records.exists(&attachment));
    // Removed by its owner, and made anew by another call before the owner lets go.
    let mut claim = records.claim(&attachment).unwrap();
    fs::remove_file(&claim.path).unwrap();
    let next = records.claim(&attachment).unwrap();
    claim.record = None;
    drop(claim);
    assert!(records.exists(&attachment));
    next.remove().unwrap();
}

#[test]
fn a_torn_record_is_none_and_a_shorter_one_leaves_no_tail() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path(), Maker::Main);
    let attachment = Attachment::new("n", "c", "eth0");
    let mut claim = records.claim(&attachment).unwrap();
    let long = Record { network: "n".repeat(500), ..Record::default() };
    claim.write(&long).unwrap();
    claim.write(&Record::default()).unwrap();
    let path = claim.path.clone();
    drop(claim);
    assert_eq!(records.claim(&attachment).unwrap().record, Some(Record::default()));
    fs::write(path, "{\"network\": \"n").unwrap();
    assert_eq!(records.claim(&attachment).unwrap().record, None);
}

/// One without a version, as earlier releases wrote it, is of version 1.
#[test]
fn a_newer_record_is_refused_by_name_and_an_older_one_read() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path(), Maker::Main);
    let attachment = Attachment::new("n", "c", "eth0");
    let path = records.path(&attachment);
    fs::create_dir_all(&records.dir).unwrap();
    fs::write(&path, r#"{"network": "n", "complete": true}"#).unwrap();
    let claim = records.claim(&attachment).unwrap();
    assert!(claim.record.as_ref().is_some_and(|record| record.complete));
    drop(claim);
    let newer = r#"{"version": 2, "network": 5}"#;
    fs::write(&path, newer).unwrap();
    for error in [
        records.claim(&attachment).err().unwrap(),
        records.claim_free(&attachment.hash()).err().unwrap(),
    ] {
        assert_eq!(error.code, code::DECODE);
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("version 2"), "{text}");
    }
    assert_eq!(records.peek(&attachment.hash()), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn what_is_no_file_in_the_place_of_a_record_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::new(dir.path(), Maker::Main);
    let attachment = Attachment::new("n", "c", "eth0");
    let path = records.path(&attachment);
    fs::create_dir_all(&records.dir).unwrap();
    let make: [&dyn Fn(); 4] = [
        &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        &|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        &|| std::os::unix::fs::symlink("/etc/hostname", &path).unwrap(),
        &|| fs::create_dir(&path).unwrap(),
    ];
    for make in make {
        make();
        assert_eq!(records.peek(&attachment.hash()), None);
        let claim = records.claim(&attachment).unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        claim.remove().unwrap();
    }
    fs::create_dir(&path).unwrap();
    fs::write(path.join("theirs"), "").unwrap();
    let error = records.claim(&attachment).err().unwrap().to_string();
    assert!(error.contains("it is a directory"), "{error}");
    records.discard(&attachment).unwrap();
    assert!(path.join("theirs").exists() && records.hashes().unwrap().is_empty());
}

/// A record as version 0.1.0 wrote it, of an attachment with everything that it knew.
const EARLIER: &str = r#"{
  "network": "pods",
  "containerID": "c1",
  "ifname": "eth0",
  "hostVeth": "veth0123456789a",
  "addresses": [
    "10.1.0.2",
    "fd00:1::2"
  ],
  "macspoof": "0a:58:0a:01:00:02",
  "rpfilter": true,
  "ipam": "host-local",
  "complete": true
}"#;

fn all_kinds() -> Vec<Owned> {
    let [host, port, link] = [(); 3].map(|()| "veth0123456789a".to_owned());
    let mac = "0a:58:0a:01:00:02".parse().unwrap();
    vec![
        Owned::Veth { host },
        Owned::Rpfilter { link },
        Owned::Macspoof { port, mac },
        Owned::Masquerade { address: "10.1.0.2".parse().unwrap() },
        Owned::Masquerade { address: "fd00:1::2".parse().unwrap() },
    ]
}

#[test]
fn a_record_of_0_1_0_says_what_is_owned() {
    let record = Record::parse(EARLIER.as_bytes()).unwrap().unwrap();
    assert_eq!(record.attachment(), Attachment::new("pods", "c1", "eth0"));
    assert_eq!((record.ipam.as_deref(), record.complete), (Some("host-local"), true));
    assert_eq!(record.owned, all_kinds());
    // Before the first address was known, and of a killed call that had no time to say more.
    let bare = r#"{"network": "pods", "containerID": "c1", "ifname": "eth0", "addresses": [],
        "macspoof": null, "rpfilter": false, "ipam": null, "complete": false}"#;
    let record = Record::parse(bare.as_bytes()).unwrap().unwrap();
    assert_eq!(record.owned, [Owned::Veth { host: record.attachment().host_veth() }]);
}

/// The record of version 0.1.0, as its code declared it.
#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Record010 {
    network: String,
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
    host_veth: String,
    addresses: Vec<std::net::IpAddr>,
    macspoof: Option<String>,
    rpfilter: bool,
    ipam: Option<String>,
    complete: bool,
}

/// DEL of version 0.1.0 removes the addresses' masquerade, the checks and the veth pair that its own
/// fields name, and has IPAM free the lease.
#[test]
fn version_0_1_0_reads_ours_and_removes_all() {
    let record = Record {
        network: "pods".into(),
        container_id: "c1".into(),
        ifname: "eth0".into(),
        plugin: "bridge".into(),
        ipam: Some("host-local".into()),
        owned: all_kinds(),
        complete: true,
    };
    let text = cni::json::pretty(&record);
    let read: Record010 = serde_json::from_slice(&text).unwrap();
    assert_eq!(read, serde_json::from_str(EARLIER).unwrap());
    assert_eq!(Record::parse(&text).unwrap(), Some(record));
}

#[test]
fn a_record_of_an_unknown_kind_is_newer_and_not_torn() {
    let text = r#"{"version": 1, "network": "n", "owned": [{"kind": "veth", "host": "v"},
        {"kind": "portmap", "port": 80}]}"#;
    let newer = Record::parse(text.as_bytes()).unwrap_err();
    assert_eq!(newer.to_string(), "it owns a portmap, which this plugin does not know");
    assert_eq!(Record::parse(&text.as_bytes()[..60]), Ok(None));
}
