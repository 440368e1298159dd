//! What a transaction comes to by the state that it meets, where nothing else is open (rules S-15, S-18).

use spec::{Machine, SessionId, Verdict, Zxid, machine::Author, session::sweep_takes_what_is_due};
use tree::{Identity, Outstanding, Owner, Tree, Txn, TxnBody};

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
