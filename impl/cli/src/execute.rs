//! Commands that a server is asked for.

mod quota;
mod subtree;

use client::{Client, Failure};
use spec::ErrorCode;
use tree::Acl;

use crate::{
    command::{Command, Form},
    shown::Shown,
    words::Failed,
};

/// Why a command did not do what it should.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// The server said no, or nothing.
    Failed(Failed),
    /// It makes no sense here, for this reason.
    Refused(String),
    /// There is no session.
    NotConnected,
}

/// Where results go.
pub(crate) type Show<'a> = &'a mut dyn FnMut(Shown);

/// Does what a server does; what is the shell's own does nothing here.
pub(crate) fn execute(command: &Command, client: &Client, show: Show<'_>) -> Result<(), Trouble> {
    match command {
        Command::List { path, stat, watch, recursive: false } => {
            let (names, found) = client.children(path, *watch).map_err(at(path))?;
            show(Shown::Children { names, stat: stat.then_some(found) });
        }
        Command::List { path, watch, recursive: true, .. } => subtree::list(client, path, *watch, show)?,
        Command::Get { path, stat, watch, form } => {
            let (data, found) = client.data(path, *watch).map_err(at(path))?;
            show(Shown::Data { data, form: *form, stat: stat.then_some(found) });
        }
        Command::Stat { path, watch } => show(Shown::Stat(client.stat(path, *watch).map_err(at(path))?)),
        Command::Set { path, data, version, stat } => {
            let found = client.set(path, data.clone(), *version).map_err(at(path))?;
            if *stat {
                show(Shown::Stat(found));
            }
        }
        Command::Create { path, data, acl, how } => {
            let created = client.create(path, data.clone(), acl.clone(), *how).map_err(at(path))?;
            show(Shown::Created(created));
        }
        Command::Delete { path, version } => client.delete(path, *version).map_err(at(path))?,
        Command::DeleteAll { path, batch } => subtree::delete(client, path, *batch)?,
        Command::GetAcl { path, stat } => {
            let (list, found) = client.acl(path).map_err(at(path))?;
            show(Shown::Acl { list, stat: stat.then_some(found) });
        }
        Command::SetAcl { path, acl, version, stat, recursive } => {
            set_acl(client, path, acl, *version, (*stat, *recursive), show)?;
        }
        Command::AddAuth { scheme, proof } => {
            client.authenticate(scheme, proof.0.clone()).map_err(at(""))?;
        }
        Command::Sync { path } => {
            client.sync(path).map_err(at(path))?;
            show(Shown::Synced);
        }
        Command::AddWatch { path, mode } => client.watch(path, *mode).map_err(at(path))?,
        Command::RemoveWatches { path, which, local } => {
            client.remove_watches(path, *which, *local).map_err(at(path))?;
        }
        Command::CountBelow { path } => show(Shown::Count(client.count_below(path).map_err(at(path))?)),
        Command::Ephemerals { prefix } => {
            show(Shown::Ephemerals(client.ephemerals(prefix).map_err(at(prefix))?));
        }
        Command::WhoAmI => show(Shown::Identities(client.who_am_i().map_err(at(""))?)),
        Command::ListQuota { path } => quota::list(client, path, show)?,
        Command::SetQuota { path, limits } => quota::set(client, path, *limits, show)?,
        Command::DelQuota { path, which } => quota::delete(client, path, *which)?,
        Command::Config { stat, watch, clients } => config(client, *stat, *watch, *clients, show)?,
        Command::Reconfig { change, stat } => {
            let (data, found) = client.reconfigure(change.clone()).map_err(at(""))?;
            show(Shown::Committed { data, stat: stat.then_some(found) });
        }
        Command::PrintWatches(_)
        | Command::Watch { .. }
        | Command::Version
        | Command::History
        | Command::Redo(_)
        | Command::Connect(_)
        | Command::Close
        | Command::Quit
        | Command::Help(_) => {}
    }
    Ok(())
}

/// A failure about this node.
pub(crate) fn at(path: &str) -> impl Fn(Failure) -> Trouble {
    move |failure| Trouble::Failed(Failed::new(failure, path))
}

fn is_missing(failure: &Failure) -> bool {
    failure.code() == Some(ErrorCode::NoNode)
}

fn set_acl(
    client: &Client,
    path: &str,
    acl: &[Acl],
    version: i32,
    (stat, recursive): (bool, bool),
    show: Show<'_>,
) -> Result<(), Trouble> {
    if !recursive {
        let found = client.set_acl(path, acl.to_vec(), version).map_err(at(path))?;
        if stat {
            show(Shown::Stat(found));
        }
        return Ok(());
    }
    // All are tried, as in ZooKeeper; the first that failed is told of in the end.
    let mut first = Ok(());
    subtree::visit(client, path, false, &mut |path| {
        let set = client.set_acl(path, acl.to_vec(), version);
        if let Err(failure) =
            set.map(drop).or_else(|failure| if is_missing(&failure) { Ok(()) } else { Err(failure) })
            && first.is_ok()
        {
            first = Err(at(path)(failure));
        }
    })?;
    first
}

fn config(client: &Client, stat: bool, watch: bool, clients: bool, show: Show<'_>) -> Result<(), Trouble> {
    let nothing = || {
        Trouble::Refused(
            "this server does not offer the configuration of its ensemble; `srvr` and `mntr` on its port tell its role"
                .to_owned(),
        )
    };
    let (data, found) = match client.configuration(watch) {
        Err(failure) if is_missing(&failure) => return Err(nothing()),
        other => other.map_err(at("/zookeeper/config"))?,
    };
    let Some(data) = data.filter(|data| !data.is_empty()) else { return Err(nothing()) };
    let data = if clients { connect_string(&String::from_utf8_lossy(&data)).into() } else { data };
    show(Shown::Data { data: Some(data), form: Form::Plain, stat: stat.then_some(found) });
    Ok(())
}

/// The version of a configuration, and where its servers take clients.
///
/// Source: ZooKeeper `ConfigUtils.getClientConfigStr`.
fn connect_string(configuration: &str) -> String {
    let mut version = "";
    let mut hosts = Vec::new();
    for line in configuration.lines() {
        if let Some(value) = line.strip_prefix("version=") {
            version = value;
        }
        let Some((_, server)) = line.strip_prefix("server.").and_then(|rest| rest.split_once('=')) else {
            continue;
        };
        let Some((server, client)) = server.split_once(';') else { continue };
        let (host, port) = client.rsplit_once(':').unwrap_or(("", client));
        // Listening anywhere, it is reached where its peers reach it.
        let own = server.strip_prefix('[').map_or_else(
            || server.split(':').next().unwrap_or_default().to_owned(),
            |rest| format!("[{}]", rest.split(']').next().unwrap_or_default()),
        );
        let host = if matches!(host, "" | "0.0.0.0" | "[::]") { own } else { host.to_owned() };
        hosts.push(format!("{host}:{port}"));
    }
    format!("{version} {}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_gives_a_connect_string() {
        let text = "server.1=zk1:2888:3888:participant;0.0.0.0:2181\nserver.2=zk2:2888:3888;10.0.0.2:2182\n\
                    server.3=[::3]:2888:3888;2183\nserver.4=zk4:2888:3888\nversion=100000000";
        assert_eq!(connect_string(text), "100000000 zk1:2181,10.0.0.2:2182,[::3]:2183");
    }
}
