//! What concerns a node and all below. None of it is one look at the tree: it may change meanwhile.

use std::collections::VecDeque;

use client::Client;

use super::{Show, Trouble, at, is_missing};
use crate::{shown::Shown, words::Failed};

/// Lists a node and all below.
pub(super) fn list(client: &Client, path: &str, watch: bool, show: Show<'_>) -> Result<(), Trouble> {
    visit(client, path, watch, &mut |path| show(Shown::Path(path.to_owned())))
}

/// Goes through a node and all below, in ZooKeeper's order: the children of a node, then what is below the first of
/// them, and so on. A node that goes meanwhile has nothing below.
pub(super) fn visit(
    client: &Client,
    path: &str,
    watch: bool,
    each: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    client.data(path, watch).map_err(at(path))?;
    each(path);
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let names = match client.children(&path, watch) {
            Ok((names, _)) => names,
            Err(failure) if is_missing(&failure) => continue,
            Err(failure) => return Err(at(&path)(failure)),
        };
        let children: Vec<_> = names.iter().map(|name| child(&path, name)).collect();
        for path in &children {
            each(path);
        }
        left.extend(children.into_iter().rev());
    }
    Ok(())
}

/// Deletes a node and all below, what is deepest first, so many in one transaction.
pub(super) fn delete(client: &Client, path: &str, batch: usize) -> Result<(), Trouble> {
    // Below a chroot these are nodes as any other.
    if client.servers().chroot().is_empty() && tree::path::is_reserved(path) {
        let what = if path == "/" { "/ holds /zookeeper, which is" } else { "this node is" };
        return Err(Trouble::Refused(format!(
            "{what} the server's own and cannot be deleted; name a node below"
        )));
    }
    let mut paths = vec![path.to_owned()];
    let mut left = VecDeque::from([path.to_owned()]);
    while let Some(path) = left.pop_front() {
        let (names, _) = client.children(&path, false).map_err(at(&path))?;
        let children = names.iter().map(|name| child(&path, name));
        paths.extend(children.clone());
        left.extend(children);
    }
    paths.reverse();
    if batch == 0 {
        return paths.iter().try_for_each(|path| client.delete(path, -1).map_err(at(path)));
    }
    paths.chunks(batch).try_for_each(|batch| {
        client.delete_all(batch).map_err(|(failure, which)| {
            let path = which.map_or(path, |which| batch[which].as_str());
            Trouble::Failed(Failed::new(failure, path))
        })
    })
}

/// The path of a child.
pub(super) fn child(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}
