//! What clients asked and were shown, as far as it is recorded: writes, and reads that left something behind.

use std::collections::{BTreeMap, BTreeSet};

use protocol::peer::{ClientRequest, Input};
use spec::{
    ClientId, ServerId, SessionId, Verdict, Zxid,
    session::{
        Answered, Attempt, session_sees_forward, sessions_write_in_order, shown_is_committed,
        write_comes_behind, writes_happen_once,
    },
};
use tree::{Tree, Txn, TxnBody};

use crate::{report::Report, rules::Order, sink::Effect};

/// One connection.
#[derive(Debug, Default)]
struct Connection {
    /// Later ones have greater ones.
    serial: u64,
    session: Option<SessionId>,
    /// Its server has no leader, and says so: what it shows may never be committed (rule C-19).
    read_only: bool,
    shown: Zxid,
    /// Writes that were acknowledged: the client's number, and the place that was named.
    acknowledged: Vec<(i32, Zxid)>,
    /// Writes under way, and what its server had acknowledged to anyone when each came.
    sent: BTreeMap<i32, Zxid>,
    /// The client's first and last number of a write, and whether they have always counted up: only then a number names a
    /// write.
    xids: Option<(i32, i32)>,
    repeats: bool,
}

/// Every connection.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    table: BTreeMap<(ServerId, ClientId), Connection>,
    over: Vec<Connection>,
    /// The last write that each server has acknowledged.
    last: BTreeMap<ServerId, Zxid>,
    /// How many connections have been made.
    made: u64,
}

impl Connection {
    /// The client numbers a write, or its close, so.
    fn counts(&mut self, xid: i32) {
        let (first, last) = self.xids.unwrap_or((xid, i32::MIN));
        self.repeats |= last >= xid;
        self.xids = Some((first, xid));
    }
}

impl Clients {
    /// A server is told something.
    pub(crate) fn told(&mut self, server: ServerId, input: &Input<Tree>) {
        match input {
            Input::ClientConnect { client, last_seen, read_only, .. } => {
                // What it was shown by another server, or here before; who goes without writing may have been shown an
                // end that is nobody's any more (C-19).
                let shown = if *read_only { Zxid::ZERO } else { *last_seen };
                self.made += 1;
                let connection = Connection { serial: self.made, shown, ..Connection::default() };
                self.over.extend(self.table.insert((server, *client), connection));
            }
            Input::ClientRequest { client, xid, request: ClientRequest::Close, .. } => {
                self.table.entry((server, *client)).or_default().counts(*xid);
            }
            Input::ClientRequest { client, xid, request: ClientRequest::Write(_), .. } => {
                let known = self.last.get(&server).copied().unwrap_or(Zxid::ZERO);
                let connection = self.table.entry((server, *client)).or_default();
                connection.sent.insert(*xid, known);
                connection.counts(*xid);
            }
            _ => {}
        }
    }

    /// A server tells its client something: S-7 from what the client says that it has seen on, S-11 among the clients of
    /// a server, S-13.
    pub(crate) fn shown(
        &mut self,
        server: ServerId,
        effect: &Effect,
        order: &Order,
        report: &mut Report,
        at_us: u64,
    ) {
        let (client, zxid) = match effect {
            Effect::Session { client, session, read_only } => {
                let connection = self.table.entry((server, *client)).or_default();
                (connection.session, connection.read_only) = (Some(*session), *read_only);
                return;
            }
            Effect::Gone(client) => {
                self.over.extend(self.table.remove(&(server, *client)));
                return;
            }
            Effect::Reply { client, zxid, .. } | Effect::Event { client, zxid } => (*client, *zxid),
            _ => return,
        };
        let connection = self.table.entry((server, client)).or_default();
        if let Effect::Reply { xid, written: true, .. } = effect {
            connection.acknowledged.push((*xid, zxid));
            if let Some(known) = connection.sent.remove(xid) {
                report.verdict("S-11", write_comes_behind(known, zxid), server, at_us, || {
                    format!(
                        "client {}'s write stands at {zxid}, and when it came {known} was acknowledged",
                        client.0
                    )
                });
            }
            let last = self.last.entry(server).or_default();
            *last = zxid.max(*last);
        }
        // Answers that show no state name none.
        if zxid == Zxid::ZERO {
            return;
        }
        report.verdict("S-7", session_sees_forward(&[connection.shown, zxid]), server, at_us, || {
            format!("client {} is shown {zxid} behind {}", client.0, connection.shown)
        });
        connection.shown = zxid;
        if connection.read_only {
            return;
        }
        if order.is_blind() {
            return report.untested("S-13");
        }
        report.verdict("S-13", shown_is_committed(order.is_committed(zxid)), server, at_us, || {
            format!("client {} is shown {zxid}, and {} is committed", client.0, order.last())
        });
    }

    /// At the end: S-5 and S-8, for each connection, and, where nothing of any server is missing (`whole`), of all that is
    /// committed of each session that was opened in this run and whose numbers name its writes.
    pub(crate) fn conclude(
        &mut self,
        order: &Order,
        pool: &BTreeMap<Zxid, Txn>,
        whole: bool,
        report: &mut Report,
    ) {
        let table = std::mem::take(&mut self.table);
        let over = std::mem::take(&mut self.over);
        let connections: Vec<_> = over.into_iter().chain(table.into_values()).collect();
        // Whoever was turned away has asked for nothing that could have become anything.
        let known = |connection: &Connection| connection.session.is_some() || connection.xids.is_none();
        if whole && !order.is_blind() && connections.iter().all(known) {
            let counts_on = counting(&connections);
            for (session, writes) in writes_of_sessions(order, pool) {
                judge_session(session, &writes, counts_on.get(&session) == Some(&true), report);
            }
        }
        for connection in connections {
            let Some(session) = connection.session else { continue };
            let attempts: Vec<Attempt> = connection
                .acknowledged
                .iter()
                .map(|(xid, zxid)| Attempt { session, xid: *xid, acknowledged: Some(*zxid) })
                .collect();
            let mut places: Vec<Zxid> = connection.acknowledged.iter().map(|(_, zxid)| *zxid).collect();
            places.sort_unstable();
            let committed: Vec<Answered> = places
                .into_iter()
                .filter(|zxid| order.is_committed(*zxid))
                .filter_map(|zxid| {
                    let txn = pool.get(&zxid)?;
                    Some(Answered { zxid, session: txn.session, xid: txn.cxid })
                })
                .collect();
            let unknown = |zxid: &(i32, Zxid)| order.is_committed(zxid.1) && !pool.contains_key(&zxid.1);
            if connection.repeats || connection.acknowledged.iter().any(unknown) {
                report.untested("S-5");
                report.untested("S-8");
            } else if !attempts.is_empty() && !order.is_blind() {
                let verdict = writes_happen_once(&committed, &attempts);
                report.verdict("S-8", verdict, ServerId(0), 0, || {
                    format!("of session {session}, {} writes were acknowledged, and not each is committed once at its place", attempts.len())
                });
                let verdict: Verdict = sessions_write_in_order(&committed);
                report.verdict("S-5", verdict, ServerId(0), 0, || {
                    format!("the writes of session {session} are committed in another order than they were sent in")
                });
            }
        }
    }
}

/// Each session, and whether each number is that of one write of it: its clients have counted on from connection to
/// connection.
fn counting(connections: &[Connection]) -> BTreeMap<SessionId, bool> {
    let mut sessions: BTreeMap<SessionId, Vec<&Connection>> = BTreeMap::new();
    for connection in connections {
        if let Some(session) = connection.session {
            sessions.entry(session).or_default().push(connection);
        }
    }
    let counts_on = |mut connections: Vec<&Connection>| {
        connections.sort_unstable_by_key(|connection| connection.serial);
        let xids: Vec<_> = connections.iter().filter_map(|connection| connection.xids).collect();
        let repeats = connections.iter().any(|connection| connection.repeats);
        !repeats && xids.windows(2).all(|pair| pair[0].1 < pair[1].0)
    };
    sessions.into_iter().map(|(session, connections)| (session, counts_on(connections))).collect()
}

/// The writes of each session that was opened in this run, those that are committed and came to something, in order.
fn writes_of_sessions(order: &Order, pool: &BTreeMap<Zxid, Txn>) -> BTreeMap<SessionId, Vec<Answered>> {
    let mut writes: BTreeMap<SessionId, Vec<Answered>> = BTreeMap::new();
    let mut opened = BTreeSet::new();
    for entry in order.committed.iter().filter(|entry| entry.zxid > order.begins()) {
        let Some(txn) = pool.get(&entry.zxid) else { continue };
        if let TxnBody::CreateSession { .. } = txn.body {
            opened.insert(txn.session);
        } else if opened.contains(&txn.session) && txn.cxid > 0 && !matches!(txn.body, TxnBody::Error { .. })
        {
            let answered = Answered { zxid: entry.zxid, session: txn.session, xid: txn.cxid };
            writes.entry(txn.session).or_default().push(answered);
        }
    }
    writes
}

fn judge_session(session: SessionId, writes: &[Answered], counts_on: bool, report: &mut Report) {
    if !counts_on {
        report.untested("S-5");
        return report.untested("S-8");
    }
    report.writes_of_sessions += writes.len();
    report.verdict("S-8", writes_happen_once(writes, &[]), ServerId(0), 0, || {
        format!("a write of session {session} is committed more than once")
    });
    report.verdict("S-5", sessions_write_in_order(writes), ServerId(0), 0, || {
        format!("the writes of session {session} are committed in another order than they were sent in")
    });
}

#[cfg(test)]
mod tests {
    use spec::{Entry, Epoch};
    use tree::{Text, Write};

    use super::*;

    const SERVER: ServerId = ServerId(1);

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(Epoch(1), counter)
    }

    fn connect(clients: &mut Clients, client: u64, last_seen: Zxid, read_only: bool) {
        let (session, password) = (SessionId(7), [0; 16]);
        let client = ClientId(client);
        let identities = Vec::new();
        let input = Input::ClientConnect {
            client,
            identities,
            session,
            password,
            timeout_ms: 1,
            last_seen,
            read_only,
            time: 0,
        };
        clients.told(SERVER, &input);
    }

    fn write(clients: &mut Clients, client: u64, xid: i32) {
        let request = ClientRequest::Write(Write::Delete { path: Text::from("/a"), version: -1 });
        clients.told(SERVER, &Input::ClientRequest { client: ClientId(client), xid, request, time: 0 });
    }

    fn answer(clients: &mut Clients, report: &mut Report, client: u64, xid: i32, at: Zxid) {
        let effect = Effect::Reply { client: ClientId(client), xid, zxid: at, written: true };
        // Nothing is known of what is committed.
        let mut order = Order::default();
        order.lose_sight();
        clients.shown(SERVER, &effect, &order, report, 0);
    }

    fn broken(report: &Report) -> Vec<&'static str> {
        report.breaches.iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn a_write_comes_behind_what_its_server_had_acknowledged() {
        for (place, expected) in [(6, vec![]), (4, vec!["S-11"])] {
            let (mut clients, mut report) = (Clients::default(), Report::default());
            for client in [1, 2] {
                connect(&mut clients, client, Zxid::ZERO, false);
            }
            write(&mut clients, 1, 1);
            answer(&mut clients, &mut report, 1, 1, zxid(5));
            write(&mut clients, 2, 1);
            answer(&mut clients, &mut report, 2, 1, zxid(place));
            assert_eq!(broken(&report), expected, "at {place}");
            assert_eq!(report.tested.contains_key("S-11"), expected.is_empty());
        }
    }

    #[test]
    fn what_nobody_was_told_of_counts_too() {
        let delete = |xid| Txn {
            session: SessionId(7),
            cxid: xid,
            time: 0,
            body: TxnBody::Delete { path: Text::from("/a"), sweep: false },
            digest: None,
        };
        // The numbers of its writes on two connections, the numbers of what is committed, and what that breaks.
        let rows = [
            ([vec![1, 2], vec![3]], vec![1, 2, 3], vec![]),
            ([vec![1, 2], vec![3]], vec![1, 2, 2, 3], vec!["S-8", "S-5"]),
            ([vec![1, 2], vec![3]], vec![1, 3, 2], vec!["S-5"]),
            ([vec![1, 2], vec![1]], vec![1, 2, 1], vec![]),
            ([vec![5, 6], vec![1, 2]], vec![5, 6, 1, 2], vec![]),
            ([vec![1], vec![]], vec![1, 1], vec!["S-8", "S-5"]),
        ];
        for (sent, placed, expected) in rows {
            let (mut clients, mut report) = (Clients::default(), Report::default());
            for (client, xids) in (1..).zip(&sent) {
                connect(&mut clients, client, Zxid::ZERO, false);
                let accepted =
                    Effect::Session { client: ClientId(client), session: SessionId(7), read_only: false };
                clients.shown(SERVER, &accepted, &Order::default(), &mut report, 0);
                for xid in xids {
                    write(&mut clients, client, *xid);
                }
            }
            let opening = Txn { body: TxnBody::CreateSession { timeout_ms: 1 }, ..delete(0) };
            let txns = std::iter::once(opening).chain(placed.iter().map(|xid| delete(*xid)));
            let pool: BTreeMap<_, _> = (1..).map(zxid).zip(txns).collect();
            let mut order = Order::default();
            order.committed.extend(pool.keys().map(|zxid| Entry { zxid: *zxid, digest: 0 }));
            clients.conclude(&order, &pool, true, &mut report);
            assert_eq!(broken(&report), expected, "{sent:?} and {placed:?}");
        }
    }

    #[test]
    fn a_close_has_a_number_too() {
        let (mut clients, mut report) = (Clients::default(), Report::default());
        for client in [1, 2] {
            connect(&mut clients, client, Zxid::ZERO, false);
            let accepted =
                Effect::Session { client: ClientId(client), session: SessionId(7), read_only: false };
            clients.shown(SERVER, &accepted, &Order::default(), &mut report, 0);
        }
        write(&mut clients, 1, 2);
        let close =
            Input::ClientRequest { client: ClientId(2), xid: 1, request: ClientRequest::Close, time: 0 };
        clients.told(SERVER, &close);
        let connections: Vec<_> = clients.table.into_values().collect();
        assert_eq!(counting(&connections).get(&SessionId(7)), Some(&false), "it numbers anew");
    }

    #[test]
    fn a_client_is_shown_nothing_older_than_it_says_that_it_has_seen() {
        // Who goes without writing may have seen what was cut since.
        let rows = [(9, false, vec![]), (8, false, vec!["S-7"]), (8, true, vec![])];
        for (place, read_only, expected) in rows {
            let (mut clients, mut report) = (Clients::default(), Report::default());
            connect(&mut clients, 1, zxid(9), read_only);
            answer(&mut clients, &mut report, 1, 1, zxid(place));
            assert_eq!(broken(&report), expected, "at {place}");
        }
    }
}
