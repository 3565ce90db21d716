//! The name of the node set that is probably meant, where none is this node's.

/// A name that differs by case wins over one that differs by its domain.
pub(super) fn name<'a>(own: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let host = |name: &'a str| name.split('.').next().unwrap_or_default();
    let own_host = own.split('.').next().unwrap_or_default();
    let by_case = names.clone().find(|name| name.eq_ignore_ascii_case(own));
    // Of two full names with different domains neither is the other.
    let one_is_short = |name: &&str| !name.contains('.') || !own.contains('.');
    let mut by_host =
        names.filter(one_is_short).filter(|name| host(name).eq_ignore_ascii_case(own_host));
    by_case.or_else(|| by_host.next()).filter(|_| !own_host.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_case_and_domain_make_names_similar() {
        let set = ["node-2", "Node-1", "node-3.example.com", "node-30"];
        for (own, similar) in [
            ("node-1", Some("Node-1")),
            ("NODE-2", Some("node-2")),
            ("node-2.example.com", Some("node-2")),
            ("node-3", Some("node-3.example.com")),
            ("NODE-3.EXAMPLE.COM", Some("node-3.example.com")),
            ("node-3.example.org", None),
            ("node", None),
            ("", None),
        ] {
            assert_eq!(super::name(own, set.into_iter()).as_deref(), similar, "{own}");
        }
    }
}
