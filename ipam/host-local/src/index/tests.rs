use super::*;
use proptest::prelude::*;

fn slot(digest: u8, address: u8) -> Slot {
    // Homes crowd at the end of the table, so that probing and shifting wrap around.
    let mut key = [digest; 16];
    key[..8].copy_from_slice(&(LEAST - 3 + u64::from(digest % 5)).to_le_bytes());
    Slot { digest: key, address: IpAddr::from([10, 0, 0, address]), id_only: false, stamp: None }
}

fn new() -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::create(&dir.path().join("index"), &[]).unwrap();
    (dir, index)
}

fn addresses(index: &Index, slot: &Slot) -> Vec<IpAddr> {
    let mut all: Vec<_> =
        index.find(&slot.digest).unwrap().iter().map(|(_, s)| s.address).collect();
    all.sort();
    all
}

#[test]
fn a_directory_in_its_place_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    fs::create_dir(&path).unwrap();
    Index::create(&path, &[slot(1, 1)]).unwrap();
    assert!(path.is_file());
}

#[test]
fn slots_are_kept_whole() {
    let stamp = Stamp { file: Some((7, (8, 9))), boot: [1; 16], machine: Some([2; 16]) };
    let announced = Stamp { file: None, boot: [1; 16], machine: None };
    for stamp in [None, Some(stamp), Some(announced)] {
        for address in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            let address = address.parse().unwrap();
            let slot = Slot { digest: [3; 16], address, id_only: stamp.is_none(), stamp };
            assert_eq!(Slot::decode(&slot.encode()).unwrap(), Some(slot));
        }
    }
    let directory = Some(((-1, 5), (2, 3)));
    for directory in [None, directory] {
        let header =
            Header { capacity: LEAST, used: 3, id_only: 1, directory, boot: Some([4; 16]) };
        assert_eq!(Header::decode(&header.encode()), Some(header));
    }
}

#[test]
fn it_grows_and_is_read_again() {
    let (dir, mut index) = new();
    let all: Vec<Slot> = (0..=250).map(|n| slot(n, n)).collect();
    index.header.boot = Some([9; 16]);
    for slot in &all {
        index.insert(slot).unwrap();
    }
    index.save().unwrap();
    let index = Index::open(&dir.path().join("index")).unwrap();
    assert_eq!((index.header.used, index.header.boot), (251, Some([9; 16])));
    assert!(index.header.capacity > LEAST);
    assert!(all.iter().all(|slot| addresses(&index, slot) == [slot.address]));
    assert_eq!(index.slots().len(), 251);
}

#[test]
fn damage_is_an_error() {
    let (dir, mut index) = new();
    let path = dir.path().join("index");
    let place = index.insert(&slot(1, 1)).unwrap();
    index.save().unwrap();
    index.file.write_all_at(b"x", index.offset(place) + 20).unwrap();
    assert_eq!(index.find(&slot(1, 1).digest).unwrap_err().kind(), io::ErrorKind::InvalidData);
    for content in [&b""[..], b"ferrule1", &[0; 4096], &[0xff; 4096]] {
        fs::write(&path, content).unwrap();
        assert!(Index::open(&path).is_err());
    }
}

#[test]
fn a_full_table_ends_every_search() {
    let (_dir, mut index) = new();
    for n in 0..LEAST {
        index.put(n, &slot(n as u8, 1)).unwrap();
    }
    assert!(index.insert_unless_full(&slot(1, 1)).is_err());
    assert!(index.find(&[0xee; 16]).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u8..40, 0u8..3), 0..200)) {
        let (_dir, mut index) = new();
        let mut model = std::collections::BTreeSet::new();
        for (add, digest, address) in steps {
            let slot = slot(digest, address);
            if !add {
                index.remove(&slot.digest, slot.address).unwrap();
                model.remove(&(digest, address));
            } else if model.insert((digest, address)) {
                index.insert(&slot).unwrap();
            }
        }
        prop_assert_eq!(index.header.used, model.len() as u64);
        prop_assert_eq!(index.slots().len(), model.len());
        for digest in 0..40 {
            let expected: Vec<IpAddr> = model
                .iter()
                .filter(|(d, _)| *d == digest)
                .map(|(_, a)| IpAddr::from([10, 0, 0, *a]))
                .collect();
            prop_assert_eq!(addresses(&index, &slot(digest, 0)), expected);
        }
    }

    #[test]
    fn any_content_is_read(content in any::<Vec<u8>>(), capacity in any::<u64>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let mut file = Header { capacity, ..Header::default() }.encode().to_vec();
        file.extend(content);
        fs::write(&path, file).unwrap();
        if let Ok(index) = Index::open(&path) {
            let _ = index.find(&[1; 16]);
        }
    }
}

/// A header whose checksum is right, and whose figures are not.
#[test]
fn a_header_that_does_not_fit_its_file_is_damage() {
    let (dir, index) = new();
    let path = dir.path().join("index");
    let sound = index.header;
    for header in [
        Header { capacity: 1 << 40, ..sound },
        Header { capacity: 1 << 63, ..sound },
        Header { used: LEAST + 1, ..sound },
        Header { used: u64::MAX, ..sound },
        Header { id_only: u64::MAX, ..sound },
    ] {
        index.file.write_all_at(&header.encode(), 0).unwrap();
        let error = Index::open(&path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{header:?}");
    }
    index.file.write_all_at(&sound.encode(), 0).unwrap();
    assert!(Index::open(&path).is_ok());
    index.file.set_len(300).unwrap();
    assert!(Index::open(&path).is_err());
}
