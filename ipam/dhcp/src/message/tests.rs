use super::*;
use proptest::prelude::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn offer() -> Message {
    Message {
        is_reply: true,
        yiaddr: Ipv4Addr::new(10, 0, 0, 9),
        ..Message::new(Kind::Offer, 7, MAC)
    }
}

#[test]
fn a_message_is_read_as_it_was_written() {
    let sent = offer()
        .with(option::ROUTER, [10, 0, 0, 1, 10, 0, 0, 2])
        .with(option::LEASE_TIME, 3600u32.to_be_bytes())
        .with(option::CLIENT, vec![1; 255]);
    let bytes = sent.encode();
    assert_eq!(bytes[240..243], [53, 1, 2], "its kind comes first");
    let read = Message::decode(&bytes).unwrap();
    assert_eq!(read, sent);
    assert_eq!(read.kind(), Some(Kind::Offer));
    assert_eq!(read.addresses(option::ROUTER), [[10, 0, 0, 1], [10, 0, 0, 2]].map(Ipv4Addr::from));
    assert_eq!(read.number(option::LEASE_TIME), Some(3600));
    assert_eq!((read.address(option::SERVER), read.number(option::RENEWAL_TIME)), (None, None));
    assert!(Message::new(Kind::Discover, 1, MAC).encode().len() >= 300);
}

/// RFC 3396: the parts of an option are joined.
#[test]
fn long_options_are_split_and_joined() {
    let sent = offer().with(option::CLASSLESS_ROUTE, vec![7; 600]);
    assert_eq!(Message::decode(&sent.encode()).unwrap(), sent);
}

#[test]
fn options_in_the_fields_of_names_are_read() {
    let mut bytes = offer().with(option::OVERLOAD, [3]).encode();
    bytes[108..115].copy_from_slice(&[3, 4, 10, 0, 0, 1, 255]);
    bytes[44..47].copy_from_slice(&[12, 1, b'x']);
    let read = Message::decode(&bytes).unwrap();
    assert_eq!(read.address(option::ROUTER), Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(read.text(option::HOST_NAME).as_deref(), Some("x"));
}

#[test]
fn an_option_that_is_cut_short_ends_them() {
    let mut bytes = offer().encode();
    bytes.truncate(243);
    bytes.extend([3, 4, 10, 0]);
    let read = Message::decode(&bytes).unwrap();
    assert_eq!((read.kind(), read.address(option::ROUTER)), (Some(Kind::Offer), None));
}

#[test]
fn what_is_no_message_is_none() {
    let bytes = offer().encode();
    assert_eq!(Message::decode(&bytes[..239]), None);
    for (at, value) in [(1, 6), (2, 16), (236, 0)] {
        let mut torn = bytes.clone();
        torn[at] = value;
        assert_eq!(Message::decode(&torn), None, "byte {at}");
    }
}

#[test]
fn texts_have_no_control_characters() {
    let read = offer().with(option::MESSAGE, b"no\n\x1b[31m lease\0".to_vec());
    assert_eq!(read.text(option::MESSAGE).as_deref(), Some("no[31m lease"));
}

proptest! {
    #[test]
    fn no_bytes_panic(head in prop::collection::vec(any::<u8>(), 0..260), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&head);
        let mut bytes = offer().encode();
        bytes.truncate(240);
        bytes.extend(rest);
        let read = Message::decode(&bytes).unwrap();
        prop_assert_eq!(Message::decode(&read.encode()).map(|again| again.options), Some(read.options.clone()));
    }
}
