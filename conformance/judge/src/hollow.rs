//! Data that a recording leaves out, since logs hold it: zeros stand for it in a write, until the transaction that the
//! write became is found.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::peer::{ClientRequest, Input, Op, Packet, Request};
use recording::DATA_MAX;
use spec::{SessionId, Zxid};
use tree::{CreateTxn, Tree, Txn, TxnBody, Write};

use crate::replica::Replica;

/// The places of what each session has written, by the client's number of the request.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<(SessionId, i32), Vec<Zxid>>);

impl Places {
    /// Of these transactions.
    pub(crate) fn of(pool: &BTreeMap<Zxid, Txn>) -> Self {
        let mut places = Self::default();
        for (zxid, txn) in pool {
            places.0.entry((txn.session, txn.cxid)).or_default().push(*zxid);
        }
        places
    }

    /// Puts the data that was left out into what a leader is told: that of the first transaction behind its last one
    /// which this request can have become.
    pub(crate) fn fill(&self, pool: &BTreeMap<Zxid, Txn>, replica: &Replica, input: &mut Input<Tree>) {
        let Some(next) = replica.peer.zab().next_zxid() else { return };
        let (session, xid, write) = match input {
            Input::ClientRequest { client, xid, request: ClientRequest::Write(write), .. } => {
                let Some(session) = replica.peer.session_of(*client) else { return };
                (session, *xid, write)
            }
            Input::Packet {
                packet: Packet::Request(Request { session, xid, op: Op::Write(write), .. }),
                ..
            } => (*session, *xid, write),
            _ => return,
        };
        let places = self.0.get(&(session, xid)).map(Vec::as_slice).unwrap_or_default();
        let later = &places[places.partition_point(|zxid| *zxid < next)..];
        if let Some(whole) = later.iter().find_map(|zxid| filled(write, &pool.get(zxid)?.body)) {
            *write = whole;
        }
    }
}

impl Places {
    /// Whether a client has used the number of this write for others, too, so that it does not say which data was its.
    pub(crate) fn is_ambiguous(&self, txn: &Txn) -> bool {
        self.0.get(&(txn.session, txn.cxid)).is_some_and(|places| places.len() > 1)
    }
}

/// This write with the data of the transaction, if it can have become that.
fn filled(write: &Write, txn: &TxnBody) -> Option<Write> {
    let mut write = write.clone();
    match (&mut write, txn) {
        (Write::SetData { path, data, .. }, TxnBody::SetData { path: there, data: whole, .. })
            if path == there =>
        {
            fill(data, whole.as_ref())?;
        }
        (Write::Create { path, data, .. }, TxnBody::Create(CreateTxn { path: there, data: whole, .. }))
            // A sequential one has got its number.
            if there.as_str().starts_with(path.as_str()) =>
        {
            fill(data, whole.as_ref())?;
        }
        (Write::Multi(parts), TxnBody::Multi(bodies)) if parts.len() == bodies.len() => {
            for (part, body) in parts.iter_mut().zip(bodies) {
                *part = match part {
                    Write::Create { .. } | Write::SetData { .. } => filled(part, body)?,
                    _ => continue,
                };
            }
        }
        _ => return None,
    }
    Some(write)
}

fn fill(data: &mut Option<Bytes>, whole: Option<&Bytes>) -> Option<()> {
    let fits = match (data.as_ref(), whole) {
        (Some(data), Some(whole)) if data.len() > DATA_MAX => data.len() == whole.len(),
        (data, whole) => data == whole,
    };
    *data = whole.filter(|_| fits).cloned();
    fits.then_some(())
}

/// Whether a transaction has data that a recording leaves out.
pub(crate) fn has_long_data(txn: &TxnBody) -> bool {
    match txn {
        TxnBody::Create(CreateTxn { data, .. }) | TxnBody::SetData { data, .. } => {
            data.as_ref().is_some_and(|data| data.len() > DATA_MAX)
        }
        TxnBody::Multi(bodies) => bodies.iter().any(has_long_data),
        _ => false,
    }
}

/// Whether zeros may stand in a transaction for data that nobody has.
pub(crate) fn is_hollow(txn: &TxnBody) -> bool {
    let zeros = |data: &Option<Bytes>| {
        data.as_ref().is_some_and(|data| data.len() > DATA_MAX && data.iter().all(|byte| *byte == 0))
    };
    match txn {
        TxnBody::Create(CreateTxn { data, .. }) | TxnBody::SetData { data, .. } => zeros(data),
        TxnBody::Multi(bodies) => bodies.iter().any(is_hollow),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tree::Text;

    use super::*;

    #[test]
    fn only_what_a_write_can_have_become_fills_it() {
        let data = |byte: u8, length: usize| Some(Bytes::from(vec![byte; length]));
        let write = |data| Write::SetData { path: Text::from("/a"), data, version: -1 };
        let txn =
            |path: &str, data| TxnBody::SetData { path: Text::from(path), data, version: 3, reconfig: false };
        let long = DATA_MAX + 1;
        let rows = [
            ("long data is taken", write(data(0, long)), txn("/a", data(7, long)), Some(data(7, long))),
            ("of another length", write(data(0, long)), txn("/a", data(7, long + 1)), None),
            ("of another node", write(data(0, long)), txn("/b", data(7, long)), None),
            ("short data is recorded", write(data(1, 2)), txn("/a", data(1, 2)), Some(data(1, 2))),
            ("short data that differs", write(data(1, 2)), txn("/a", data(2, 2)), None),
            ("null is not empty", write(None), txn("/a", data(0, 0)), None),
            ("a failure", write(data(0, long)), TxnBody::Error { code: -103 }, None),
        ];
        for (what, write, txn, expected) in rows {
            let expected = expected.map(|data| Write::SetData { path: Text::from("/a"), data, version: -1 });
            assert_eq!(filled(&write, &txn), expected, "{what}");
            let multi = filled(&Write::Multi(vec![write]), &TxnBody::Multi(vec![txn]));
            assert_eq!(multi, expected.map(|write| Write::Multi(vec![write])), "{what}");
        }
        assert!(is_hollow(&txn("/a", data(0, long))) && !is_hollow(&txn("/a", data(7, long))));
    }
}
