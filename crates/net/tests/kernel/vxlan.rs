//! VXLAN devices.

use crate::common::{FAR, NEAR, in_netns, ip, look, new_bridge, open};
use net::link::{self, VxlanInfo};
use net::vxlan::{Vxlan, add_vxlan};

fn vxlan<'a>(name: &'a str, local: &str, underlay: u32) -> Vxlan<'a> {
    let local = local.parse().unwrap();
    Vxlan { name, mac: NEAR, vni: 0x12_3456, port: 4790, local, underlay, mtu: 1370 }
}

#[test]
fn what_is_made_is_what_is_reported() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        for (local, shown) in [("192.0.2.1", "local 192.0.2.1"), ("fd00::1", "local fd00::1")] {
            let wanted = vxlan("vx", local, underlay);
            socket.set(&add_vxlan(&wanted)).unwrap();
            let found = look(&mut socket, "vx");
            let info = VxlanInfo {
                vni: wanted.vni,
                port: wanted.port,
                local: Some(wanted.local),
                device: underlay,
                learning: false,
            };
            assert_eq!(found.vxlan.as_deref(), Some(&info));
            assert_eq!((found.kind.as_str(), found.mac, found.mtu), ("vxlan", NEAR, 1370));
            assert!(!found.up && !found.carrier);
            let line = ip("-d link show vx");
            for part in ["vxlan id 1193046 ", "dev br ", "dstport 4790 ", "nolearning ", shown] {
                assert!(line.contains(part), "{part:?} in {line}");
            }
            socket.set(&link::set_up(found.index, "vx")).unwrap();
            assert!(look(&mut socket, "vx").carrier);
            socket.set(&link::del(found.index, "vx")).unwrap();
        }
    });
}

#[test]
fn what_others_make_is_read_too() {
    in_netns(|| {
        let mut socket = open();
        ip("link add one type vxlan id 7 dstport 8472 learning");
        let info = VxlanInfo { vni: 7, port: 8472, local: None, device: 0, learning: true };
        assert_eq!(look(&mut socket, "one").vxlan.as_deref(), Some(&info));
        ip("link add two type bridge");
        assert_eq!(look(&mut socket, "two").vxlan, None);
    });
}

#[test]
fn the_same_vni_and_port_are_refused_to_a_second_device() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        socket.set(&add_vxlan(&vxlan("one", "192.0.2.1", underlay))).unwrap();
        let second = Vxlan { mac: FAR, ..vxlan("two", "192.0.2.2", underlay) };
        let error = socket.set(&add_vxlan(&second)).unwrap_err();
        assert!(error.is_exists(), "{error}");
        assert_eq!(error.what, "create VXLAN device two (VNI 1193046, port 4790)");
        // Other of either is another network.
        socket.set(&add_vxlan(&Vxlan { port: 4791, ..second.clone() })).unwrap();
        socket.set(&add_vxlan(&Vxlan { name: "three", vni: 8, ..second })).unwrap();
    });
}

#[test]
fn it_goes_with_its_underlay() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        socket.set(&add_vxlan(&vxlan("vx", "192.0.2.1", underlay))).unwrap();
        socket.set(&link::del(underlay, "br")).unwrap();
        assert_eq!(socket.get(&link::by_name("vx")).unwrap(), None);
    });
}

#[test]
fn without_an_underlay_the_routes_choose() {
    in_netns(|| {
        let mut socket = open();
        for local in ["192.0.2.1", "fd00::1"] {
            socket.set(&add_vxlan(&Vxlan { mtu: 8950, ..vxlan("vx", local, 0) })).unwrap();
            let found = look(&mut socket, "vx");
            let info = found.vxlan.unwrap();
            assert_eq!((info.device, info.local, found.mtu), (0, local.parse().ok(), 8950));
            socket.set(&link::set_up(found.index, "vx")).unwrap();
            socket.set(&link::del(found.index, "vx")).unwrap();
        }
    });
}

#[test]
fn a_missing_underlay_is_told() {
    in_netns(|| {
        let wanted = vxlan("vx", "192.0.2.1", 999);
        assert!(open().set(&add_vxlan(&wanted)).unwrap_err().is_gone());
    });
}
