//! Routing by source in the kernel ([`SourceRouting`]).

use crate::compare::Differences;
use crate::kernel::{Kernel, Result};
use crate::place::Place;
use crate::sourced::{LinkRoute, Routing, SourceRouting};
use net::{route, rule};
use std::net::IpAddr;

/// Routes without a next hop first: the others' next hops are reached by them.
fn in_order(routes: &[LinkRoute]) -> Vec<&LinkRoute> {
    let mut ordered: Vec<_> = routes.iter().collect();
    ordered.sort_by_key(|route| route.gateway.is_some());
    ordered
}

impl Kernel {
    /// The routing of the pod, as far as it concerns an interface.
    ///
    /// # Errors
    /// The interface is not there, or the kernel could not be asked.
    pub fn routing(&mut self, link: &str) -> Result<Routing> {
        let index = self.index(Place::Pod, link)?;
        let socket = &mut self.pod()?.socket;
        let mut found = Routing::default();
        for v6 in [false, true] {
            for rule in list_rules(socket, v6)? {
                found.tables.push(rule.table);
                found.rules.extend(rule.source.map(|source| (source, rule.table)));
            }
            for route in socket.list(&route::list(v6))? {
                found.tables.push(route.table);
                let list = match route.table {
                    route::MAIN => &mut found.routes,
                    _ => &mut found.others,
                };
                list.extend(LinkRoute::of(&route, index));
            }
        }
        Ok(found)
    }

    pub(crate) fn add_source_routing(&mut self, routing: &SourceRouting) -> Result<()> {
        let index = self.index(Place::Pod, &routing.link)?;
        let socket = &mut self.pod()?.socket;
        for (source, table) in &routing.rules {
            match socket.set(&rule::add(*source, *table)) {
                Err(error) if !error.is_exists() => return Err(error.into()),
                _ => {}
            }
        }
        for added in in_order(&routing.added) {
            socket.set(&route::replace(&added.route(index)))?;
        }
        for removed in in_order(&routing.removed).into_iter().rev() {
            match socket.set(&route::del_one(&removed.route(index))) {
                // A route goes with another that leads to its next hop.
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn check_source_routing(&mut self, wanted: &SourceRouting) -> Result<Differences> {
        let index = self.index(Place::Pod, &wanted.link)?;
        let found = self.routing(&wanted.link)?;
        let mut all = Vec::new();
        for (source, table) in &wanted.rules {
            if !found.rules.contains(&(*source, *table)) {
                all.push(format!("no rule leads packets from {source} to table {table}"));
            }
        }
        let socket = &mut self.pod()?.socket;
        let mut present = socket.list(&route::list(false))?;
        present.extend(socket.list(&route::list(true))?);
        let present: Vec<_> =
            present.iter().filter_map(|route| LinkRoute::of(route, index)).collect();
        let is = |one: &LinkRoute, other: &LinkRoute| {
            (one.dst, one.gateway, one.table, one.priority)
                == (other.dst, other.gateway, other.table, other.priority)
                && (other.source.is_none() || one.source == other.source)
        };
        for added in &wanted.added {
            if !present.iter().any(|route| is(route, added)) {
                all.push(format!("the route {} is missing", added.route(index)));
            }
        }
        for removed in &wanted.removed {
            let again = wanted.added.iter().any(|added| is(added, removed));
            if !again && present.iter().any(|route| is(route, removed)) {
                all.push(format!("the route {} is in the main table again", removed.route(index)));
            }
        }
        Ok(all)
    }

    /// Takes the routing back, if its rules are there: this may be the namespace of another pod by now.
    /// They go last, so that a second try finds them after an error. Of a link that is gone only the
    /// rules are left.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn remove_source_routing(&mut self, routing: &SourceRouting) -> Result<()> {
        if !self.has_pod() {
            return Ok(());
        }
        let link = match self.link(Place::Pod, &routing.link) {
            Err(crate::kernel::Error::Net(error)) if error.is_gone() => return Ok(()),
            link => link?,
        };
        let socket = &mut self.pod()?.socket;
        let mut present = list_rules(socket, false)?;
        present.extend(list_rules(socket, true)?);
        let is_there = |(source, table): &&(IpAddr, u32)| {
            present.contains(&rule::Rule { source: Some(*source), table: *table })
        };
        let rules: Vec<_> = routing.rules.iter().filter(is_there).collect();
        if let (Some(link), false) = (&link, rules.is_empty()) {
            put_back(socket, routing, link)?;
        }
        for (source, table) in rules {
            match socket.set(&rule::del(*source, *table)) {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the rules for packets from an interface's addresses, to one table or to any: without a
    /// record nothing else tells whose they are. The interface's routes in their tables, unless a table
    /// is given, go back into the main table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_rules_of(&mut self, link: &str, table: Option<u32>) -> Result<()> {
        if !self.has_pod() {
            return Ok(());
        }
        let addresses = match self.addresses(Place::Pod, link) {
            Err(crate::kernel::Error::Net(error)) if error.is_gone() => return Ok(()),
            addresses => addresses?,
        };
        let Routing { mut rules, others, .. } = self.routing(link)?;
        rules.retain(|(source, found)| {
            table.is_none_or(|table| table == *found)
                && addresses.iter().any(|address| address.ip() == *source)
        });
        let mut routing = SourceRouting { link: link.to_owned(), rules, ..Default::default() };
        if table.is_none() {
            let in_tables = |route: &LinkRoute| routing.rules.iter().any(|r| r.1 == route.table);
            routing.added = others.into_iter().filter(in_tables).collect();
            let back = |route: &LinkRoute| LinkRoute { table: route::MAIN, ..route.clone() };
            routing.removed = routing.added.iter().map(back).collect();
        }
        self.remove_source_routing(&routing)
    }
}

/// A kernel without IPv6 has no rules of it.
fn list_rules(socket: &mut net::Socket, v6: bool) -> Result<Vec<rule::Rule>> {
    match socket.list(&rule::list(v6)) {
        Err(error) if error.is_unsupported() => Ok(Vec::new()),
        rules => Ok(rules?),
    }
}

/// Removes the routes that were added, and restores the others, which a link that is down cannot have.
fn put_back(socket: &mut net::Socket, routing: &SourceRouting, link: &net::Link) -> Result<()> {
    for added in in_order(&routing.added).into_iter().rev() {
        match socket.set(&route::del_one(&added.route(link.index))) {
            Err(error) if !error.is_gone() => return Err(error.into()),
            _ => {}
        }
    }
    let before: Vec<_> = routing.removed.iter().chain(&routing.replaced).cloned().collect();
    for route in in_order(&before).into_iter().filter(|_| link.up) {
        match socket.set(&route::create(&route.route(link.index))) {
            Err(error) if !error.is_exists() && !error.is_gone() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
