//! The processes that delete links for DELs that have ended. DEL returns once a link is out of
//! sight; the kernel acknowledges the deletion some 20 ms later, and a process waits for that.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{Pid, getsid};

use crate::ns::Namespace;

/// The processes in a network namespace. Zombies are in none.
pub fn inside(ns: &Namespace) -> Vec<Pid> {
    let named = fs::read_dir("/proc").expect("read /proc").flatten();
    let all = named.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    let netns = |pid: &Pid| fs::metadata(folder(*pid).join("ns/net")).map(|netns| netns.ino());
    all.filter(|pid| netns(pid).is_ok_and(|netns| netns == ns.net_inode())).collect()
}

/// Those of them that delete a link for a DEL: an executable of ours that leads a session, as
/// nothing does that a runtime starts.
pub fn of(ns: &Namespace) -> Vec<Pid> {
    const OURS: [&str; 9] =
        ["bridge", "bgp", "vxlan", "bandwidth", "sbr", "vrf", "portmap", "firewall", "tuning"];
    let ours = |pid: &Pid| OURS.contains(&name(*pid).as_str());
    let leads = |pid: &Pid| getsid(Some(*pid)) == Ok(*pid);
    inside(ns).into_iter().filter(|pid| ours(pid) && leads(pid)).collect()
}

/// A process's folder.
pub fn folder(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// The name of a process's executable; empty once it has ended.
pub fn name(pid: Pid) -> String {
    fs::read_to_string(folder(pid).join("comm")).unwrap_or_default().trim().to_owned()
}

/// The process that started this one.
pub fn parent(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(folder(pid).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}
