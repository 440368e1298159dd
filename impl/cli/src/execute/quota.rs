//! Quotas: nodes below `/zookeeper/quota`, which clients write and servers count for.
//!
//! Source: ZooKeeper `SetQuotaCommand`, `ListQuotaCommand`, `DelQuotaCommand`.

use bytes::Bytes;
use client::{Client, Created};
use tree::{
    Acl,
    quota::{Figures, LIMITS, QUOTA, STATS},
};

use super::{Show, Trouble, at, is_missing, subtree};
use crate::{
    quota::{self, Limits},
    shown::Shown,
};

const PLAIN: Created = Created { ephemeral: false, sequential: false, container: false, ttl_ms: None };

/// Shows the limits of a node, and what is used of them.
pub(super) fn list(client: &Client, path: &str, show: Show<'_>) -> Result<(), Trouble> {
    let home = home(client, path)?;
    let limits = format!("{home}{LIMITS}");
    show(Shown::Aside(format!("absolute path is {limits}")));
    for (node, used) in [(limits, false), (format!("{home}{STATS}"), true)] {
        let figures = match client.data(&node, false) {
            Err(failure) if is_missing(&failure) => {
                return Err(Trouble::Refused(format!("quota for {path} does not exist.")));
            }
            other => Figures::read(other.map_err(at(&node))?.0.as_deref()),
        };
        show(Shown::Quota { path: path.to_owned(), figures, used });
    }
    Ok(())
}

/// Sets limits, or changes them; says if they are exceeded already.
pub(super) fn set(client: &Client, path: &str, limits: Limits, show: Show<'_>) -> Result<(), Trouble> {
    let home = home(client, path)?;
    if !client.is_there(path).map_err(at(path))? {
        return Err(Trouble::Refused(format!("{path} does not exist.")));
    }
    refuse_nested(client, path, &home)?;
    let (limits_node, stats_node) = (format!("{home}{LIMITS}"), format!("{home}{STATS}"));
    if client.is_there(&limits_node).map_err(at(&limits_node))? {
        let mut figures = figures(client, &limits_node)?;
        limits.set_in(&mut figures);
        warn(&figures, &self::figures(client, &stats_node)?, show);
        client.set(&limits_node, Bytes::from(figures.to_string()), -1).map_err(at(&limits_node))?;
        return Ok(());
    }
    let parents = home.match_indices('/').skip(1).map(|(at, _)| &home[..at]);
    for parent in parents.chain([home.as_str()]) {
        make(client, parent, None)?;
    }
    let figures = limits.figures();
    make(client, &limits_node, Some(figures.to_string()))?;
    make(client, &stats_node, Some(quota::nothing_used().to_string()))?;
    // The server has counted by now.
    warn(&figures, &self::figures(client, &stats_node)?, show);
    Ok(())
}

/// Takes one limit away, or the quota with all that was made for it.
pub(super) fn delete(client: &Client, path: &str, which: Option<Limits>) -> Result<(), Trouble> {
    let home = home(client, path)?;
    let limits = format!("{home}{LIMITS}");
    if !client.is_there(&limits).map_err(at(&limits))? {
        return Err(Trouble::Refused(format!("Quota does not exist for {path}")));
    }
    if let Some(which) = which {
        let mut figures = figures(client, &limits)?;
        which.set_in(&mut figures);
        return client.set(&limits, Bytes::from(figures.to_string()), -1).map(drop).map_err(at(&limits));
    }
    for name in [LIMITS, STATS] {
        let node = format!("{home}{name}");
        match client.delete(&node, -1) {
            Err(failure) if is_missing(&failure) => {}
            other => other.map_err(at(&node))?,
        }
    }
    // Up to a node that another quota needs.
    let mut at_node = home.as_str();
    while at_node.len() > QUOTA.len() {
        let (names, _) = client.children(at_node, false).map_err(at(at_node))?;
        if !names.is_empty() {
            break;
        }
        client.delete(at_node, -1).map_err(at(at_node))?;
        at_node = at_node.rsplit_once('/').map_or(QUOTA, |(parent, _)| parent);
    }
    Ok(())
}

/// Where the quota of a node is kept.
fn home(client: &Client, path: &str) -> Result<String, Trouble> {
    let chroot = client.servers().chroot();
    if !chroot.is_empty() {
        return Err(Trouble::Refused(format!(
            "quotas are kept in {QUOTA}, outside of the chroot {chroot}; connect without it, and name {chroot}{path}"
        )));
    }
    if path == "/" {
        return Err(Trouble::Refused("the root can have no quota; name a node below it".to_owned()));
    }
    Ok(format!("{QUOTA}{path}"))
}

/// Quotas do not nest.
fn refuse_nested(client: &Client, path: &str, home: &str) -> Result<(), Trouble> {
    for (above, _) in path.match_indices('/').skip(1) {
        let above = &path[..above];
        let limits = format!("{QUOTA}{above}{LIMITS}");
        if client.is_there(&limits).map_err(at(&limits))? {
            return Err(Trouble::Refused(format!("{path} has a parent {above} which has a quota")));
        }
    }
    if !client.is_there(home).map_err(at(home))? {
        return Ok(());
    }
    let mut below = None;
    subtree::visit(client, home, false, &mut |node| {
        let subject = node.strip_suffix(LIMITS);
        if let Some(subject) = subject.filter(|subject| *subject != home) {
            below.get_or_insert(subject[QUOTA.len()..].to_owned());
        }
    })?;
    match below {
        Some(below) => Err(Trouble::Refused(format!("{path} has a child {below} which has a quota"))),
        None => Ok(()),
    }
}

fn figures(client: &Client, node: &str) -> Result<Figures, Trouble> {
    Ok(Figures::read(client.data(node, false).map_err(at(node))?.0.as_deref()))
}

fn make(client: &Client, node: &str, data: Option<String>) -> Result<(), Trouble> {
    let made = client.create(node, data.map(Bytes::from), vec![Acl::world(tree::acl::ALL)], PLAIN);
    match made {
        Err(failure) if failure.code() == Some(spec::ErrorCode::NodeExists) => Ok(()),
        other => other.map(drop).map_err(at(node)),
    }
}

fn warn(limits: &Figures, used: &Figures, show: Show<'_>) {
    for said in quota::exceeded(limits, used) {
        show(Shown::Text(format!("{said}\n")));
    }
}
