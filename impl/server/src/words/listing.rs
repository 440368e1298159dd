//! The words that list: connections, sessions, ephemerals, watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    time::{Duration, Instant, SystemTime},
};

use spec::{Machine, SessionId, Zxid};
use tree::Text;
use wire::client::opcode;

use crate::{core::Core, net::java_address, view::ClientView};

/// Who watches which nodes: by path, sessions.
pub(crate) type Watchers = BTreeMap<Text, BTreeSet<SessionId>>;
/// When sessions expire unless something is heard of them: the ticks from now, and for each their sessions.
pub(crate) type Expiries = BTreeMap<u32, BTreeSet<SessionId>>;

/// Beyond so many watches they are counted, and not listed: that takes the loop too long.
const WATCHES_LISTED_MAX: usize = 100_000;
/// So are those whose paths have more bytes than this, one for each session.
const WATCHES_BYTES_MAX: usize = 16 << 20;

/// How many watches of nodes there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct WatchCounts {
    /// Connections that watch.
    pub(crate) connections: usize,
    /// Nodes that are watched.
    pub(crate) paths: usize,
    /// Watches in all.
    pub(crate) total: usize,
}

impl fmt::Display for WatchCounts {
    /// As `wchs` answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, paths, total } = self;
        write!(f, "{connections} connections watching {paths} paths\nTotal watches:{total}\n")
    }
}

impl Core {
    /// How many watches of nodes there are.
    pub(crate) fn watch_counts(&self) -> WatchCounts {
        let (connections, paths, total) = self.peer.watches().of_data_counts();
        WatchCounts { connections, paths, total }
    }

    /// How many watches there are, if they are too many to be listed, or too long.
    pub(crate) fn watches_unlisted(&self) -> Option<usize> {
        let total = self.watch_counts().total;
        let bytes = || -> usize {
            self.peer.watches().of_data().map(|(path, clients)| path.as_bytes().len() * clients.count()).sum()
        };
        (total > WATCHES_LISTED_MAX || bytes() > WATCHES_BYTES_MAX).then_some(total)
    }

    /// The watches as a word lists them, if they are not too many.
    pub(super) fn listed_watchers(&self, list: impl Fn(&Watchers) -> String) -> String {
        match self.watches_unlisted() {
            Some(total) => format!("{total} watches are too many to be listed; wchs counts them\n"),
            None => list(&self.watchers()),
        }
    }

    /// The watches of nodes. Those of children are not told, as by ZooKeeper.
    pub(crate) fn watchers(&self) -> Watchers {
        let mut all = Watchers::new();
        for (path, clients) in self.peer.watches().of_data() {
            let sessions = clients.filter_map(|client| self.peer.session_of(client)).collect();
            all.insert(path.clone(), sessions);
        }
        all
    }

    /// When sessions expire, as a leader sees it.
    pub(crate) fn expiries(&self) -> Expiries {
        let mut all = Expiries::new();
        for (session, ticks) in self.peer.expiries() {
            all.entry(ticks).or_default().insert(session);
        }
        all
    }

    /// The nodes of every session that has ephemerals.
    pub(crate) fn ephemerals(&self) -> BTreeMap<SessionId, BTreeSet<Text>> {
        let sessions = self.tree.sessions().into_iter().map(|(session, _)| session);
        let owned = sessions.map(|session| (session, self.tree.ephemerals(session)));
        owned.filter(|(_, paths)| !paths.is_empty()).collect()
    }

    /// The answer to `dump`.
    pub(super) fn dump(&self) -> String {
        let mut text = "SessionTracker dump:\n".to_owned();
        let sessions = self.tree.sessions();
        let read_only = self.shell.part.read_only;
        let learns = self.shell.part.role.is_some_and(|role| role.leader().is_some());
        if !learns {
            let expiries = self.expiries();
            let (whose, tracked) = if read_only {
                ("Local ", expiries.values().map(BTreeSet::len).sum())
            } else {
                ("", sessions.len())
            };
            let _ = writeln!(text, "{whose}Session Sets ({})/({tracked}):", expiries.len());
            let tick = Duration::from_millis(u64::from(self.shell.config.tick_ms));
            for (ticks, sessions) in expiries {
                let date = date(SystemTime::now() + tick * ticks);
                let _ = writeln!(text, "{} expire at {date}:", sessions.len());
                for session in sessions {
                    let _ = writeln!(text, "\t{session}");
                }
            }
        }
        if learns || read_only {
            let _ = writeln!(text, "Global Sessions({}):", sessions.len());
            for (session, timeout_ms) in sessions {
                let _ = writeln!(text, "{session}\t{timeout_ms}ms");
            }
        }
        let ephemerals = self.ephemerals();
        let _ = write!(text, "ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", ephemerals.len());
        for (session, paths) in ephemerals {
            let _ = writeln!(text, "{session}:");
            for path in paths {
                let _ = writeln!(text, "\t{path}");
            }
        }
        text.push_str("Connections dump:\n");
        text
    }
}

/// A moment as Java prints it, in UTC.
fn date(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%a %b %d %H:%M:%S UTC %Y").to_string()
}

/// The beginning of a line about a connection.
pub(super) fn connection(client: &ClientView) -> String {
    let traffic = &client.traffic;
    format!(
        "/{}[{}](queued={},recved={},sent={}",
        java_address(client.address),
        client.interest,
        client.outstanding,
        traffic.received,
        traffic.sent
    )
}

/// The answer to `cons`; times are in milliseconds, of answers since the start of the server.
pub(super) fn connections(clients: &[ClientView], started: Instant) -> String {
    let mut text = String::new();
    for client in clients {
        let _ = write!(text, " {}", connection(client));
        let traffic = &client.traffic;
        if let Some((session, timeout_ms)) = client.session {
            let _ = write!(
                text,
                ",sid={session},lop={},est={},to={timeout_ms}",
                traffic.operation.map_or("null", operation),
                traffic.established
            );
            if let Some(xid) = traffic.xid {
                let _ = write!(text, ",lcxid=0x{xid:x}");
            }
            let _ = write!(
                text,
                ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
                traffic.zxid.map_or(u64::MAX, |zxid| zxid.0),
                traffic.answered.map_or(0, |at| at.saturating_duration_since(started).as_millis()),
                traffic.took / 1000,
                traffic.latency.min / 1000,
                traffic.latency.sum / traffic.latency.count.max(1) / 1000,
                traffic.latency.max / 1000,
            );
        }
        text.push_str(")\n");
    }
    text.push('\n');
    text
}

/// Java's short name of an operation, by its number.
pub(crate) fn operation(number: i32) -> &'static str {
    match number {
        opcode::PING => "PING",
        opcode::CREATE_SESSION => "SESS",
        opcode::MULTI => "MULT",
        opcode::MULTI_READ => "MLTR",
        opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => "CREA",
        opcode::DELETE | opcode::DELETE_CONTAINER => "DELE",
        opcode::SET_DATA => "SETD",
        opcode::RECONFIG => "RECO",
        opcode::SET_ACL => "SETA",
        opcode::CLOSE_SESSION => "CLOS",
        opcode::SYNC => "SYNC",
        opcode::CHECK => "CHEC",
        opcode::EXISTS => "EXIS",
        opcode::GET_DATA => "GETD",
        opcode::SET_WATCHES => "SETW",
        opcode::SET_WATCHES2 => "STW2",
        opcode::ADD_WATCH => "ADDW",
        opcode::GET_ACL => "GETA",
        opcode::GET_CHILDREN | opcode::GET_CHILDREN2 => "GETC",
        opcode::GET_ALL_CHILDREN_NUMBER => "GETACN",
        opcode::CHECK_WATCHES => "CHKW",
        opcode::REMOVE_WATCHES => "REMW",
        opcode::WHO_AM_I => "HOMI",
        opcode::GET_EPHEMERALS => "GETE",
        _ => "NA",
    }
}

/// The sessions, each with the nodes that it watches.
pub(crate) fn by_session(watchers: &Watchers) -> BTreeMap<SessionId, Vec<&Text>> {
    let mut sessions: BTreeMap<SessionId, Vec<&Text>> = BTreeMap::new();
    for (path, watching) in watchers {
        for session in watching {
            sessions.entry(*session).or_default().push(path);
        }
    }
    sessions
}

/// The answer to `hash`.
pub(super) fn digests(log: impl Iterator<Item = (Zxid, i64)>) -> String {
    let mut text = String::new();
    for (zxid, digest) in log {
        let _ = writeln!(text, "{:x}: {digest}", zxid.0);
    }
    text
}

/// The answer to `wchc`.
pub(super) fn watches_by_session(watchers: &Watchers) -> String {
    let mut text = String::new();
    for (session, paths) in by_session(watchers) {
        let _ = writeln!(text, "{session}");
        for path in paths {
            let _ = writeln!(text, "\t{path}");
        }
    }
    text.push('\n');
    text
}

/// The answer to `wchp`.
pub(super) fn watches_by_path(watchers: &Watchers) -> String {
    let mut text = String::new();
    for (path, sessions) in watchers {
        let _ = writeln!(text, "{path}");
        for session in sessions {
            let _ = writeln!(text, "\t{session}");
        }
    }
    text.push('\n');
    text
}
