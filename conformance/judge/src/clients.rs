//! What clients asked and were shown, as far as it is recorded: writes, and reads that left something behind.

use std::collections::BTreeMap;

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
    session: Option<SessionId>,
    shown: Zxid,
    /// Writes that were acknowledged: the client's number, and the place that was named.
    acknowledged: Vec<(i32, Zxid)>,
    /// Writes under way, and what its server had acknowledged to anyone when each came.
    sent: BTreeMap<i32, Zxid>,
    /// The client's last number of a write, and whether they have always counted up: only then a number names a write.
    last_xid: Option<i32>,
    repeats: bool,
}

/// Every connection.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    table: BTreeMap<(ServerId, ClientId), Connection>,
    over: Vec<Connection>,
    /// The last write that each server has acknowledged.
    last: BTreeMap<ServerId, Zxid>,
}

impl Clients {
    /// A server is told something.
    pub(crate) fn told(&mut self, server: ServerId, input: &Input<Tree>) {
        match input {
            Input::ClientConnect { client, last_seen, .. } => {
                // What it was shown by another server, or here before.
                let connection = Connection { shown: *last_seen, ..Connection::default() };
                self.over.extend(self.table.insert((server, *client), connection));
            }
            Input::ClientRequest { client, xid, request: ClientRequest::Write(_), .. } => {
                let known = self.last.get(&server).copied().unwrap_or(Zxid::ZERO);
                let connection = self.table.entry((server, *client)).or_default();
                connection.sent.insert(*xid, known);
                connection.repeats |= connection.last_xid.replace(*xid).is_some_and(|last| last >= *xid);
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
            Effect::Session(client, session) => {
                self.table.entry((server, *client)).or_default().session = Some(*session);
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
        if order.blind {
            return report.untested("S-13");
        }
        report.verdict("S-13", shown_is_committed(order.is_committed(zxid)), server, at_us, || {
            format!("client {} is shown {zxid}, and {} is committed", client.0, order.last())
        });
    }

    /// At the end: S-5 and S-8, for each connection.
    pub(crate) fn conclude(&mut self, order: &Order, pool: &BTreeMap<Zxid, Txn>, report: &mut Report) {
        let table = std::mem::take(&mut self.table);
        let over = std::mem::take(&mut self.over);
        for connection in over.into_iter().chain(table.into_values()) {
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
            if connection.repeats {
                report.untested("S-5");
                report.untested("S-8");
            } else if !attempts.is_empty() && !order.blind {
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

/// Whether a transaction closes its session.
pub(crate) fn closes(txn: &Txn) -> bool {
    matches!(txn.body, TxnBody::CloseSession { .. })
}
