//! The metrics, under ZooKeeper's names: what `mntr`, the admin command `monitor` and `/metrics` tell.
//!
//! A metric that this server cannot fill is absent, and never zero.

use std::fmt::{Display, Formatter, Result, Write};

use crate::{
    config::MILLION,
    measure::{Measure, Summary},
    namespaces::Quotas,
    view::{Learners, Mode, View},
};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, but for a reset.
    Counter,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Whole(i64),
    /// A decimal number, as Java prints it.
    Decimal(String),
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Decimal(text) => f.write_str(text),
        }
    }
}

/// One metric.
#[derive(Clone, Debug)]
pub(crate) struct Metric<'a> {
    name: &'static str,
    /// What it is of, where there are several of this name, which stand together.
    key: Option<&'a str>,
    kind: Kind,
    pub(crate) value: Value,
}

impl Metric<'_> {
    /// What `mntr` and `monitor` call it.
    pub(crate) fn full_name(&self) -> String {
        self.key.map_or(self.name.to_owned(), |key| format!("{key}_{}", self.name))
    }
}

/// One summary.
#[derive(Clone, Debug)]
pub(crate) struct Distribution<'a> {
    pub(crate) name: &'static str,
    /// What it is of, where there are several of this name.
    key: Option<String>,
    measure: &'a Measure,
    /// What it is measured in, over what it is told in.
    divisor: u64,
    /// Whether its quantiles are told by `mntr`, as Java does of some.
    quantiles: bool,
}

fn whole(value: u64) -> Value {
    Value::Whole(i64::try_from(value).unwrap_or(i64::MAX))
}

fn count(value: usize) -> Value {
    whole(u64::try_from(value).unwrap_or(u64::MAX))
}

/// Last, least and greatest of some sizes in bytes, −1 before the first as in Java.
pub(crate) fn sizes(last: Option<u64>, sizes: &Summary) -> [i64; 3] {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    last.map_or([-1; 3], |last| [number(last), number(sizes.min), number(sizes.max)])
}

/// Every plain metric. What ZooKeeper's servers say of what they serve is there while this one serves clients, if only
/// those that read, and else absent, as there: who has no leader tells of no state. *`ZooKeeperServer.registerMetrics`.*
pub(crate) fn plain<'a>(view: &'a View<'_>) -> Vec<Metric<'a>> {
    let mut metrics = Vec::with_capacity(64);
    if view.mode != Mode::NotServing {
        of_server(view, &mut metrics);
        of_part(view, &mut metrics);
    }
    for (name, value) in [
        ("fsync_threshold_exceed_count", view.stats.slow_syncs),
        ("outstanding_tls_handshake", view.handshakes),
    ] {
        metrics.push(Metric { name, key: None, kind: Kind::Gauge, value: whole(value) });
    }
    counters(view, &mut metrics);
    of_names(view, &mut metrics);
    metrics
}

/// What any server tells that serves.
fn of_server(view: &View<'_>, metrics: &mut Vec<Metric<'_>>) {
    let mut gauge = |name, value| metrics.push(Metric { name, key: None, kind: Kind::Gauge, value });
    let (stats, latency) = (view.stats, &view.stats.latency);
    gauge("avg_latency", Value::Decimal(latency.average(1000)));
    gauge("min_latency", whole(latency.min / 1000));
    gauge("max_latency", whole(latency.max / 1000));
    gauge("packets_received", whole(stats.packets_received));
    gauge("packets_sent", whole(stats.packets_sent));
    gauge("num_alive_connections", whole(view.connections));
    gauge("outstanding_requests", whole(view.outstanding));
    gauge("uptime", whole(u64::try_from(stats.started.elapsed().as_millis()).unwrap_or(u64::MAX)));
    gauge("znode_count", whole(view.tree.nodes));
    gauge("watch_count", whole(view.tree.watches));
    gauge("ephemerals_count", whole(view.tree.ephemerals));
    gauge("approximate_data_size", whole(view.tree.data_bytes));
    gauge("global_sessions", whole(view.tree.sessions));
    gauge("local_sessions", Value::Whole(0));
    for (name, value) in ["last_client_response_size", "min_client_response_size", "max_client_response_size"]
        .into_iter()
        .zip(sizes(stats.response_size_last, &stats.response_sizes))
    {
        gauge(name, Value::Whole(value));
    }
    gauge("auth_failed_count", whole(stats.handshakes_failed));
    gauge("non_mtls_remote_conn_count", whole(stats.plain_remote));
    gauge("non_mtls_local_conn_count", whole(stats.plain_local));
    gauge("connection_drop_probability", Value::Decimal(scaled_million(view.drop_chance)));
    if let Some(open) = open_files() {
        gauge("open_file_descriptor_count", whole(open));
    }
    if let Some(limit) = files_max() {
        gauge("max_file_descriptor_count", whole(limit));
    }
}

/// What is told of the part that a server plays. One that is alone, or without a leader, tells of no quorum.
/// *`QuorumZooKeeperServer.registerMetrics`, `LeaderZooKeeperServer.registerMetrics`.*
fn of_part(view: &View<'_>, metrics: &mut Vec<Metric<'_>>) {
    let stats = view.stats;
    let mut gauge = |name, value| metrics.push(Metric { name, key: None, kind: Kind::Gauge, value });
    if view.mode.peer_state().is_some() {
        gauge("quorum_size", whole(view.quorum_size));
    }
    if let Some(leader) = view.observed {
        gauge("observer_master_id", whole(leader.0));
    }
    if let Some(Learners { links, synced_followers, synced_observers }) = view.learners {
        gauge("learners", count(links));
        gauge("synced_followers", count(synced_followers));
        gauge("synced_observers", count(synced_observers));
        // Who is neither in the list of voters nor an observer is turned away.
        gauge("synced_non_voting_followers", Value::Whole(0));
    }
    if let Some(pending) = view.pending_syncs {
        gauge("pending_syncs", whole(pending));
    }
    if view.mode == Mode::Leader {
        let uptime = view.part.since.elapsed().as_millis();
        gauge("leader_uptime", whole(u64::try_from(uptime).unwrap_or(u64::MAX)));
        for (name, value) in ["last_proposal_size", "min_proposal_size", "max_proposal_size"]
            .into_iter()
            .zip(sizes(stats.proposal_bytes_last, &stats.proposal_bytes))
        {
            gauge(name, Value::Whole(value));
        }
    }
}

/// What is told of quotas, and where it stands.
const OF_QUOTAS: [(&str, Figure); 4] = [
    ("quota_count_limit_per_namespace", |quotas| quotas.count_limit),
    ("quota_bytes_limit_per_namespace", |quotas| quotas.bytes_limit),
    ("quota_count_usage_per_namespace", |quotas| quotas.count),
    ("quota_bytes_usage_per_namespace", |quotas| quotas.bytes),
];

type Figure = fn(&Quotas) -> i64;

/// What is told of each name.
fn of_names<'a>(view: &'a View<'_>, metrics: &mut Vec<Metric<'a>>) {
    let quotas = OF_QUOTAS.into_iter().filter(|_| view.mode != Mode::NotServing);
    for (name, figure) in quotas {
        metrics.extend(view.quotas.iter().map(|(key, quotas)| Metric {
            name,
            key: Some(key),
            kind: Kind::Gauge,
            value: Value::Whole(figure(quotas)),
        }));
    }
    metrics.extend(view.stats.namespaces.refused.iter().map(|(key, count)| Metric {
        name: "quota_exceeded_error_per_namespace",
        key: Some(key),
        kind: Kind::Counter,
        value: whole(*count),
    }));
}

fn counters(view: &View<'_>, metrics: &mut Vec<Metric<'_>>) {
    let stats = view.stats;
    let (pipeline, throttled) = (&stats.pipeline, &stats.throttled);
    let rows = [
        ("bytes_received_count", stats.bytes_received),
        ("response_bytes", stats.response_bytes),
        ("watch_bytes", stats.watch_bytes),
        ("connection_request_count", stats.connection_requests),
        ("connection_rejected", stats.connections_refused),
        ("unsuccessful_handshake", stats.handshakes_failed_lately),
        ("tls_handshake_exceeded", stats.handshakes_exceeded),
        ("ensemble_auth_success", stats.ensemble_named),
        ("ensemble_auth_fail", stats.ensemble_other),
        ("ensemble_auth_skip", stats.ensemble_any),
        ("connection_drop_count", stats.connections_dropped),
        ("sessionless_connections_expired", stats.sessionless_expired),
        ("stale_sessions_expired", stats.sessions_expired),
        ("looking_count", stats.looking),
        ("quit_leading_due_to_disloyal_voter", stats.vain_reigns),
        // Such an error ends the server: who answers has had none.
        ("unrecoverable_error_count", 0),
        ("digest_mismatches_count", stats.digests.mismatches),
        ("sync_processor_request_queued", pipeline.queued),
        ("diff_count", stats.diffs),
        ("snap_count", stats.snaps),
        ("proposal_count", stats.proposals),
        ("commit_count", pipeline.commits),
        ("learner_proposal_received_count", pipeline.proposals_received),
        ("learner_commit_received_count", pipeline.commits_received),
        ("revalidate_count", pipeline.revalidations),
        ("connection_revalidate_count", stats.renewals),
        ("request_throttle_wait_count", throttled.waits),
        ("throttled_ops", throttled.operations),
        ("stale_requests", throttled.stale),
        ("stale_requests_dropped", throttled.stale_dropped),
        ("large_requests_rejected", throttled.large),
        ("snapshot_rate_limited_count", stats.snapshots_limited),
        ("snapshot_error_count", stats.snapshots_failed),
        ("log_lines_dropped", view.log_lines_dropped),
    ];
    metrics.extend(rows.map(|(name, value)| Metric {
        name,
        key: None,
        kind: Kind::Counter,
        value: whole(value),
    }));
}

/// Every summary.
pub(crate) fn distributions<'a>(view: &View<'a>) -> Vec<Distribution<'a>> {
    let stats = view.stats;
    let (pipeline, throttled) = (&stats.pipeline, &stats.throttled);
    let row =
        |name, measure, divisor, quantiles| Distribution { name, key: None, measure, divisor, quantiles };
    let mut rows = vec![
        row("dbinittime", &stats.loading.all, 1, false),
        row("startup_snap_load_time", &stats.loading.snapshot, 1, false),
        row("startup_txns_load_time", &stats.loading.log, 1, false),
        row("startup_txns_loaded", &stats.loading.txns, 1, false),
        row("fsynctime", &stats.fsync, 1000, false),
        row("snapshottime", &stats.snapshot, 1, false),
        row("election_time", &stats.election, 1, false),
        row("readlatency", &stats.read_latency, 1000, true),
        row("updatelatency", &stats.update_latency, 1000, true),
        row("propagation_latency", &pipeline.propagation, 1, true),
        row("proposal_latency", &pipeline.proposal, 1, true),
        row("quorum_ack_latency", &pipeline.quorum_ack, 1, true),
        row("commit_propagation_latency", &pipeline.commit_propagation, 1, true),
        row("follower_sync_time", &pipeline.follower_sync, 1, false),
        row("observer_sync_time", &pipeline.observer_sync, 1, false),
        row("unavailable_time", &pipeline.unavailable, 1, false),
        row("leader_unavailable_time", &pipeline.leader_unavailable, 1, false),
        row("sync_process_time", &pipeline.batch, 1000, false),
        row("sync_processor_queue_flush_time_ms", &pipeline.flush, 1000, true),
        row("sync_processor_batch_size", &pipeline.batch_size, 1, false),
        row("node_created_watch_count", &stats.fired.created, 1, false),
        row("node_deleted_watch_count", &stats.fired.deleted, 1, false),
        row("node_changed_watch_count", &stats.fired.changed, 1, false),
        row("node_children_watch_count", &stats.fired.children, 1, false),
        row("inflight_snap_count", &pipeline.snaps_at_once, 1, false),
        row("inflight_diff_count", &pipeline.diffs_at_once, 1, false),
    ];
    rows.extend(pipeline.acks.iter().map(|(server, measure)| Distribution {
        key: Some(server.to_string()),
        ..row("ack_latency", measure, 1, true)
    }));
    for (name, names) in
        [("read_per_namespace", &stats.namespaces.reads), ("write_per_namespace", &stats.namespaces.writes)]
    {
        let of = |(key, measure): (&str, &'a Measure)| Distribution {
            key: Some(key.to_owned()),
            ..row(name, measure, 1, false)
        };
        rows.extend(names.iter().map(of));
    }
    // Of throttles that are off nothing is known.
    if view.throttles.connections.max > 0 {
        rows.push(row("connection_token_deficit", &throttled.deficit, 1, false));
    }
    if view.throttles.requests_max > 0 {
        rows.push(row("request_throttle_queue_time_ms", &throttled.waited, 1000, true));
    }
    rows
}

/// A number of millionths as a decimal number, as Java prints it: no zeros at the end but one.
fn scaled_million(value: u32) -> String {
    let text = format!("{}.{:06}", value / MILLION, value % MILLION);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

impl Distribution<'_> {
    /// What Java makes of a summary: a row for each of its figures.
    pub(crate) fn rows(&self) -> Vec<(String, Value)> {
        let summary = &self.measure.summary;
        let name = self.key.as_ref().map_or(self.name.to_owned(), |key| format!("{key}_{}", self.name));
        let mut rows = vec![
            (format!("avg_{name}"), Value::Decimal(summary.average(self.divisor))),
            (format!("min_{name}"), whole(summary.min / self.divisor)),
            (format!("max_{name}"), whole(summary.max / self.divisor)),
            (format!("cnt_{name}"), whole(summary.count)),
            (format!("sum_{name}"), whole(summary.sum / self.divisor)),
        ];
        if self.quantiles {
            for (word, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
                let value = self.measure.quantile(quantile) / self.divisor;
                rows.push((format!("{word}_{name}"), whole(value)));
            }
        }
        rows
    }
}

/// How long turns of the loop took, in microseconds: an own figure, of this server's one thread.
pub(crate) fn turns(view: &View<'_>) -> [(&'static str, u64); 4] {
    let turns = &view.stats.turns;
    let at = |quantile| turns.value_at_quantile(quantile);
    [("p50", at(0.5)), ("p99", at(0.99)), ("p999", at(0.999)), ("max", at(1.0))]
}

/// Everything, in the text format of Prometheus. Names are those that ZooKeeper's own provider exports: counters have
/// no `_total` behind them, and their help is their name.
pub(crate) fn exposition(view: &View<'_>) -> String {
    let mut text = String::with_capacity(16 << 10);
    let mut last = "";
    for Metric { name, key, kind, value } in plain(view) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        if std::mem::replace(&mut last, name) != name {
            head(&mut text, name, name, kind);
        }
        let labels = key.map_or_else(String::new, |key| format!("{{{}}}", label(key)));
        let _ = writeln!(text, "{name}{labels} {value}");
    }
    for Distribution { name, key, measure, divisor, quantiles } in distributions(view) {
        if std::mem::replace(&mut last, name) != name {
            head(&mut text, name, name, "summary");
        }
        let key = key.as_deref().map(label);
        let labels = key.as_ref().map_or_else(String::new, |key| format!("{{{key}}}"));
        let first = key.map_or_else(String::new, |key| format!("{key},"));
        let told: &[f64] = if quantiles { &[0.5, 0.9, 0.99] } else { &[0.5] };
        for quantile in told {
            let value = scaled(measure.quantile(*quantile), divisor);
            let _ = writeln!(text, "{name}{{{first}quantile=\"{quantile}\"}} {value}");
        }
        let Summary { count, sum, .. } = measure.summary;
        let _ = write!(text, "{name}_count{labels} {count}\n{name}_sum{labels} {}\n", scaled(sum, divisor));
    }
    head(&mut text, "turn_time_us", "How long the loop took to go round, in microseconds.", "gauge");
    for (word, value) in turns(view) {
        let _ = writeln!(text, "turn_time_us{{at=\"{word}\"}} {value}");
    }
    process(&mut text);
    text
}

/// What stands in front of the samples of a metric.
fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// The samples of these names, each below what stands in front of its metric. A summary has samples of three: its own,
/// and with `_count` and `_sum` behind it.
///
/// Source: `CollectorRegistry.filteredMetricFamilySamples` of Prometheus' client library for Java.
pub(crate) fn only(text: &str, names: &[String]) -> String {
    let (mut chosen, mut above) = (String::new(), String::new());
    for line in text.split_inclusive('\n') {
        if line.starts_with("# HELP ") {
            above.clear();
        }
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        if line.starts_with('#') {
            above.push_str(line);
        } else if names.iter().any(|name| *name == line[..end]) {
            chosen.push_str(&std::mem::take(&mut above));
            chosen.push_str(line);
        }
    }
    chosen
}

/// The label that tells what a metric is of.
fn label(key: &str) -> String {
    format!("key=\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A number of thousandths, or of ones, as a decimal number.
fn scaled(value: u64, divisor: u64) -> String {
    if divisor == 1 { value.to_string() } else { format!("{}.{:03}", value / 1000, value % 1000) }
}

/// What Prometheus' own client libraries tell of their process, as far as this machine has it. *`DefaultExports`, which
/// ZooKeeper's provider registers.*
fn process(text: &mut String) {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let memory = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = |at| memory.split_whitespace().nth(at).and_then(|pages| pages.parse::<u64>().ok());
    let bytes = |at| pages(at).map(|pages| (pages * page).to_string());
    let millis = |ticks: u64| ticks * 1000 / rustix::param::clock_ticks_per_second().max(1);
    // Behind the name, which may hold anything, stands the third field.
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = status.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks =
        |field: usize| status.split_whitespace().nth(field - 3).and_then(|word| word.parse::<u64>().ok());
    let booted = || {
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()
    };
    let started = booted().zip(ticks(22)).map(|(boot, ticks)| boot * 1000 + millis(ticks));
    let spent = ticks(14).zip(ticks(15)).map(|(user, kernel)| millis(user + kernel));
    let (spent, started) = (spent.map(|ms| scaled(ms, 1000)), started.map(|ms| scaled(ms, 1000)));
    let (open, most) = (open_files().map(|open| open.to_string()), files_max().map(|max| max.to_string()));
    let rows = [
        ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", spent),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", started),
        ("process_open_fds", "Number of open file descriptors.", open),
        ("process_max_fds", "Maximum number of open file descriptors.", most),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", bytes(0)),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", bytes(1)),
    ];
    for (name, help, value) in rows {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        if let Some(value) = value {
            head(text, name, help, kind);
            let _ = writeln!(text, "{name} {value}");
        }
    }
}

fn files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

fn open_files() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries).ok()
}
