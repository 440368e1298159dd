//! The nodes that loads need.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    connection::{self, Connection},
    frame,
    load::{self, Load},
    value::value,
    workload::{FILL_PER_PARENT, KEYS, Kind, NAMES, PARTS, TOP, fill_parent, key, name, own, part, wide},
};

/// The error that tells of a node that is there already.
const NODE_EXISTS: i32 = -110;
/// How many creates are under way at once.
const TOGETHER: usize = 200;
/// How many connections have nodes of their own.
const CLIENTS: u32 = 64;
/// How many requests each connection has under way while the tree is filled.
const FILL_OUTSTANDING: usize = 16;

/// Makes these nodes unless they are there, parents before their children.
///
/// # Errors
/// If a create is answered in another way than with its path.
pub fn nodes(connection: &mut Connection, paths: &[String], ephemeral: bool) -> Result<()> {
    for paths in paths.chunks(TOGETHER) {
        connection.stream.set_nonblocking(false)?;
        for (xid, path) in (1..).zip(paths) {
            frame::create(&mut connection.out, xid, path.as_bytes(), &value(path.as_bytes(), 0), ephemeral);
        }
        connection.send()?;
        for (xid, path) in (1..).zip(paths) {
            let reply = connection.next_blocking()?;
            let (head, body) = frame::head(&reply)?;
            ensure!(head.xid == xid, "create {xid} is answered as {}", head.xid);
            if head.error == NODE_EXISTS {
                continue;
            }
            ensure!(head.error == 0, "{path} cannot be made: error {}", head.error);
            let made = frame::Reader(body).bytes().unwrap_or_default();
            ensure!(made == path.as_bytes(), "the create of {path} is answered with {}", made.escape_ascii());
        }
    }
    Ok(())
}

/// Makes what every row needs.
///
/// # Errors
/// As [`nodes`].
pub fn small(addresses: &[SocketAddr]) -> Result<()> {
    let mut paths: Vec<String> = vec![TOP.to_owned()];
    paths.extend(["keys", "own", "parts", "passing", "wide"].map(|name| format!("{TOP}/{name}")));
    paths.extend((0..KEYS).map(key));
    paths.extend((0..CLIENTS).map(own));
    paths.extend((0..CLIENTS).flat_map(|client| (0..PARTS).map(move |index| part(client, index))));
    paths.extend((0..NAMES).map(|number| format!("{}/{}", wide(), name(number))));
    let mut connections = connection::open(addresses, 1)?;
    nodes(&mut connections[0], &paths, false)
}

/// Makes a tree of this many nodes.
///
/// # Errors
/// If an answer is wrong.
pub fn fill(addresses: &[SocketAddr], nodes_wanted: u32) -> Result<()> {
    let mut paths = vec![format!("{TOP}/fill")];
    paths.extend(
        (0..nodes_wanted.div_ceil(FILL_PER_PARENT)).map(|parent| fill_parent(parent * FILL_PER_PARENT)),
    );
    let mut connections = connection::open(addresses, 1)?;
    nodes(&mut connections[0], &paths, false)?;
    drop(connections);
    let load = Load {
        kind: Kind::Fill { clients: CLIENTS, nodes: nodes_wanted },
        connections: usize::try_from(CLIENTS)?,
        outstanding: FILL_OUTSTANDING,
        threads: 1,
        warm: Duration::ZERO,
        window: Duration::from_mins(15),
    };
    let seen = load::run(&load, addresses, || {}, || {})?;
    ensure!(
        seen.errors == 0 && seen.operations >= u64::from(nodes_wanted) - u64::from(CLIENTS),
        "only {} of {nodes_wanted} nodes were made, {} errors",
        seen.operations,
        seen.errors
    );
    Ok(())
}
