//! What the server counts, as plain integers: they are only touched on the loop.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use protocol::Role;
use spec::Zxid;
use tree::{Event, EventKind, auth::Sought};

use crate::{
    measure::{Measure, Summary, micros},
    namespaces::Namespaces,
    pipeline::Pipeline,
};

/// What the throttles of clients did.
#[derive(Debug)]
pub(crate) struct Throttled {
    /// How often a connection had to wait since too many requests were under way.
    pub(crate) waits: u64,
    /// How long requests waited for that, in microseconds; nothing of those that none had to wait for.
    pub(crate) waited: Measure,
    /// Requests that were answered with THROTTLEDOP.
    pub(crate) operations: u64,
    /// Requests that were of no use any more.
    pub(crate) stale: u64,
    /// Those of them that were dropped.
    pub(crate) stale_dropped: u64,
    /// Requests that were too large beside others.
    pub(crate) large: u64,
    /// Tokens that were missing behind each connection that was admitted.
    pub(crate) deficit: Measure,
}

impl Throttled {
    fn new() -> Self {
        let (waited, deficit) = (Measure::new(), Measure::new());
        Self { waits: 0, waited, operations: 0, stale: 0, stale_dropped: 0, large: 0, deficit }
    }
}

/// How many watches an event fires, by its kind.
#[derive(Debug)]
pub(crate) struct Fired {
    /// The event that is being told of, and how many were told.
    last: Option<(Zxid, Event, u64)>,
    pub(crate) created: Measure,
    pub(crate) deleted: Measure,
    pub(crate) changed: Measure,
    pub(crate) children: Measure,
}

impl Fired {
    fn new() -> Self {
        let measure = Measure::new;
        Self { last: None, created: measure(), deleted: measure(), changed: measure(), children: measure() }
    }

    /// A client is told of an event. Those who watch the same are told one after the other.
    pub(crate) fn tells(&mut self, zxid: Zxid, event: &Event) {
        match &mut self.last {
            Some((last, told, count)) if *last == zxid && told == event => *count += 1,
            Some(_) | None => {
                self.settle();
                self.last = Some((zxid, event.clone(), 1));
            }
        }
    }

    /// All are told of the last one.
    pub(crate) fn settle(&mut self) {
        let Some((_, event, count)) = self.last.take() else { return };
        let measure = match event.kind {
            EventKind::NodeCreated => &mut self.created,
            EventKind::NodeDeleted => &mut self.deleted,
            EventKind::NodeDataChanged => &mut self.changed,
            EventKind::NodeChildrenChanged => &mut self.children,
        };
        measure.record(count);
    }
}

/// What comes of comparing the digests that transactions tell with those of the states behind them (rule T-24).
#[derive(Debug, Default)]
pub(crate) struct Digests {
    /// How many differed, of those that were applied while this server served.
    pub(crate) mismatches: u64,
    /// How many differ in the state as it is.
    known: u64,
    /// Whether the server served when its last turn ended: a state that is brought up to date may be a fuzzy one.
    served: bool,
    /// Whether it was told since then.
    told: bool,
}

impl Digests {
    /// A turn ends, with a state that so many have differed from.
    pub(crate) fn compared(&mut self, differed: u64, last: Zxid, serves: bool) {
        let more = differed.saturating_sub(std::mem::replace(&mut self.known, differed));
        if more > 0 && self.served && serves {
            self.mismatches += more;
            if !std::mem::replace(&mut self.told, true) {
                tracing::error!(
                    through = %last,
                    "the state is not the one that the leader says: compare what the word `hash` says with other \
                     servers; if only this one differs, take its data away and start it, and it fetches the leader's"
                );
            }
        }
        self.served = serves;
        self.told &= serves;
    }
}

/// The counters of a server.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) started: Instant,
    pub(crate) packets_received: u64,
    pub(crate) packets_sent: u64,
    pub(crate) packets_between_servers: u64,
    pub(crate) bytes_received: u64,
    /// Bytes of replies.
    pub(crate) response_bytes: u64,
    pub(crate) connections_refused: u64,
    pub(crate) handshakes_failed: u64,
    /// The same since the last reset.
    pub(crate) handshakes_failed_lately: u64,
    /// Those who could not shake hands since too many did.
    pub(crate) handshakes_exceeded: u64,
    /// Connections without TLS where clients may come inside: from other machines, and from this one.
    pub(crate) plain_remote: u64,
    pub(crate) plain_local: u64,
    /// Clients that have named an ensemble: this one, another one, or it did not matter.
    pub(crate) ensemble_named: u64,
    pub(crate) ensemble_other: u64,
    pub(crate) ensemble_any: u64,
    pub(crate) connections_dropped: u64,
    pub(crate) connection_requests: u64,
    pub(crate) sessionless_expired: u64,
    /// Connections that went on with a session they had.
    pub(crate) renewals: u64,
    /// Whole states that the admin server did not give out again so soon.
    pub(crate) snapshots_limited: u64,
    /// Whole states that it could not give out.
    pub(crate) snapshots_failed: u64,
    /// What the throttles did.
    pub(crate) throttled: Throttled,
    pub(crate) sessions_expired: u64,
    pub(crate) looking: u64,
    /// How often this server gave up to lead since voters looked elsewhere.
    pub(crate) vain_reigns: u64,
    pub(crate) diffs: u64,
    pub(crate) snaps: u64,
    pub(crate) proposals: u64,
    pub(crate) proposal_bytes: Summary,
    pub(crate) proposal_bytes_last: Option<u64>,
    /// From the receipt of a request to its answer, in microseconds.
    pub(crate) latency: Summary,
    /// Of reads that are answered, as `latency`.
    pub(crate) read_latency: Measure,
    /// Of all other requests that are answered, as `latency`.
    pub(crate) update_latency: Measure,
    /// The sizes of replies and events, in bytes.
    pub(crate) response_sizes: Summary,
    pub(crate) response_size_last: Option<u64>,
    /// Bytes of events.
    pub(crate) watch_bytes: u64,
    /// What is read and written, by the first name of its path.
    pub(crate) namespaces: Namespaces,
    /// Whether states are what the leader says.
    pub(crate) digests: Digests,
    /// How many watches fire.
    pub(crate) fired: Fired,
    /// How long the disk took to sync a batch, in microseconds.
    pub(crate) fsync: Measure,
    /// Syncs that took longer than the configuration has for long.
    pub(crate) slow_syncs: u64,
    /// How long a snapshot took, in milliseconds.
    pub(crate) snapshot: Measure,
    /// How long it took to find a leader, in milliseconds.
    pub(crate) election: Measure,
    /// When this server began to look for a leader, while it does.
    pub(crate) looking_since: Option<Instant>,
    /// How the data was read at the start.
    pub(crate) loading: Loading,
    /// How long transactions take on their way.
    pub(crate) pipeline: Pipeline,
    /// How long a turn of the loop took, in microseconds.
    pub(crate) turns: Histogram<u64>,
}

/// How the data was read at the start, times in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    pub(crate) all: Measure,
    pub(crate) snapshot: Measure,
    pub(crate) log: Measure,
    /// Transactions of the log that were replayed.
    pub(crate) txns: Measure,
}

/// A turn that takes longer than this is worth a warning.
const TURN_SLOW: Duration = Duration::from_millis(100);
/// The longest turn that the histogram tells apart, in microseconds.
const TURN_MAX: u64 = 60_000_000;

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            packets_received: 0,
            packets_sent: 0,
            packets_between_servers: 0,
            bytes_received: 0,
            response_bytes: 0,
            connections_refused: 0,
            handshakes_failed: 0,
            handshakes_failed_lately: 0,
            handshakes_exceeded: 0,
            plain_remote: 0,
            plain_local: 0,
            ensemble_named: 0,
            ensemble_other: 0,
            ensemble_any: 0,
            connections_dropped: 0,
            connection_requests: 0,
            sessionless_expired: 0,
            renewals: 0,
            snapshots_limited: 0,
            snapshots_failed: 0,
            throttled: Throttled::new(),
            sessions_expired: 0,
            looking: 0,
            vain_reigns: 0,
            diffs: 0,
            snaps: 0,
            proposals: 0,
            proposal_bytes: Summary::default(),
            proposal_bytes_last: None,
            latency: Summary::default(),
            read_latency: Measure::new(),
            update_latency: Measure::new(),
            response_sizes: Summary::default(),
            response_size_last: None,
            watch_bytes: 0,
            namespaces: Namespaces::default(),
            digests: Digests::default(),
            fired: Fired::new(),
            fsync: Measure::new(),
            slow_syncs: 0,
            snapshot: Measure::new(),
            election: Measure::new(),
            looking_since: None,
            loading: Loading::default(),
            pipeline: Pipeline::new(),
            turns: Histogram::new_with_max(TURN_MAX, 2).expect("two digits up to a minute"),
        }
    }

    pub(crate) fn turn(&mut self, took: Duration) {
        self.turns.saturating_record(micros(took));
        if took > TURN_SLOW {
            tracing::warn!(ms = took.as_millis(), "a turn of the loop took long");
        }
    }

    /// A reply or an event of so many bytes was written.
    pub(crate) fn response(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.response_sizes.record(bytes);
        self.response_size_last = Some(bytes);
    }

    /// This server looks for a leader.
    pub(crate) fn looks(&mut self) {
        self.looking += 1;
        self.pipeline.looks();
        self.looking_since.get_or_insert_with(Instant::now);
    }

    /// It looks no more: it has found its part. Who observes has waited for an election of others, and is not told of, as
    /// in ZooKeeper.
    pub(crate) fn found(&mut self, role: Role) {
        let since = self.looking_since.take();
        match (role, since) {
            (Role::Leading | Role::Following(_), Some(since)) => {
                self.election.record(micros(since.elapsed()) / 1000);
            }
            (Role::Observing(_), Some(_)) | (_, None) => {}
        }
    }

    /// A client has come without TLS who could have come inside.
    pub(crate) fn came_plain(&mut self, from: IpAddr) {
        let count = if from.is_loopback() { &mut self.plain_local } else { &mut self.plain_remote };
        *count += 1;
    }

    /// A client has said which ensemble it looks for.
    pub(crate) fn sought(&mut self, sought: Sought) {
        let count = match sought {
            Sought::Any => &mut self.ensemble_any,
            Sought::This => &mut self.ensemble_named,
            Sought::Other => &mut self.ensemble_other,
        };
        *count += 1;
    }

    /// What `srst` begins anew: packets, latencies and sizes, and with them every counter and summary that is no gauge
    /// of ZooKeeper's, unless they are for Prometheus, whose counters only rise. What was told of a name or a server goes
    /// on to be told, at zero. *`ServerStats.reset`,
    /// `DefaultMetricsProvider`, `PrometheusMetricsProvider`.*
    pub(crate) fn reset(&mut self, for_prometheus: bool) {
        if for_prometheus {
            (self.packets_received, self.packets_sent) = (0, 0);
            self.latency = Summary::default();
            (self.response_sizes, self.response_size_last) = (Summary::default(), None);
            (self.proposal_bytes, self.proposal_bytes_last) = (Summary::default(), None);
            return;
        }
        let before = std::mem::replace(self, Self::new());
        self.started = before.started;
        self.looking_since = before.looking_since;
        (self.handshakes_failed, self.slow_syncs) = (before.handshakes_failed, before.slow_syncs);
        (self.plain_remote, self.plain_local) = (before.plain_remote, before.plain_local);
        self.namespaces = before.namespaces.anew();
        self.digests = Digests { mismatches: 0, ..before.digests };
        self.pipeline = before.pipeline.anew();
        self.turns = before.turns;
    }

    pub(crate) fn proposal(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.proposals += 1;
        self.proposal_bytes.record(bytes);
        self.proposal_bytes_last = Some(bytes);
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Message, Role, peer::Packet};
    use spec::{ServerId, SessionId, Zxid};
    use tree::{Event, EventKind, Txn, TxnBody};

    use super::{Fired, Stats};

    #[test]
    fn a_reset_begins_counters_anew_and_no_gauge() {
        let counted = || {
            let mut stats = Stats::new();
            stats.looks();
            stats.proposal(7);
            stats.packets_sent = 5;
            stats.slow_syncs = 3;
            stats.pipeline.logged(Zxid(1), 0, true);
            stats.pipeline.received(ServerId(2), &Packet::Zab(Message::Ack { zxid: Zxid(1) }), true, 7);
            let body = TxnBody::Delete { path: "/app/x".into(), sweep: false };
            stats.namespaces.logged(&Txn { session: SessionId(1), cxid: 1, time: 0, body, digest: None });
            stats
        };
        let started = counted().started;
        for for_prometheus in [true, false] {
            let mut stats = counted();
            stats.started = started;
            stats.reset(for_prometheus);
            assert_eq!((stats.packets_sent, stats.proposal_bytes.count, stats.slow_syncs), (0, 0, 3));
            let rises = u64::from(for_prometheus);
            assert_eq!((stats.looking, stats.proposals, stats.pipeline.queued), (rises, rises, rises));
            let counts: Vec<_> = stats.pipeline.acks.values().map(|measure| measure.summary.count).collect();
            assert_eq!(counts, [rises], "who has acknowledged is told of");
            let names: Vec<_> =
                stats.namespaces.writes.iter().map(|(name, measure)| (name, measure.summary.count)).collect();
            assert_eq!(names, [("app", rises)], "so is what was written");
            assert!(stats.started == started && stats.looking_since.is_some());
            // What is under way is told of when it comes to its end.
            stats.pipeline.applied(Zxid(1), 4, None);
            assert_eq!(stats.pipeline.propagation.summary.sum, 4);
        }
    }

    #[test]
    fn elections_are_those_of_voters() {
        let other = ServerId(2);
        for (role, expected) in [(Role::Leading, 1), (Role::Following(other), 1), (Role::Observing(other), 0)]
        {
            let mut stats = Stats::new();
            stats.found(role);
            assert_eq!(stats.election.summary.count, 0, "it has not looked");
            stats.looks();
            stats.found(role);
            assert_eq!((stats.election.summary.count, stats.looking_since), (expected, None), "{role:?}");
        }
    }

    #[test]
    fn watches_are_counted_by_event() {
        let mut fired = Fired::new();
        let event = |path: &'static str| Event { kind: EventKind::NodeDeleted, path: path.into() };
        for (zxid, path) in [(1, "/a"), (1, "/a"), (1, "/b"), (2, "/b"), (2, "/b"), (2, "/b")] {
            fired.tells(Zxid(zxid), &event(path));
        }
        fired.settle();
        fired.settle();
        let summary = fired.deleted.summary;
        assert_eq!((summary.count, summary.sum, summary.min, summary.max), (3, 6, 1, 3));
        assert_eq!(fired.created.summary.count, 0);
    }
}
