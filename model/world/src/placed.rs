//! What a transaction comes to by the state that it meets, where nothing else is open (rules S-12, S-15, S-18).

use spec::{
    Machine, SessionId, Verdict, Zxid,
    machine::Author,
    session::{multi_is_whole, sweep_takes_what_is_due},
};
use tree::{CreateTxn, Identity, Outstanding, Owner, Tree, Txn, TxnBody};

/// Who asks for a transaction, where everybody may do everything.
pub fn author(txn: &Txn) -> Author<'static, Identity> {
    Author { session: txn.session, xid: txn.cxid, identities: &[], time: txn.time }
}

/// The close that the state before its place makes, whoever asked for it, if that is what this transaction is.
pub fn close_anew(before: &Tree, zxid: Zxid, txn: &Txn) -> Option<Txn> {
    matches!(txn.body, TxnBody::CloseSession { .. })
        .then(|| before.prepare_close_session(&mut Outstanding::default(), author(txn), zxid))
}

/// S-15, of what a leader deletes by itself, with the node and how many children it has; silent of everything else.
pub fn judge_sweep(before: &Tree, txn: &Txn) -> (Verdict, String) {
    let TxnBody::Delete { path, sweep: true } = &txn.body else { return (Verdict::Silent, String::new()) };
    let may_end = matches!(before.owner(path.as_str()), Some(Owner::Container | Owner::Ttl(_)));
    let children = before.stat(path.as_str()).map_or(0, |stat| stat.num_children);
    let verdict = sweep_takes_what_is_due(may_end, usize::try_from(children).unwrap_or_default());
    (verdict, format!("{path} with {children} children is swept"))
}

/// Whether a leader wanted to delete something by itself, and came late.
pub fn is_late_sweep(txn: &Txn) -> bool {
    txn.session == SessionId(0) && matches!(txn.body, TxnBody::Error { .. })
}

/// What a multi has left in the state behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeftOfMulti {
    /// Whether it was carried out.
    pub done: bool,
    /// How many of its changes the state shows; of one that failed, whether there are any.
    pub shown: usize,
    /// How many it has.
    pub count: usize,
}

impl LeftOfMulti {
    /// Of a multi of these parts; `nodes_before` is the digest of the state before it.
    pub fn of(zxid: Zxid, parts: &[TxnBody], nodes_before: i64, behind: &Tree) -> Self {
        let done = !parts.iter().any(|part| matches!(part, TxnBody::Error { .. }));
        if !done {
            return Self { done, shown: usize::from(behind.digest() != nodes_before), count: parts.len() };
        }
        let at = i64::try_from(zxid.0).expect("epochs are small");
        let changed: Vec<_> = parts.iter().filter_map(path_of).collect();
        let is_there = |path: &&&str| behind.stat(path).is_some_and(|stat| stat.mzxid == at);
        Self { done, shown: changed.iter().filter(is_there).count(), count: changed.len() }
    }

    /// S-12.
    pub fn is_whole(&self) -> Verdict {
        multi_is_whole(self.done, self.shown, self.count)
    }
}

/// The node that a part of a multi creates, or whose data it sets.
fn path_of(part: &TxnBody) -> Option<&str> {
    if let TxnBody::Create(CreateTxn { path, .. }) | TxnBody::SetData { path, .. } = part {
        Some(path.as_str())
    } else {
        None
    }
}
