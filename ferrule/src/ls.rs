//! `ferrule ls`: the node's attachments.

use crate::attachments::Attached;
use crate::output::{age, columns, plain};

/// The attachments as a table; orphans are marked, with the reason below.
#[must_use]
pub fn table(all: &[Attached]) -> String {
    if all.is_empty() {
        return "no attachments on this node\n".to_owned();
    }
    let head = ["", "POD", "INTERFACE", "ADDRESS", "LINK", "NETWORK", "AGE", "OWNS"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(all.iter().map(row));
    let mut text = columns(&rows);
    let orphans: Vec<&Attached> = all.iter().filter(|one| one.orphan.is_some()).collect();
    if !orphans.is_empty() {
        text.push_str(
            "\norphans (!): the next DEL or GC of the runtime removes what is left of them\n",
        );
        for one in orphans {
            let why = one.orphan.as_deref().unwrap_or_default();
            let (container, network) = (plain(&one.container), plain(&one.network));
            text += &format!("  {container} {} on {network}: {}\n", plain(&one.ifname), plain(why));
        }
    }
    text
}

fn row(one: &Attached) -> [String; 8] {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let addresses: Vec<String> = one.addresses.iter().map(ToString::to_string).collect();
    // The link has its own column.
    let owns = one.owns.iter().filter(|owned| !owned.starts_with("link "));
    [
        if one.orphan.is_some() { "!" } else { " " }.to_owned(),
        or_dash(plain(&one.name())),
        or_dash(plain(&one.ifname)),
        or_dash(addresses.join(",")),
        or_dash(one.link.clone().unwrap_or_default()),
        or_dash(plain(&one.network)),
        one.age.map_or_else(|| "-".to_owned(), age),
        or_dash(plain(&owns.cloned().collect::<Vec<_>>().join("; "))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_are_marked_with_the_reason() {
        let well = Attached {
            container: "c1".to_owned(),
            ifname: "eth0".to_owned(),
            network: "pods".to_owned(),
            addresses: vec![[10, 1, 0, 2].into()],
            link: Some("veth1".to_owned()),
            age: Some(61),
            owns: vec!["link veth1".to_owned(), "masquerade of 10.1.0.2".to_owned()],
            ..Attached::default()
        };
        let orphan = Attached {
            container: "c2".to_owned(),
            orphan: Some("its link veth2 is gone".to_owned()),
            ..well.clone()
        };
        let text = table(&[well, orphan]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].trim_start().starts_with("POD"), "{text}");
        assert!(lines[1].ends_with("pods     1m   masquerade of 10.1.0.2"), "{text}");
        assert!(lines[2].starts_with("!  c2 "), "{text}");
        assert_eq!(lines[5], "  c2 eth0 on pods: its link veth2 is gone");
    }
}
