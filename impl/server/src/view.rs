//! What the server shows of itself: the facts behind the four-letter words, the admin commands and the metrics.

use std::net::SocketAddr;

use protocol::Role;
use spec::{Machine, ServerId, SessionId, Zxid};

use crate::{
    client::Traffic,
    config::Throttles,
    core::{Core, Part},
    logging::LogPipe,
    namespaces::{Names, Quotas},
    stats::Stats,
};

/// The version of ZooKeeper that this server behaves like, and its own.
const VERSION: &str = concat!("3.9.5-zabkeeper-", env!("CARGO_PKG_VERSION"));
/// A day for the sources of that version, with which it changes.
const RELEASED: &str = "2026-11-29 00:00 UTC";
/// Where Java has the time of its build, in its form. Who packages this server says another by `ZABKEEPER_BUILT` at compile
/// time; the same source and the same settings give the same binary.
const BUILT: &str = match option_env!("ZABKEEPER_BUILT") {
    Some(built) => built,
    None => RELEASED,
};

/// The version as Java prints it.
pub(crate) fn version() -> String {
    format!("{VERSION}, built on {BUILT}")
}

/// What is told in few words.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) stats: &'a Stats,
    pub(crate) mode: Mode,
    pub(crate) part: Part,
    pub(crate) zxid: Zxid,
    pub(crate) outstanding: u64,
    pub(crate) connections: u64,
    /// Connections that shake hands.
    pub(crate) handshakes: u64,
    pub(crate) tree: TreeView,
    /// What quotas come to, below each child of the root.
    pub(crate) quotas: Names<Quotas>,
    pub(crate) quorum_size: u64,
    /// Of a leader.
    pub(crate) learners: Option<Learners>,
    /// Syncs that are not answered, of a leader.
    pub(crate) pending_syncs: Option<u64>,
    /// Of an observer: whom it learns from.
    pub(crate) observed: Option<ServerId>,
    /// The chance that a connection is turned away, in millionths.
    pub(crate) drop_chance: u32,
    pub(crate) throttles: &'a Throttles,
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
    /// It has no leader, and serves clients that only read.
    ReadOnly,
    Standalone,
    Leader,
    Follower,
    Observer,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotServing => "looking",
            Self::ReadOnly => "read-only",
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
        }
    }

    pub(crate) fn peer_state(self) -> Option<&'static str> {
        match self {
            Self::Leader => Some("leading - broadcast"),
            Self::Follower => Some("following - broadcast"),
            Self::Observer => Some("observing - broadcast"),
            Self::NotServing | Self::ReadOnly | Self::Standalone => None,
        }
    }
}

/// A client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientView {
    pub(crate) address: SocketAddr,
    pub(crate) outstanding: usize,
    /// Its session and the timeout of that, in milliseconds.
    pub(crate) session: Option<(SessionId, i32)>,
    pub(crate) traffic: Traffic,
    /// What is waited for on it, in the bits of Java's selectors: 1, to read; 0 of who has said a word.
    pub(crate) interest: u8,
    /// Whether it is inside TLS.
    pub(crate) is_secure: bool,
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

impl Core {
    /// The same with what every quota comes to, of which there may be many.
    pub(crate) fn whole_view(&self) -> View<'_> {
        View { quotas: Names::sum(self.tree.quotas()), ..self.view() }
    }

    /// The server as it is now, without quotas.
    pub(crate) fn view(&self) -> View<'_> {
        let shell = &self.shell;
        let mode = shell.mode();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        View {
            stats: &shell.stats,
            mode,
            part: shell.part,
            zxid: self.last_zxid(),
            outstanding: number(self.shell.requests_under_way(&self.peer)),
            connections: number(shell.clients.len()),
            handshakes: number(shell.clients.knocking.len()),
            // Apache ZooKeeper keeps the root under two names, the empty one and "/", and counts both: servers of both
            // makers are to show the same.
            tree: TreeView {
                nodes: number(self.tree.node_count()) + 1,
                data_bytes: self.tree.data_bytes() + 1,
                ephemerals: number(self.tree.ephemeral_count()),
                watches: number(self.peer.watches().len()),
                sessions: number(self.tree.session_count()),
            },
            quotas: Names::default(),
            quorum_size: number(shell.config.quorum.voters().count()),
            learners: (mode == Mode::Leader).then(|| shell.links.learners(&shell.config.quorum)),
            pending_syncs: (mode == Mode::Leader)
                .then(|| shell.stats.pipeline.open_syncs() + number(shell.clients.open_syncs())),
            observed: shell.part.role.filter(|_| mode == Mode::Observer).and_then(Role::leader),
            drop_chance: shell.bucket.chance(),
            throttles: &shell.config.throttles,
            log_lines_dropped: shell.log_lines.as_ref().map_or(0, LogPipe::dropped),
        }
    }

    /// The last transaction that this server has processed, as it shows it. A leader counts the start of its epoch.
    fn last_zxid(&self) -> Zxid {
        let processed = self.tree.last_processed();
        match self.shell.mode() {
            Mode::Leader => processed.max(self.shell.part.epoch.start()),
            Mode::NotServing | Mode::ReadOnly | Mode::Standalone | Mode::Follower | Mode::Observer => {
                processed
            }
        }
    }
}
