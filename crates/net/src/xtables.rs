//! iptables-legacy: its rules are not in nf_tables, and only `getsockopt` on a raw socket tells them
//! (IPT_SO_GET_ENTRIES, linux/netfilter_ipv4/ip_tables.h). They are read, never written: a change
//! replaces the whole table.

use netlink::{Error, Result};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

mod table;
use table::{Layout, Table};

/// IPT_BASE_CTL and IP6T_BASE_CTL; both families' options have the same numbers.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;

/// Whether chain FORWARD of iptables-legacy drops by its policy what an address sends, in the network
/// namespace of the thread. A packet with `mark` may be let through by a rule `-m mark --mark
/// MARK/MARK -j ACCEPT`, one of the address by `-s SUBNET -j ACCEPT`. A kernel without ip_tables, or
/// without its table `filter`, drops nothing.
///
/// # Errors
/// The kernel refuses to tell.
pub fn forward_drops(address: IpAddr, mark: u32) -> Result<bool> {
    crate::not_astray()?;
    let (layout, names) = match address {
        IpAddr::V4(_) => (Layout::V4, "/proc/thread-self/net/ip_tables_names"),
        IpAddr::V6(_) => (Layout::V6, "/proc/thread-self/net/ip6_tables_names"),
    };
    // A question about a table that does not exist would make it.
    let names = fs::read_to_string(names).unwrap_or_default();
    if !names.lines().any(|name| name == "filter") {
        return Ok(false);
    }
    let read = |error| Error::io("read the rules of iptables-legacy", &error);
    let table = read_table(layout).map_err(read)?;
    Ok(table.is_some_and(|table| table.forward_drops(address, mark)))
}

fn read_table(layout: Layout) -> io::Result<Option<Table>> {
    let (domain, level) = match layout {
        Layout::V4 => (socket2::Domain::IPV4, libc::IPPROTO_IP),
        Layout::V6 => (socket2::Domain::IPV6, libc::IPPROTO_IPV6),
    };
    let raw = Some(socket2::Protocol::from(libc::IPPROTO_RAW));
    let socket = socket2::Socket::new(domain, socket2::Type::RAW, raw)?;
    // EAGAIN: the table became another between the two questions.
    for _ in 0..REPEATS {
        let mut info = table::question(table::INFO_LEN, 0);
        get_option(&socket, level, GET_INFO, &mut info)?;
        let Some(size) = table::size(&info) else { return Ok(None) };
        let mut entries = table::question(table::ENTRIES_HEAD + size as usize, size);
        match get_option(&socket, level, GET_ENTRIES, &mut entries) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done.map(|()| Table::read(layout, &info, &entries)),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// How often another process may change the table while it is read.
const REPEATS: u32 = 16;

fn get_option(socket: &impl AsFd, level: i32, name: i32, value: &mut [u8]) -> io::Result<()> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which lives to the end of the
    // call, and keeps no pointer; the descriptor is open as long as `socket` is borrowed.
    #[expect(unsafe_code, reason = "nix and socket2 do not know IPT_SO_GET_INFO")]
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::process::Command;

    const MARK: u32 = 0x1000;

    /// The tool and an address.
    const FAMILIES: [(&str, &str, &str); 2] = [
        ("iptables-legacy", "10.1.0.5", "10.1.0.0/16"),
        ("ip6tables-legacy", "2001:db8::5", "2001:db8::/32"),
    ];

    fn run(tool: &str, rule: &str) {
        let done = Command::new(tool).args(["-w"]).args(rule.split(' ')).status();
        assert!(done.expect("iptables is missing").success(), "{tool} {rule}");
    }

    fn in_netns(test: impl Fn(&str, IpAddr, &str) + Send + Sync + Copy + 'static) {
        for (tool, address, subnet) in FAMILIES {
            let thread = std::thread::spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
                test(tool, address.parse().unwrap(), subnet);
            });
            thread.join().unwrap();
        }
    }

    #[test]
    fn without_a_table_nothing_is_dropped_and_none_is_made() {
        in_netns(|_, address, _| {
            assert!(!forward_drops(address, MARK).unwrap());
            for names in
                ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"]
            {
                assert_eq!(fs::read_to_string(names).unwrap_or_default(), "");
            }
        });
    }

    #[test]
    fn the_policy_drops_unless_a_rule_accepts_the_address_or_the_mark() {
        in_netns(|tool, address, subnet| {
            run(tool, "-A FORWARD -p tcp --dport 80 -j ACCEPT");
            assert!(!forward_drops(address, MARK).unwrap());
            run(tool, "-P FORWARD DROP");
            assert!(forward_drops(address, MARK).unwrap());
            for accepts in [
                format!("-s {subnet} -j ACCEPT"),
                format!("-m mark --mark {MARK:#x}/{MARK:#x} -j ACCEPT"),
            ] {
                run(tool, &format!("-I FORWARD {accepts}"));
                assert!(!forward_drops(address, MARK).unwrap(), "{accepts}");
                run(tool, &format!("-D FORWARD {accepts}"));
            }
            for not in [
                format!("-d {subnet} -j ACCEPT"),
                format!("-s {subnet} -i eth7 -j ACCEPT"),
                format!("! -s {subnet} -j ACCEPT"),
                format!("-s {subnet} -p udp -j ACCEPT"),
                "-m mark --mark 0x2000/0x2000 -j ACCEPT".to_owned(),
                format!("-s {subnet} -j DROP"),
            ] {
                run(tool, &format!("-I FORWARD {not}"));
                assert!(forward_drops(address, MARK).unwrap(), "{not}");
                run(tool, &format!("-D FORWARD {not}"));
            }
            run(tool, "-A FORWARD -j ACCEPT");
            assert!(!forward_drops(address, MARK).unwrap());
        });
    }
}
