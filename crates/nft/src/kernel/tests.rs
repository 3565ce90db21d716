//! What rules of other features need, in a real kernel and listed by `nft`: each is a type or an
//! expression more, and a saved ruleset loads again.

use std::io::Write;
use std::process::{Command, Stdio};

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Expressions, InetHookNumber, MetaKey, NfTablesMessage, Register, RuleAttribute,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use nix::sched::{CloneFlags, unshare};

use crate::Nft;
use crate::kernel::batch::{BaseChain, Batch, Table};
use crate::kernel::expr::nat::{counter, dnat_by};
use crate::kernel::expr::{
    Expr, Ip, Limit, NETWORK_HEADER, NF_ACCEPT, NF_DROP, Rule, TRANSPORT_HEADER, expr, guard,
    limit_over, load, lookup, meta, update, verdict,
};
use crate::kernel::raw::same;
use crate::kernel::set::unused::MARK;
use crate::kernel::set::{
    Data, DataType, Element, IPV4_ADDR, IPV6_ADDR, PORT, PROTOCOL, Set, Span, Verdict,
};

const TABLE: Table =
    Table { family: NetfilterProtoFamily::Inet, name: "shown", title: "inet shown" };
const NAT: BaseChain =
    BaseChain { name: "nat", kind: "nat", hook: InetHookNumber::PreRouting, priority: -100 };
const FORWARD: BaseChain =
    BaseChain { name: "forward", kind: "filter", hook: InetHookNumber::Forward, priority: 0 };

/// NFT_REG32_01 and NFT_REG32_02: the words behind the first one of register 1.
const WORDS: [Register; 2] = [Register::Reg32_01, Register::Reg32_02];

fn nft(args: &[&str], input: &str) -> String {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool nft is missing: apt-get install nftables");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft {args:?}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

/// The rules that a batch adds, in order.
fn rules(batch: &Batch) -> Vec<Rule> {
    let expressions = |(message, _): (NetfilterMessage, u16)| match message.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) => {
            rule.attributes.into_iter().find_map(|attribute| match attribute {
                RuleAttribute::Expressions(rule) => Some(rule),
                _ => None,
            })
        }
        _ => None,
    };
    batch.messages().filter_map(expressions).collect()
}

/// Sends what is added to a table with one chain, in a network namespace of its own; `nft` lists it
/// with these lines, and loads what it listed.
fn shown(
    chain: BaseChain,
    add: impl FnOnce(&mut Batch) + Send + 'static,
    lines: &'static [&'static str],
) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        let mut batch = Batch::new(TABLE);
        batch.add_table();
        batch.add_base_chain(&chain);
        add(&mut batch);
        let mut kernel = Nft::open().unwrap();
        kernel.socket.commit(&batch, None).unwrap();
        let dumped = kernel.table_rules(TABLE).unwrap();
        for (rule, dumped) in rules(&batch).iter().zip(dumped.of(chain.name)) {
            assert!(same(rule, dumped), "{rule:?} is dumped as {dumped:02x?}");
        }
        let listed = nft(&["list", "ruleset"], "");
        for line in lines {
            assert!(listed.contains(line), "{line:?} is not in:\n{listed}");
        }
        nft(&["flush", "ruleset"], "");
        nft(&["-f", "-"], &listed);
        assert_eq!(nft(&["list", "ruleset"], ""), listed);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn element(set: Set<'static>, key: Vec<u8>, data: Option<Data>) -> Element {
    Element { set, key, title: String::new(), data, comment: "x".to_owned() }
}

fn ip(offset: u32, to: Register) -> [Expr; 3] {
    let [meta, cmp] = guard(Ip::V4);
    [meta, cmp, load(NETWORK_HEADER, offset, 4, to)]
}

#[test]
fn a_dnat_map_of_address_protocol_and_port_to_address_and_port() {
    const SERVICES: Set<'static> = Set::map(
        "services",
        IPV4_ADDR.then(PROTOCOL).then(PORT),
        DataType::Value(IPV4_ADDR.then(PORT)),
    );
    let add = |batch: &mut Batch| {
        batch.add_set(&SERVICES);
        let key = vec![10, 96, 0, 10, 6, 0, 0, 0, 0, 80, 0, 0];
        let to = Data::Value(vec![10, 1, 0, 5, 0x1f, 0x90, 0, 0]);
        batch.add_element(&element(SERVICES, key, Some(to)));
        let mut rule: Rule = ip(Ip::V4.daddr(), Register::Reg1).to_vec();
        rule.push(meta(MetaKey::L4Proto, WORDS[0]));
        rule.push(load(TRANSPORT_HEADER, 2, 2, WORDS[1]));
        rule.push(counter());
        rule.extend(dnat_by(Ip::V4, SERVICES.name));
        batch.add_rules(NAT.name, &[rule]);
    };
    const LINES: &[&str] = &[
        "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
        "10.96.0.10 . tcp . 80 comment \"x\" : 10.1.0.5 . 8080",
        "counter packets 0 bytes 0 dnat ip to ip daddr . meta l4proto . th dport map @services",
    ];
    shown(NAT, add, LINES);
}

#[test]
fn dnat_and_counter_are_dumped_as_they_are_sent() {
    const TARGETS: [Set<'static>; 2] = [
        Set::map("targets4", PROTOCOL.then(PORT), DataType::Value(IPV4_ADDR.then(PORT))),
        Set::map("targets6", PROTOCOL.then(PORT), DataType::Value(IPV6_ADDR.then(PORT))),
    ];
    let add = |batch: &mut Batch| {
        for (ip, set) in [Ip::V4, Ip::V6].into_iter().zip(&TARGETS) {
            batch.add_set(set);
            let mut rule: Rule = guard(ip).to_vec();
            rule.push(meta(MetaKey::L4Proto, Register::Reg1));
            rule.extend([load(TRANSPORT_HEADER, 2, 2, WORDS[0]), counter()]);
            rule.extend(dnat_by(ip, set.name));
            batch.add_rules(NAT.name, &[rule]);
        }
    };
    const LINES: &[&str] = &[
        "dnat ip to meta l4proto . th dport map @targets4",
        "dnat ip6 to meta l4proto . th dport map @targets6",
    ];
    shown(NAT, add, LINES);
}

#[test]
fn a_dynamic_set_that_rules_fill_and_that_forgets() {
    const SEEN: Set<'static> = Set::new("seen", IPV4_ADDR).dynamic(65535, 60_000);
    let add = |batch: &mut Batch| {
        batch.add_set(&SEEN);
        let mut rule: Rule = ip(Ip::V4.saddr(), Register::Reg1).to_vec();
        rule.push(update(SEEN.name, limit_over(Limit { rate: 10, burst: 20 })));
        rule.push(verdict(NF_DROP));
        batch.add_rules(FORWARD.name, &[rule]);
    };
    const LINES: &[&str] = &[
        "size 65535",
        "flags dynamic,timeout",
        "timeout 1m",
        "update @seen { ip saddr limit rate over 10/second burst 20 packets } drop",
    ];
    shown(FORWARD, add, LINES);
}

#[test]
fn an_interval_concatenation_of_networks_and_ports() {
    const ALLOWED: Set<'static> = Set::new("allowed", IPV4_ADDR.then(PORT)).intervals();
    let add = |batch: &mut Batch| {
        batch.add_set(&ALLOWED);
        let first = vec![10, 0, 0, 0, 0, 80, 0, 0];
        let end = Some(vec![10, 255, 255, 255, 0, 90, 0, 0]);
        batch.add_spans(&ALLOWED, &[&Span { first, end }]);
        let mut rule: Rule = ip(Ip::V4.saddr(), Register::Reg1).to_vec();
        rule.push(load(TRANSPORT_HEADER, 2, 2, WORDS[0]));
        rule.push(lookup(ALLOWED.name, Register::Reg1, false));
        rule.push(verdict(NF_ACCEPT));
        batch.add_rules(FORWARD.name, &[rule]);
    };
    const LINES: &[&str] =
        &["type ipv4_addr . inet_service", "flags interval", "10.0.0.0/8 . 80-90"];
    shown(FORWARD, add, LINES);
}

#[test]
fn a_limit_of_packets_in_a_second() {
    let add = |batch: &mut Batch| {
        // NFTA_LIMIT_RATE and NFTA_LIMIT_UNIT have 8 bytes, NFTA_LIMIT_BURST has 4.
        let long = |kind, value: u64| DefaultNla::new(kind, value.to_be_bytes().to_vec());
        let burst = DefaultNla::new(3, 20_u32.to_be_bytes().to_vec());
        let attributes = vec![long(1, 10), long(2, 1), burst];
        let expression_type = "limit".to_owned();
        let limit = expr(Expressions::Other { expression_type, attributes });
        batch.add_rules(FORWARD.name, &[vec![limit, verdict(NF_ACCEPT)]]);
    };
    shown(FORWARD, add, &["limit rate 10/second burst 20 packets accept"]);
}

#[test]
fn a_map_of_every_verdict_and_one_of_marks() {
    const VERDICTS: Set<'static> = Set::map("verdicts", IPV4_ADDR, DataType::Verdict);
    const MARKS: Set<'static> = Set::map("marks", IPV4_ADDR, DataType::Value(MARK));
    let add = |batch: &mut Batch| {
        batch.add_set(&VERDICTS);
        batch.add_set(&MARKS);
        batch.add_chain("other", "x");
        let verdicts = [
            Verdict::Accept,
            Verdict::Drop,
            Verdict::Return,
            Verdict::Jump("other".to_owned()),
            Verdict::Goto("other".to_owned()),
        ];
        for (last, verdict) in (1..).zip(verdicts) {
            let data = Some(Data::Verdict(verdict));
            batch.add_element(&element(VERDICTS, vec![10, 0, 0, last], data));
        }
        let mark = Some(Data::Value(7_u32.to_ne_bytes().to_vec()));
        batch.add_element(&element(MARKS, vec![10, 0, 0, 1], mark));
    };
    const LINES: &[&str] = &[
        "10.0.0.1 comment \"x\" : accept",
        "10.0.0.2 comment \"x\" : drop",
        "10.0.0.3 comment \"x\" : return",
        "10.0.0.4 comment \"x\" : jump other",
        "10.0.0.5 comment \"x\" : goto other",
        "10.0.0.1 comment \"x\" : 0x00000007",
    ];
    shown(FORWARD, add, LINES);
}
