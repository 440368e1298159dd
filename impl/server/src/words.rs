//! The four-letter words: what a monitoring script or a client asks before it speaks the protocol.
//!
//! The shapes are Java's, down to missing line ends, for scripts parse them. Only what this server truly knows is
//! answered.

use std::{fmt::Write, net::SocketAddr};

use spec::{ServerId, Zxid};

use crate::{config::Words, stats::Stats};

/// The version of ZooKeeper that this server behaves like, and its own.
pub(crate) const VERSION: &str = concat!("3.9.5-zabkeeper-", env!("CARGO_PKG_VERSION"));
/// Where Java has the time of its build. Who packages this server says it by `ZABKEEPER_BUILT` at compile time, so that
/// the same source and the same settings give the same binary; otherwise nothing is known beyond the version.
const BUILT: &str = match option_env!("ZABKEEPER_BUILT") {
    Some(built) => built,
    None => concat!("the sources of zabkeeper ", env!("CARGO_PKG_VERSION")),
};

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// What the words tell of.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) stats: &'a Stats,
    pub(crate) mode: Mode,
    pub(crate) zxid: Zxid,
    pub(crate) outstanding: u64,
    pub(crate) clients: Vec<ClientView>,
    pub(crate) tree: TreeView,
    pub(crate) quorum_size: usize,
    /// Of a leader.
    pub(crate) learners: Option<Learners>,
    /// Of an observer: whom it learns from.
    pub(crate) observed: Option<ServerId>,
    pub(crate) log_lines_dropped: u64,
}

/// The learners of a leader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Learners {
    /// Links with them.
    pub(crate) links: usize,
    /// Followers that are brought up to date.
    pub(crate) synced_followers: usize,
    /// Observers that are brought up to date.
    pub(crate) synced_observers: usize,
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// It serves nobody.
    NotServing,
    Standalone,
    Leader,
    Follower,
    Observer,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::NotServing => "looking",
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
        }
    }

    fn peer_state(self) -> Option<&'static str> {
        match self {
            Self::Leader => Some("leading - broadcast"),
            Self::Follower => Some("following - broadcast"),
            Self::Observer => Some("observing - broadcast"),
            Self::NotServing | Self::Standalone => None,
        }
    }
}

/// A client's connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientView {
    pub(crate) address: SocketAddr,
    pub(crate) outstanding: usize,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// The size of the state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TreeView {
    pub(crate) nodes: u64,
    pub(crate) data_bytes: u64,
    pub(crate) ephemerals: u64,
    pub(crate) watches: u64,
    pub(crate) sessions: u64,
}

/// Whether these four bytes, in the place of a frame's length, are a word and no length. Every word is letters, which
/// as a length would be far above any limit.
pub(crate) fn is_word(first: [u8; 4]) -> bool {
    first.iter().all(u8::is_ascii_lowercase)
}

/// The whole answer to a word; nothing for one that does not exist.
pub(crate) fn answer(word: &str, allowed: &Words, view: &View<'_>) -> String {
    const KNOWN: [&str; 6] = ["ruok", "srvr", "stat", "envi", "isro", "mntr"];
    if !allowed.allow(word) || !KNOWN.contains(&word) {
        return format!("{word} is not executed because it is not in the whitelist.\n");
    }
    match word {
        "ruok" => "imok".to_owned(),
        "isro" if view.mode == Mode::NotServing => "null".to_owned(),
        "isro" => "rw".to_owned(),
        "envi" => environment(),
        _ if view.mode == Mode::NotServing => NOT_SERVING.to_owned(),
        "srvr" => format!("{}{}", version_line(), server(view)),
        "stat" => stat(view),
        _ => monitor(view),
    }
}

fn version_line() -> String {
    format!("Zookeeper version: {VERSION}, built on {BUILT}\n")
}

fn server(view: &View<'_>) -> String {
    let stats = view.stats;
    let latency = &stats.latency;
    let mut text = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: 0x{:x}\nMode: {}\nNode count: {}\n",
        latency.min / 1000,
        latency.average(1000),
        latency.max / 1000,
        stats.packets_received,
        stats.packets_sent,
        view.clients.len(),
        view.outstanding,
        view.zxid.0,
        view.mode.name(),
        view.tree.nodes,
    );
    if view.mode == Mode::Leader {
        let (last, min, max) = proposal_sizes(stats);
        let _ = writeln!(text, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
    text
}

/// Sizes in bytes, −1 before the first proposal as in Java.
fn proposal_sizes(stats: &Stats) -> (i64, i64, i64) {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    stats.proposal_bytes_last.map_or((-1, -1, -1), |last| {
        (number(last), number(stats.proposal_bytes.min), number(stats.proposal_bytes.max))
    })
}

fn stat(view: &View<'_>) -> String {
    let mut text = version_line();
    text.push_str("Clients:\n");
    for client in &view.clients {
        let _ = writeln!(
            text,
            " /{}[1](queued={},recved={},sent={})",
            client.address, client.outstanding, client.received, client.sent
        );
    }
    text.push('\n');
    text.push_str(&server(view));
    text
}

fn environment() -> String {
    let mut text = format!("Environment:\nzookeeper.version={VERSION}, built on {BUILT}\n");
    let uname = rustix::system::uname();
    let directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let variable = |name| std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned());
    let rows = [
        ("host.name", uname.nodename().to_string_lossy().into_owned()),
        ("java.version", "<NA>".to_owned()),
        ("java.vendor", "<NA>".to_owned()),
        ("java.home", "<NA>".to_owned()),
        ("java.class.path", "<NA>".to_owned()),
        ("java.library.path", "<NA>".to_owned()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", "<NA>".to_owned()),
        ("os.name", uname.sysname().to_string_lossy().into_owned()),
        ("os.arch", uname.machine().to_string_lossy().into_owned()),
        ("os.version", uname.release().to_string_lossy().into_owned()),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory),
    ];
    for (key, value) in rows {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn monitor(view: &View<'_>) -> String {
    let stats = view.stats;
    let mut text =
        format!("zk_version\t{VERSION}, built on {BUILT}\nzk_server_state\t{}\n", view.mode.name());
    if let Some(state) = view.mode.peer_state() {
        let _ = writeln!(text, "zk_peer_state\t{state}");
    }
    let _ = writeln!(text, "zk_avg_latency\t{}", stats.latency.average(1000));
    for (key, value) in numbers(view) {
        let _ = writeln!(text, "zk_{key}\t{value}");
    }
    if view.mode == Mode::Leader {
        let (last, min, max) = proposal_sizes(stats);
        let _ = write!(
            text,
            "zk_last_proposal_size\t{last}\nzk_min_proposal_size\t{min}\nzk_max_proposal_size\t{max}\n"
        );
    }
    summary(&mut text, "fsynctime", &stats.fsync, 1000);
    summary(&mut text, "snapshottime", &stats.snapshot, 1);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        let _ = writeln!(text, "zk_{name}_turn_time_us\t{}", stats.turns.value_at_quantile(quantile));
    }
    text
}

/// The plain numbers of `mntr`, by ZooKeeper's names.
fn numbers(view: &View<'_>) -> Vec<(&'static str, u64)> {
    let stats = view.stats;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut rows = vec![
        ("min_latency", stats.latency.min / 1000),
        ("max_latency", stats.latency.max / 1000),
        ("packets_received", stats.packets_received),
        ("packets_sent", stats.packets_sent),
        ("num_alive_connections", count(view.clients.len())),
        ("outstanding_requests", view.outstanding),
        ("uptime", u64::try_from(stats.started.elapsed().as_millis()).unwrap_or(u64::MAX)),
        ("znode_count", view.tree.nodes),
        ("watch_count", view.tree.watches),
        ("ephemerals_count", view.tree.ephemerals),
        ("approximate_data_size", view.tree.data_bytes),
        ("global_sessions", view.tree.sessions),
        ("local_sessions", 0),
        ("quorum_size", count(view.quorum_size)),
        ("bytes_received_count", stats.bytes_received),
        ("response_bytes", stats.response_bytes),
        ("connection_request_count", stats.connection_requests),
        ("connection_rejected", stats.connections_refused),
        ("connection_drop_count", stats.connections_dropped),
        ("sessionless_connections_expired", stats.sessionless_expired),
        ("stale_sessions_expired", stats.sessions_expired),
        ("looking_count", stats.looking),
        ("diff_count", stats.diffs),
        ("snap_count", stats.snaps),
        ("proposal_count", stats.proposals),
        ("log_lines_dropped", view.log_lines_dropped),
    ];
    rows.extend(open_files().map(|number| ("open_file_descriptor_count", number)));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    rows.extend(limit.map(|number| ("max_file_descriptor_count", number)));
    if let Some(Learners { links, synced_followers, synced_observers }) = view.learners {
        rows.push(("learners", count(links)));
        rows.push(("synced_followers", count(synced_followers)));
        rows.push(("synced_observers", count(synced_observers)));
    }
    rows.extend(view.observed.map(|leader| ("observer_master_id", leader.0)));
    rows
}

fn open_files() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries).ok()
}

fn summary(text: &mut String, name: &str, summary: &crate::stats::Summary, divisor: u64) {
    let _ = write!(
        text,
        "zk_avg_{name}\t{}\nzk_min_{name}\t{}\nzk_max_{name}\t{}\nzk_cnt_{name}\t{}\nzk_sum_{name}\t{}\n",
        summary.average(divisor),
        summary.min / divisor,
        summary.max / divisor,
        summary.count,
        summary.sum / divisor,
    );
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, ServerId, Zxid};

    use super::{BUILT, ClientView, Learners, Mode, TreeView, VERSION, View, answer, is_word};
    use crate::{config::Words, stats::Stats};

    fn ask(word: &str, mode: Mode, allowed: &Words) -> String {
        let mut stats = Stats::new();
        stats.packets_received = 12;
        stats.packets_sent = 11;
        stats.latency.record(500);
        stats.latency.record(2500);
        stats.proposal(48);
        let client = ClientView {
            address: "127.0.0.1:40000".parse().expect("an address"),
            outstanding: 1,
            received: 4,
            sent: 3,
        };
        let view = View {
            stats: &stats,
            mode,
            zxid: Zxid::new(Epoch(1), 2),
            outstanding: 1,
            clients: vec![client],
            tree: TreeView { nodes: 5, ..TreeView::default() },
            quorum_size: 3,
            learners: (mode == Mode::Leader).then_some(Learners {
                links: 3,
                synced_followers: 2,
                synced_observers: 1,
            }),
            observed: (mode == Mode::Observer).then_some(ServerId(2)),
            log_lines_dropped: 0,
        };
        answer(word, allowed, &view)
    }

    const SERVER: &str = "Latency min/avg/max: 0/1.5/2\nReceived: 12\nSent: 11\nConnections: 1\nOutstanding: 1\n\
        Zxid: 0x100000002\n";

    #[test]
    fn shapes_are_javas() {
        let head = format!("Zookeeper version: {VERSION}, built on {BUILT}\n");
        let sizes = "Proposal sizes last/min/max: 48/48/48\n";
        let rows = [
            ("ruok", Mode::NotServing, "imok".to_owned()),
            ("isro", Mode::Follower, "rw".to_owned()),
            ("isro", Mode::NotServing, "null".to_owned()),
            (
                "srvr",
                Mode::NotServing,
                "This ZooKeeper instance is not currently serving requests\n".to_owned(),
            ),
            ("srvr", Mode::Standalone, format!("{head}{SERVER}Mode: standalone\nNode count: 5\n")),
            ("srvr", Mode::Leader, format!("{head}{SERVER}Mode: leader\nNode count: 5\n{sizes}")),
            (
                "stat",
                Mode::Follower,
                format!(
                    "{head}Clients:\n /127.0.0.1:40000[1](queued=1,recved=4,sent=3)\n\n{SERVER}Mode: follower\nNode count: 5\n"
                ),
            ),
        ];
        for (word, mode, expected) in rows {
            assert_eq!(ask(word, mode, &Words::All), expected, "{word} {mode:?}");
        }
    }

    #[test]
    fn a_word_outside_of_the_whitelist_says_so() {
        let only = Words::Only(vec!["srvr".to_owned()]);
        assert_eq!(
            ask("ruok", Mode::Leader, &only),
            "ruok is not executed because it is not in the whitelist.\n"
        );
        assert!(ask("srvr", Mode::Leader, &only).starts_with("Zookeeper version: "));
    }

    #[test]
    fn monitoring_is_keys_and_values_by_tabs() {
        let text = ask("mntr", Mode::Leader, &Words::All);
        assert!(text.lines().all(|line| line.starts_with("zk_") && line.split('\t').count() == 2), "{text}");
        for row in
            ["zk_server_state\tleader", "zk_znode_count\t5", "zk_avg_latency\t1.5", "zk_synced_followers\t2"]
                .into_iter()
                .chain(["zk_learners\t3", "zk_synced_observers\t1"])
        {
            assert!(text.lines().any(|line| line == row), "{row}");
        }
        assert!(!ask("mntr", Mode::Follower, &Words::All).contains("synced_followers"));
        let text = ask("mntr", Mode::Observer, &Words::All);
        for row in
            ["zk_server_state\tobserver", "zk_peer_state\tobserving - broadcast", "zk_observer_master_id\t2"]
        {
            assert!(text.lines().any(|line| line == row), "{row}");
        }
    }

    #[test]
    fn kazoo_finds_the_version() {
        let text = ask("envi", Mode::NotServing, &Words::All);
        assert!(text.starts_with(&format!("Environment:\nzookeeper.version={VERSION}")), "{text}");
    }

    #[test]
    fn lengths_are_no_words() {
        assert!(is_word(*b"srvr"));
        assert!(!is_word(44_u32.to_be_bytes()));
    }
}
