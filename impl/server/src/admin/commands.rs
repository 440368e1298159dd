//! The admin server's commands: what the four-letter words tell, as JSON with the keys of ZooKeeper's.
//!
//! Source: ZooKeeper `Commands`. A command that does not exist, or that needs a server that serves, is answered with
//! status 200 and an `error`, as there; only `monitor` of a server that does not serve has a status of an error, which is
//! 500 there.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::UNIX_EPOCH};

use hyper::{Method, StatusCode};
use protocol::Role;
use serde_json::{Map, Value, json};
use spec::{ServerId, Zxid};
use tree::Text;

use crate::{
    Config,
    config::{ServerAddress, join, masked, properties_given, shown_value},
    core::{Core, Shell},
    link::ObserverLink,
    metrics,
    net::{ANYWHERE, java_address},
    view::{ClientView, Mode, version},
    words::{self, WatchCounts, by_session, data_sizes, operation},
};

/// The command that tells of every metric.
const MONITOR: &str = "monitor";

pub(super) const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// A command: its names, the first of which it is listed under, and whether only a server that serves has an answer.
struct Command {
    names: &'static [&'static str],
    of_server: bool,
    run: fn(&mut Core, &BTreeMap<String, String>) -> Map<String, Value>,
}

const fn of_server(
    names: &'static [&'static str],
    run: fn(&mut Core, &BTreeMap<String, String>) -> Map<String, Value>,
) -> Command {
    Command { names, of_server: true, run }
}

const fn of_process(
    names: &'static [&'static str],
    run: fn(&mut Core, &BTreeMap<String, String>) -> Map<String, Value>,
) -> Command {
    Command { names, of_server: false, run }
}

const COMMANDS: &[Command] = &[
    of_server(&["configuration", "conf", "config"], |core, _| configuration(core)),
    of_server(&["connection_stat_reset", "crst"], |core, _| {
        core.shell.clients.reset_traffic();
        Map::new()
    }),
    of_server(&["connections", "cons"], |core, _| connections(core, false)),
    of_server(&["dirs"], |core, _| {
        let (data, log) = data_sizes(&core.shell.config);
        map([("datadir_size", json!(data)), ("logdir_size", json!(log))])
    }),
    of_server(&["dump"], |core, _| dump(core)),
    of_process(&["environment", "env", "envi"], |_, _| {
        map(words::environment().into_iter().map(|(key, value)| (key, json!(value))))
    }),
    of_process(&["get_trace_mask", "gtmk"], |core, _| map([("tracemask", json!(core.shell.trace_mask))])),
    of_server(&["hash"], |core, _| {
        let digest =
            |(zxid, digest): (Zxid, i64)| json!({"zxid": zxid.0, "digest_version": 2, "digest": digest});
        map([("digests", json!(core.tree.digest_log().map(digest).collect::<Vec<_>>()))])
    }),
    of_server(&["initial_configuration", "icfg"], |core, _| {
        map([("initial_configuration", json!(masked(&core.shell.config.text)))])
    }),
    of_server(&["is_read_only", "isro"], |core, _| {
        map([("read_only", json!(core.shell.mode() == Mode::ReadOnly))])
    }),
    of_server(&["last_snapshot", "lsnp"], |core, _| last_snapshot(core)),
    of_server(&["leader", "lead"], |core, _| leader(core)),
    of_server(&[MONITOR, "mntr"], |core, _| monitor(core)),
    of_server(&["observer_connection_stat_reset", "orst"], |core, _| {
        let Shell { links, config, .. } = &mut core.shell;
        links.reset_observers(&config.quorum);
        Map::new()
    }),
    of_server(&["observers", "obsr"], |core, _| observers(core)),
    of_server(&["ruok"], |_, _| Map::new()),
    of_server(&["server_stats", "srvr"], |core, _| server_stats(core)),
    of_process(&["set_trace_mask", "stmk"], set_trace_mask),
    of_server(&["stat_reset", "srst"], |core, _| {
        core.reset_stats();
        Map::new()
    }),
    of_server(&["stats", "stat"], |core, _| {
        let mut answer = server_stats(core);
        answer.extend(connections(core, true));
        answer
    }),
    of_process(&["system_properties", "sysp"], |core, _| system_properties(core)),
    of_server(&["voting_view"], |core, _| voting_view(core)),
    of_server(&["watch_summary", "wchs"], |core, _| watch_summary(core.watch_counts())),
    of_server(&["watches", "wchc"], |core, _| watches_by_session(core)),
    of_server(&["watches_by_path", "wchp"], |core, _| watches_by_path(core)),
    of_process(&["zabstate"], |core, _| zab_state(core)),
];

/// Why no state is put in the place of a server's: it would change it from outside of the order of transactions, behind
/// the backs of the others. ZooKeeper answers with this status where it is turned off.
pub(super) const NO_RESTORE: (StatusCode, &str) = (
    StatusCode::SERVICE_UNAVAILABLE,
    "restore is not offered: stop every server, move version-2 aside in dataDir and dataLogDir of each, put the snapshot \
     there alone as version-2/snapshot.<last_zxid without 0x>, and start them",
);

/// The whole name of a command that not everybody may give, if this is one, asked for in this way.
pub(super) fn guarded(name: &str, method: &Method) -> Option<&'static str> {
    let posted = method == Method::POST;
    match name {
        "snapshot" | "snap" if !posted => Some("snapshot"),
        "restore" | "rest" => Some("restore"),
        "shed_connections" | "shed" if posted => Some("shed_connections"),
        _ => None,
    }
}

/// Whether the state that is asked for is to be sent, and not only to be written.
pub(super) fn streams(query: &str) -> bool {
    arguments(query).get("streaming").is_none_or(|word| word.eq_ignore_ascii_case("true"))
}

/// Drops about so many of a hundred connections as the body says: their clients go to other servers.
pub(super) fn shed(core: &mut Core, body: &[u8]) -> (StatusCode, Value) {
    const NAME: &str = "shed_connections";
    let wrong = |error: &str| (StatusCode::BAD_REQUEST, json!({"command": NAME, "error": error}));
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return wrong("the request is to have a JSON object such as {\"percentage\": 50}");
    };
    let Some(percentage) = body["percentage"].as_u64().filter(|percentage| *percentage <= 100) else {
        return wrong("percentage is missing, or no whole number from 0 to 100");
    };
    let mut clients = core.shell.clients.sorted();
    clients.retain(|_| crate::net::random_below(100) < percentage);
    for client in &clients {
        core.shell.drop_client(*client);
    }
    core.settle();
    let shed = clients.len();
    tracing::info!(shed, percentage, "connections were shed");
    let answer =
        json!({"command": NAME, "error": null, "connections_shed": shed, "percentage_requested": percentage});
    (StatusCode::OK, answer)
}

/// The page with a link to each command.
pub(super) fn links(prefix: &str) -> String {
    let mut page = String::new();
    let answered_elsewhere = ["restore", "snapshot"];
    let mut names: Vec<_> = COMMANDS.iter().map(|command| command.names[0]).collect();
    names.extend(answered_elsewhere);
    names.sort_unstable();
    for name in names {
        let _ = write!(page, "<a href=\"{prefix}/{name}\">{name}</a>\n<br/>\n");
    }
    page
}

/// Whether there is a command of this name, whoever may give it and in whatever way.
pub(super) fn is_known(name: &str) -> bool {
    let elsewhere = [Method::GET, Method::POST].iter().any(|method| guarded(name, method).is_some());
    elsewhere || COMMANDS.iter().any(|command| command.names.contains(&name))
}

/// What is said of a command that there is not.
pub(super) fn unknown(name: &str) -> (StatusCode, Value) {
    (StatusCode::OK, json!({"command": name, "error": format!("Unknown command: {name}")}))
}

/// Runs a command by any of its names, with the arguments of the address.
pub(super) fn run(core: &mut Core, name: &str, query: &str) -> (StatusCode, Value) {
    let Some(command) = COMMANDS.iter().find(|command| command.names.contains(&name)) else {
        return unknown(name);
    };
    if command.of_server && core.shell.mode() == Mode::NotServing {
        let fails = command.names.contains(&MONITOR);
        let status = if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        return (status, json!({"command": name, "error": NOT_SERVING}));
    }
    let mut answer = map([("command", json!(command.names[0])), ("error", Value::Null)]);
    answer.extend((command.run)(core, &arguments(query)));
    (StatusCode::OK, Value::Object(answer))
}

fn map(rows: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The arguments of a query, of which only numbers are asked for: nothing is unescaped.
fn arguments(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn configuration(core: &Core) -> Map<String, Value> {
    let config = &core.shell.config;
    let folder = |dir: &Path| {
        let dir = std::path::absolute(dir.join("version-2")).unwrap_or_default();
        json!(dir.display().to_string())
    };
    map([
        ("client_port", json!(config.client_port.map_or(-1, i32::from))),
        ("data_dir", folder(&config.data_dir)),
        ("data_log_dir", folder(&config.data_log_dir)),
        ("tick_time", json!(config.tick_ms)),
        ("max_client_cnxns", json!(config.max_client_cnxns)),
        ("min_session_timeout", json!(config.session_timeout_min_ms)),
        ("max_session_timeout", json!(config.session_timeout_max_ms)),
        ("server_id", json!(if config.standalone() { 0 } else { config.me.0 })),
        ("client_port_listen_backlog", json!(words::backlog(config))),
    ])
}

fn connections(core: &Core, brief: bool) -> Map<String, Value> {
    let started = core.shell.stats.started;
    let views = core.shell.clients.views();
    let (secure, plain): (Vec<_>, Vec<_>) = views.iter().partition(|client| client.is_secure);
    let rows = |clients: Vec<&ClientView>| -> Vec<_> {
        clients.into_iter().map(|client| connection(client, brief, started)).collect()
    };
    map([("connections", json!(rows(plain))), ("secure_connections", json!(rows(secure)))])
}

fn connection(client: &ClientView, brief: bool, started: std::time::Instant) -> Value {
    let ClientView { address, outstanding, session, traffic, interest, is_secure: _ } = client;
    let mut row = map([
        ("remote_socket_address", json!(java_address(*address))),
        ("interest_ops", json!(interest)),
        ("outstanding_requests", json!(outstanding)),
        ("packets_received", json!(traffic.received)),
        ("packets_sent", json!(traffic.sent)),
    ]);
    if !brief {
        let (session, timeout_ms) = session.unwrap_or_default();
        let latency = &traffic.latency;
        let answered = traffic.answered.map_or(0, |at| at.saturating_duration_since(started).as_millis());
        row.extend(map([
            ("session_id", json!(session.0)),
            ("last_operation", json!(traffic.operation.map(operation))),
            ("established", json!(traffic.established)),
            ("session_timeout", json!(timeout_ms)),
            ("last_cxid", json!(traffic.xid.unwrap_or(-1))),
            ("last_zxid", json!(traffic.zxid.map_or(-1, |zxid| zxid.0.cast_signed()))),
            ("last_response_time", json!(u64::try_from(answered).unwrap_or(u64::MAX))),
            ("last_latency", json!(traffic.took / 1000)),
            ("min_latency", json!(latency.min / 1000)),
            ("avg_latency", json!(latency.sum / latency.count.max(1) / 1000)),
            ("max_latency", json!(latency.max / 1000)),
        ]));
    }
    Value::Object(row)
}

fn dump(core: &Core) -> Map<String, Value> {
    let tick_ms = u64::from(core.shell.config.tick_ms);
    let now = u64::try_from(core.shell.stats.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let expiries = core.expiries().into_iter().map(|(ticks, sessions)| {
        let at = now + tick_ms * u64::from(ticks);
        (at.to_string(), json!(sessions.iter().map(|session| session.0).collect::<Vec<_>>()))
    });
    let ephemerals = core.ephemerals().into_iter().map(|(session, paths)| {
        (session.0.to_string(), json!(paths.iter().map(ToString::to_string).collect::<Vec<_>>()))
    });
    map([
        ("expiry_time_to_session_ids", Value::Object(expiries.collect())),
        ("session_id_to_ephemeral_paths", Value::Object(ephemerals.collect())),
    ])
}

/// The newest snapshot in the data folder: its zxid, and when it was written, in seconds since 1970.
fn last_snapshot(core: &Core) -> Map<String, Value> {
    let folder = core.shell.config.data_dir.join("version-2");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let snapshots = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let zxid = name.strip_prefix("snapshot.")?.split('.').next()?;
        Some((u64::from_str_radix(zxid, 16).ok()?, entry))
    });
    let newest = snapshots.max_by_key(|(zxid, _)| *zxid);
    let written = newest.as_ref().and_then(|(_, entry)| entry.metadata().ok()?.modified().ok());
    let seconds = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    let timestamp = seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(-1);
    let zxid = newest.map_or(u64::MAX, |(zxid, _)| zxid);
    map([("zxid", json!(format!("{zxid:x}"))), ("timestamp", json!(timestamp))])
}

fn leader(core: &Core) -> Map<String, Value> {
    let config = &core.shell.config;
    let Some(role) = core.shell.part.role.filter(|_| !config.standalone()) else {
        return map([("error", json!("server is not initialized"))]);
    };
    let leader = role.leader().unwrap_or(config.me);
    let host = config.servers.get(&leader).map(|server| server.host.clone()).unwrap_or_default();
    map([
        ("is_leader", json!(role == Role::Leading)),
        ("leader_id", json!(leader.0)),
        ("leader_ip", json!(host)),
    ])
}

fn monitor(core: &Core) -> Map<String, Value> {
    let view = core.whole_view();
    let value = |value: metrics::Value| match value {
        metrics::Value::Whole(number) => json!(number),
        metrics::Value::Decimal(text) => {
            text.parse::<serde_json::Number>().map_or(json!(text), Value::Number)
        }
    };
    let mut answer = map([("version", json!(version())), ("server_state", json!(view.mode.name()))]);
    if let Some(state) = view.mode.peer_state() {
        answer.insert("peer_state".to_owned(), json!(state));
    }
    let plain = metrics::plain(&view).into_iter().map(|metric| (metric.full_name(), value(metric.value)));
    answer.extend(plain);
    let distributions = metrics::distributions(&view);
    let rows = distributions.iter().flat_map(metrics::Distribution::rows);
    answer.extend(rows.map(|(name, number)| (name, value(number))));
    answer
        .extend(metrics::turns(&view).map(|(word, number)| (format!("{word}_turn_time_us"), json!(number))));
    answer
}

fn observers(core: &Core) -> Map<String, Value> {
    let shell = &core.shell;
    let leads = shell.mode() == Mode::Leader;
    let observers = if leads { shell.links.observers(&shell.config.quorum) } else { Vec::new() };
    let synced = observers.iter().filter(|observer| observer.synced).count();
    let rows: Vec<_> = observers.iter().map(observer).collect();
    map([("synced_observers", json!(synced)), ("observers", json!(rows))])
}

fn observer(link: &ObserverLink) -> Value {
    let ObserverLink { id, address, traffic, queued_bytes, synced: _ } = link;
    json!({
        "remote_socket_address": address.map_or_else(|| "<null>".to_owned(), |from| format!("/{}", java_address(from))),
        "sid": id.0,
        "established": traffic.established,
        "queued_packets": traffic.queued,
        "queued_packets_size": queued_bytes,
        "packets_received": traffic.received,
        "packets_sent": traffic.sent,
        "requests": traffic.requests,
        "last_zxid": traffic.last.map_or(-1, |zxid| zxid.0.cast_signed()),
    })
}

fn server_stats(core: &Core) -> Map<String, Value> {
    let view = core.view();
    let stats = view.stats;
    let sizes = |[last, min, max]: [i64; 3]| json!({"last_buffer_size": last, "min_buffer_size": min, "max_buffer_size": max});
    let responses = sizes(metrics::sizes(stats.response_size_last, &stats.response_sizes));
    let (data, log) = data_sizes(&core.shell.config);
    let average = stats.latency.average(1000).parse::<serde_json::Number>();
    let server = json!({
        "packets_sent": stats.packets_sent,
        "packets_received": stats.packets_received,
        "fsync_threshold_exceed_count": stats.slow_syncs,
        "client_response_stats": responses,
        "data_dir_size": data,
        "log_dir_size": log,
        "last_processed_zxid": view.zxid.0,
        "outstanding_requests": view.outstanding,
        "server_state": view.mode.name(),
        "avg_latency": average.map_or(Value::Null, Value::Number),
        "max_latency": stats.latency.max / 1000,
        "min_latency": stats.latency.min / 1000,
        "num_alive_client_connections": view.connections,
        "provider_null": false,
        "auth_failed_count": stats.handshakes_failed,
        "non_mtlslocal_conn_count": stats.plain_local,
        "non_mtlsremote_conn_count": stats.plain_remote,
        "uptime": u64::try_from(stats.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let mut answer = map([
        ("version", json!(version())),
        ("read_only", json!(view.mode == Mode::ReadOnly)),
        ("server_stats", server),
        ("client_response", responses),
        ("node_count", json!(view.tree.nodes)),
    ]);
    if view.mode == Mode::Leader {
        let proposals = sizes(metrics::sizes(stats.proposal_bytes_last, &stats.proposal_bytes));
        answer.insert("proposal_stats".to_owned(), proposals);
    }
    answer
}

fn set_trace_mask(core: &mut Core, arguments: &BTreeMap<String, String>) -> Map<String, Value> {
    let needs = "setTraceMask requires long traceMask argument";
    match arguments.get("traceMask").map(|text| (text, text.parse())) {
        None => map([("error", json!(needs))]),
        Some((text, Err(_))) => map([("error", json!(format!("{needs}, got {text}")))]),
        Some((_, Ok(mask))) => {
            core.shell.trace_mask = mask;
            map([("tracemask", json!(mask))])
        }
    }
}

fn quorum_address(server: &ServerAddress) -> String {
    join(&server.host, server.quorum_port)
}

fn election_address(server: &ServerAddress) -> String {
    join(&server.host, server.election_port)
}

fn client_address(server: &ServerAddress) -> String {
    server
        .client
        .as_ref()
        .map_or(String::new(), |(host, port)| join(host.as_deref().unwrap_or(ANYWHERE), *port))
}

/// What is known of this server's surroundings, and every property that was given, under the names that Java has for
/// them.
fn system_properties(core: &Core) -> Map<String, Value> {
    let known = words::environment().into_iter();
    let known = known.filter(|(key, value)| !key.starts_with("zookeeper") && value != "<NA>");
    let mut answer = map(known.map(|(key, value)| (key, json!(value))));
    for (key, taken) in properties_given(&core.shell.config.effective) {
        let value = json!(shown_value(&key, taken));
        answer.insert(key, value);
    }
    answer
}

/// Where this server takes clients, by its own settings.
fn own_client_address(config: &Config) -> String {
    config
        .client_port
        .map_or_else(String::new, |port| join(config.client_address.as_deref().unwrap_or(ANYWHERE), port))
}

fn voting_view(core: &Core) -> Map<String, Value> {
    let config = &core.shell.config;
    if core.shell.mode() == Mode::ReadOnly {
        return map([("current_config", json!({}))]);
    }
    let row = |(id, server): (&ServerId, &ServerAddress)| {
        let client_address = match &server.client {
            None if *id == config.me => own_client_address(config),
            Some(_) | None => client_address(server),
        };
        let view = json!({
            "server_addresses": [quorum_address(server)],
            "election_addresses": [election_address(server)],
            "client_address": client_address,
            "learner_type": "participant",
        });
        (id.to_string(), view)
    };
    let voters = config.servers.iter().filter(|(_, server)| !server.observer);
    map([("current_config", Value::Object(voters.map(row).collect()))])
}

fn watch_summary(WatchCounts { connections, paths, total }: WatchCounts) -> Map<String, Value> {
    map([
        ("num_connections", json!(connections)),
        ("num_paths", json!(paths)),
        ("num_total_watches", json!(total)),
    ])
}

/// What is said instead of too many watches.
fn too_many_watches(core: &Core) -> Option<Map<String, Value>> {
    core.watches_unlisted().map(|total| {
        let error = format!("{total} watches are too many to be listed; watch_summary counts them");
        map([("error", json!(error))])
    })
}

fn watches_by_session(core: &Core) -> Map<String, Value> {
    too_many_watches(core).unwrap_or_else(|| {
        let watchers = core.watchers();
        let texts = |paths: Vec<&Text>| json!(paths.into_iter().map(Text::as_str).collect::<Vec<_>>());
        let rows =
            by_session(&watchers).into_iter().map(|(session, paths)| (session.0.to_string(), texts(paths)));
        map([("session_id_to_watched_paths", Value::Object(rows.collect()))])
    })
}

fn watches_by_path(core: &Core) -> Map<String, Value> {
    too_many_watches(core).unwrap_or_else(|| {
        let rows = core.watchers().into_iter().map(|(path, sessions)| {
            (path.to_string(), json!(sessions.iter().map(|session| session.0).collect::<Vec<_>>()))
        });
        map([("path_to_session_ids", Value::Object(rows.collect()))])
    })
}

fn zab_state(core: &Core) -> Map<String, Value> {
    let config = &core.shell.config;
    let has_quorum = !matches!(core.shell.mode(), Mode::NotServing | Mode::ReadOnly);
    let (Some(own), true) = (config.servers.get(&config.me), has_quorum) else {
        return map([("voting", json!(false)), ("zabstate", json!(""))]);
    };
    let last = core.view().zxid;
    map([
        ("myid", json!(config.me.0)),
        ("is_leader", json!(core.shell.mode() == Mode::Leader)),
        ("quorum_address", json!(quorum_address(own))),
        ("election_address", json!(election_address(own))),
        ("client_address", json!(own_client_address(config))),
        ("voting", json!(!own.observer)),
        ("last_zxid", json!(format!("0x{:x}", last.0))),
        ("zab_epoch", json!(last.epoch().0)),
        ("zab_counter", json!(last.counter())),
        ("zabstate", json!("broadcast")),
    ])
}
