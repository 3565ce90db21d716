use super::*;
use crate::range::{Range, RangeSet, RangeSpec};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

mod boot;
mod damage;

/// A node of its own: a data directory and an identity.
struct Node {
    root: tempfile::TempDir,
    host: Host,
    sets: Vec<RangeSet>,
}

fn set(subnet: &str) -> RangeSet {
    let subnet = Some(cni::result::parse_cidr(subnet).unwrap());
    RangeSet::new(vec![Range::new(RangeSpec { subnet, ..RangeSpec::default() }).unwrap()]).unwrap()
}

fn holder(id: &str) -> Holder {
    Holder::new(id, "eth0")
}

impl Node {
    fn new(subnets: &[&str]) -> Node {
        let root = tempfile::tempdir().unwrap();
        let host =
            Host { boot_id: root.path().join("boot"), machine_id: root.path().join("machine") };
        let node = Node { root, host, sets: subnets.iter().map(|subnet| set(subnet)).collect() };
        node.reboot(1);
        node.machine("3d1219c7c4c5404aaa1f6d2a48adfda4\n");
        node
    }

    fn reboot(&self, number: u32) {
        let id = format!("305c6e54-9047-44df-8abe-0000{number:08x}\n");
        fs::write(&self.host.boot_id, id).unwrap();
    }

    fn machine(&self, id: &str) {
        fs::write(&self.host.machine_id, id).unwrap();
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("data/n")
    }

    fn own(&self) -> PathBuf {
        self.root.path().join("data/.ferrule/n")
    }

    fn open(&self) -> Store<'_> {
        Store::open(&self.root.path().join("data"), "n", &self.host).unwrap()
    }

    fn add(&self, id: &str) -> Result<Vec<String>> {
        let plan: Vec<_> = self.sets.iter().map(|set| (set, None)).collect();
        let leased = self.open().lease(&holder(id), &plan)?;
        Ok(leased.iter().map(ToString::to_string).collect())
    }

    fn add_one(&self, id: &str) -> String {
        self.add(id).unwrap().remove(0)
    }

    fn request(&self, id: &str, address: &str) -> Result<Vec<IpAddr>> {
        self.open().lease(&holder(id), &[(&self.sets[0], Some(address.parse().unwrap()))])
    }

    fn del(&self, id: &str) {
        self.open().release(&holder(id)).unwrap();
    }

    fn holds(&self, id: &str) -> Vec<String> {
        self.open().holds(&holder(id)).unwrap().iter().map(ToString::to_string).collect()
    }

    /// Whether the last operation left the index complete.
    fn is_signed(&self) -> bool {
        !self.open().scanned_now
    }

    fn leases(&self) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().ok();
        let names = fs::read_dir(self.dir()).unwrap().filter_map(name);
        let mut all: Vec<_> = names.filter(|name| lease::address_of(name).is_some()).collect();
        all.sort();
        all
    }

    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.dir()).unwrap();
        fs::write(self.dir().join(name), content).unwrap();
    }
}

#[test]
fn add_check_del() {
    let node = Node::new(&["10.0.0.0/24", "fd00::/64"]);
    assert_eq!(node.add("a").unwrap(), ["10.0.0.2", "fd00::2"]);
    assert_eq!(node.add("b").unwrap(), ["10.0.0.3", "fd00::3"]);
    assert_eq!(fs::read(node.dir().join("fd00::2")).unwrap(), b"a\r\neth0");
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(node.dir()), mode(node.dir().join("10.0.0.2"))), (0o755, 0o600));
    assert_eq!(fs::read(node.dir().join("last_reserved_ip.1")).unwrap(), b"fd00::3");
    assert_eq!(node.holds("a"), ["10.0.0.2", "fd00::2"]);
    node.del("a");
    node.del("a");
    node.del("unknown");
    assert!(node.holds("a").is_empty());
    assert_eq!(node.leases(), ["10.0.0.3", "fd00::3"]);
    assert_eq!(node.add_one("a"), "10.0.0.4", "a freed address is not used again at once");
    assert!(node.is_signed());
}

#[test]
fn nothing_is_created_unless_asked() {
    let node = Node::new(&["10.0.0.0/24"]);
    let data = node.root.path().join("data");
    assert!(Store::existing(&data, "n", &node.host).unwrap().is_none());
    assert!(!data.exists());
}

#[test]
fn the_same_attachment_twice() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.add("a").unwrap();
    let error = node.add("a").unwrap_err();
    assert_eq!(
        (error.code, &*error.msg),
        (
            cni::code::NO_ADDRESS,
            "failed to allocate for range 0: 10.0.0.2 has been allocated to a, duplicate \
             allocation is not allowed"
        )
    );
    assert_eq!(node.leases(), ["10.0.0.2"]);
    // An attachment is container and interface.
    let plan = [(&node.sets[0], None)];
    assert!(node.open().lease(&Holder::new("a", "eth1"), &plan).is_ok());
}

#[test]
fn requested_addresses() {
    let node = Node::new(&["10.0.0.0/24"]);
    assert!(node.request("a", "10.0.0.9").is_ok());
    for (id, address, text) in [
        ("b", "10.0.0.9", "requested IP address 10.0.0.9 is not available in range set 10.0.0.1-"),
        ("b", "10.0.0.1", "requested ip 10.0.0.1 is subnet's gateway"),
        ("a", "10.0.0.9", "10.0.0.9 has been allocated to a, duplicate"),
        ("b", "10.0.1.1", "requested IP address 10.0.1.1 is not available in range set"),
    ] {
        let error = node.request(id, address).unwrap_err();
        assert!(
            error.msg.starts_with(&format!("failed to allocate for range 0: {text}")),
            "{error}"
        );
        assert_eq!(error.code, cni::code::NO_ADDRESS);
    }
    assert_eq!(node.add_one("c"), "10.0.0.10");
    assert!(node.is_signed());
}

#[test]
fn network_and_broadcast_are_refused_though_the_range_has_them() {
    let mut node = Node::new(&[]);
    let address = |text: &str| Some(text.parse().unwrap());
    let spec = RangeSpec {
        subnet: Some(cni::result::parse_cidr("10.0.0.0/30").unwrap()),
        start: address("10.0.0.0"),
        end: address("10.0.0.3"),
        gateway: None,
    };
    node.sets = vec![RangeSet::new(vec![Range::new(spec).unwrap()]).unwrap()];
    for (requested, name) in [("10.0.0.0", "network"), ("10.0.0.3", "broadcast")] {
        let error = node.request("a", requested).unwrap_err();
        assert_eq!(error.details, format!("it is the {name} address of 10.0.0.0/30"));
    }
    assert_eq!(node.add_one("a"), "10.0.0.2");
    let error = node.add("b").unwrap_err();
    assert_eq!(
        error.msg,
        "failed to allocate for range 0: no IP addresses available in range set: \
         10.0.0.0-10.0.0.3"
    );
    assert!(error.details.starts_with("range set 0 (10.0.0.0-10.0.0.3): 1 of 1 addresses leased"));
}

#[test]
fn all_sets_or_none() {
    let node = Node::new(&["10.0.0.0/24", "10.1.0.0/30"]);
    node.add("a").unwrap();
    let error = node.add("b").unwrap_err();
    assert!(error.msg.starts_with("failed to allocate for range 1: no IP addresses available"));
    assert_eq!(node.leases(), ["10.0.0.2", "10.1.0.2"]);
    assert!(node.holds("b").is_empty() && node.is_signed());
    node.del("a");
    assert_eq!(node.add("b").unwrap(), ["10.0.0.4", "10.1.0.2"]);
}

#[test]
fn exhaustion_is_exact_and_told() {
    let node = Node::new(&["10.0.0.0/29", "10.1.0.0/24"]);
    for n in 0..5 {
        assert!(node.open().exhausted(&node.sets).unwrap().is_empty());
        node.add(&format!("c{n}")).unwrap();
    }
    let full = node.open().exhausted(&node.sets).unwrap();
    let text = "range set 0 (10.0.0.1-10.0.0.6): 5 of 5 addresses leased";
    assert_eq!(full.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    assert!(node.add("x").is_err());
    node.del("c3");
    assert!(node.open().exhausted(&node.sets).unwrap().is_empty());
    assert_eq!(node.add_one("x"), "10.0.0.5");
}

#[test]
fn foreign_leases_are_honoured_found_and_released() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.write("10.0.0.2", " theirs\r\neth0\n");
    node.write("10.0.0.3", "old");
    assert_eq!(node.add_one("a"), "10.0.0.4");
    // While our index is in use, too.
    node.write("10.0.0.5", "late\r\neth0");
    assert_eq!(node.holds("late"), ["10.0.0.5"]);
    assert_eq!(node.holds("theirs"), ["10.0.0.2"]);
    assert_eq!(node.add_one("b"), "10.0.0.6");
    assert_eq!(node.holds("old"), ["10.0.0.3"]);
    assert!(node.add("old").unwrap_err().msg.contains("10.0.0.3 has been allocated to old"));
    fs::remove_file(node.dir().join("10.0.0.6")).unwrap();
    assert!(node.holds("b").is_empty());
    for id in ["theirs", "old", "late", "a", "b"] {
        node.del(id);
    }
    assert!(node.leases().is_empty());
}

#[test]
fn files_of_the_container_alone_count_only_where_there_are_no_others() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.add("a").unwrap();
    node.write("10.0.0.9", "a");
    node.del("a");
    assert_eq!(node.leases(), ["10.0.0.9"]);
    node.del("a");
    assert!(node.leases().is_empty());
}

#[test]
fn what_is_no_lease_is_left_alone_or_taken_over() {
    let node = Node::new(&["10.0.0.0/28"]);
    node.write("10.0.0.2", "");
    node.write("10.0.0.3", "\0\0\0\0");
    for name in ["README", "10.0.0", "FD00::1", "last_reserved_ip.7", "10.0.0.4.bak"] {
        node.write(name, "a\r\neth0");
    }
    fs::create_dir(node.dir().join("10.0.0.4")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", node.dir().join("10.0.0.5")).unwrap();
    let _socket = UnixListener::bind(node.dir().join("10.0.0.6")).unwrap();
    nix::unistd::mkfifo(&node.dir().join("10.0.0.7"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let leased: Vec<_> = (0..9).map_while(|n| node.add(&format!("c{n}")).ok()).collect();
    let leased: Vec<_> = leased.concat();
    assert_eq!(leased[..3], ["10.0.0.2", "10.0.0.3", "10.0.0.8"]);
    assert_eq!(leased.len(), 13 - 4);
    node.del("a");
    node.open().collect(&|_| false).unwrap();
    for name in ["README", "10.0.0", "FD00::1", "last_reserved_ip.7", "10.0.0.4.bak", "10.0.0.7"] {
        assert!(node.dir().join(name).symlink_metadata().is_ok(), "{name}");
    }
    assert_eq!(node.leases().len(), 4);
}

#[test]
fn gc_keeps_what_is_valid_and_nothing_else() {
    let node = Node::new(&["10.0.0.0/24"]);
    for n in 0..20 {
        node.add(&format!("c{n}")).unwrap();
    }
    node.write("10.0.0.100", "c3");
    node.write("10.0.0.101", "gone");
    node.write("10.0.0.102", "");
    node.write("10.0.0.103", "c4\r\neth1");
    let wanted = |h: &Holder| ["c3", "c4"].contains(&&*h.container_id) && h.ifname != "eth1";
    node.open().collect(&wanted).unwrap();
    assert_eq!(node.leases(), ["10.0.0.100", "10.0.0.5", "10.0.0.6"]);
    assert!(node.dir().join("lock").exists() && node.dir().join("last_reserved_ip.0").exists());
    assert!(node.is_signed());
    assert_eq!(node.holds("c4"), ["10.0.0.6"]);
    node.open().collect(&|_| false).unwrap();
    assert!(node.leases().is_empty());
}

#[test]
fn threads_race() {
    let node = Node::new(&["10.0.0.0/24", "fd00::/64"]);
    let all: Vec<Vec<String>> = std::thread::scope(|scope| {
        let node = &node;
        let start = |n: usize| {
            scope.spawn(move || {
                (0..10)
                    .flat_map(|i| {
                        let id = format!("c{n}-{i}");
                        let leased = node.add(&id).unwrap();
                        if i % 2 == 0 {
                            node.del(&id);
                            return Vec::new();
                        }
                        leased
                    })
                    .collect()
            })
        };
        let running: Vec<_> = (0..8).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all = all.concat();
    all.sort();
    assert_eq!(all.len(), 80);
    assert_eq!(all, node.leases(), "every address once, none lost");
}

/// Whether a process waits for the lock of a file with this inode: `1: -> FLOCK … 00:2b:inode 0 EOF`.
fn awaits(inode: &str) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let mut waiting = locks.lines().filter(|line| line.contains("->"));
    waiting.any(|line| line.split([' ', ':']).any(|word| word == inode))
}

#[test]
fn a_directory_removed_while_we_wait_is_made_again() {
    let node = Node::new(&["10.0.0.0/24"]);
    let store = node.open();
    let inode = fs::metadata(node.dir().join("lock")).unwrap().ino().to_string();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.add_one("a"));
        while !awaits(&inode) {
            assert!(!waiting.is_finished(), "it did not wait for the lock");
            std::thread::yield_now();
        }
        fs::remove_dir_all(node.dir()).unwrap();
        drop(store);
        assert_eq!(waiting.join().unwrap(), "10.0.0.2");
    });
    assert_eq!(node.leases(), ["10.0.0.2"]);
}

#[test]
fn a_long_life_leaves_no_trace() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.add("keep").unwrap();
    let count =
        || fs::read_dir(node.own()).unwrap().count() + fs::read_dir(node.dir()).unwrap().count();
    let before = (count(), fs::metadata(node.own().join("index")).unwrap().len());
    for n in 0..600 {
        node.add(&format!("c{n}")).unwrap();
        node.del(&format!("c{n}"));
    }
    assert_eq!((count(), fs::metadata(node.own().join("index")).unwrap().len()), before);
    let index = Index::open(&node.own().join("index")).unwrap();
    assert_eq!((index.slots().len(), index.header.used), (1, 1));
}
