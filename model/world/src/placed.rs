//! What a transaction comes to by the state that it meets, where nothing else is open (rules S-12, S-15, S-18).

use std::collections::BTreeMap;

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
        // A later part may change what an earlier one has made: the state shows what the last of each path came to.
        let last: BTreeMap<&str, Change> = parts.iter().filter_map(change_of).collect();
        let is_shown = |(path, change): &(&&str, &Change)| match change {
            Change::Made => behind.stat(path).is_some_and(|stat| stat.mzxid == at),
            Change::Deleted => behind.stat(path).is_none(),
        };
        Self { done, shown: last.iter().filter(is_shown).count(), count: last.len() }
    }

    /// S-12.
    pub fn is_whole(&self) -> Verdict {
        multi_is_whole(self.done, self.shown, self.count)
    }
}

/// What a part of a multi leaves at its path.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The node is created, or its data is set.
    Made,
    /// There is none.
    Deleted,
}

/// The node that a part of a multi changes, and how.
fn change_of(part: &TxnBody) -> Option<(&str, Change)> {
    match part {
        TxnBody::Create(CreateTxn { path, .. }) | TxnBody::SetData { path, .. } => {
            Some((path.as_str(), Change::Made))
        }
        TxnBody::Delete { path, sweep: _ } => Some((path.as_str(), Change::Deleted)),
        // A check changes nothing. No request of many has the others as parts: lists are set, and sessions opened and closed,
        // by requests of their own.
        TxnBody::Check { .. }
        | TxnBody::SetAcl { .. }
        | TxnBody::Multi(_)
        | TxnBody::CreateSession { .. }
        | TxnBody::CloseSession { .. }
        | TxnBody::Error { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use spec::Epoch;
    use tree::CreateKind;

    use super::*;

    fn create(path: &str) -> TxnBody {
        let kind = CreateKind::Create { ephemeral: false };
        TxnBody::Create(CreateTxn {
            kind,
            path: path.into(),
            data: None,
            acl: Vec::new(),
            parent_cversion: -1,
        })
    }

    fn set(path: &str) -> TxnBody {
        TxnBody::SetData { path: path.into(), data: None, version: 1, reconfig: false }
    }

    fn delete(path: &str) -> TxnBody {
        TxnBody::Delete { path: path.into(), sweep: false }
    }

    /// S-12 of a multi of these parts, where those that are `done` were carried out; /a and /b stood before.
    fn judged(parts: &[TxnBody], done: &[TxnBody]) -> Verdict {
        let mut tree = Tree::new();
        let mut apply = |counter, body| {
            let zxid = Zxid::new(Epoch(1), counter);
            let txn = Txn { session: SessionId(7), cxid: 1, time: 5, body, digest: None };
            let nodes_before = tree.digest();
            tree.apply(zxid, &txn, &mut <Tree as Machine>::Watches::default(), &mut |_, _| {});
            LeftOfMulti::of(zxid, parts, nodes_before, &tree)
        };
        apply(1, create("/a"));
        apply(2, create("/b"));
        apply(3, TxnBody::Multi(done.to_vec())).is_whole()
    }

    #[test]
    fn a_multi_leaves_what_the_last_change_of_each_node_comes_to() {
        let whole = [
            vec![set("/a"), delete("/b")],
            vec![create("/c"), delete("/c")],
            vec![delete("/a"), create("/a"), set("/b")],
            vec![delete("/b")],
        ];
        for parts in whole {
            assert_eq!(judged(&parts, &parts), Verdict::Holds, "{parts:?}");
        }
    }

    #[test]
    fn a_multi_of_which_a_part_is_left_out_is_broken() {
        let rows = [
            (vec![set("/a"), delete("/b")], vec![set("/a")]),
            (vec![set("/a"), delete("/b")], vec![delete("/b")]),
            (vec![create("/c"), delete("/c")], vec![create("/c")]),
            (vec![delete("/a"), create("/a")], vec![delete("/a")]),
            (vec![delete("/b")], vec![]),
        ];
        for (parts, done) in rows {
            assert_eq!(judged(&parts, &done), Verdict::Broken, "{parts:?}, of which {done:?}");
        }
    }

    #[test]
    fn a_multi_that_failed_leaves_nothing() {
        let parts = [TxnBody::Error { code: 0 }, TxnBody::Error { code: -101 }];
        assert_eq!(judged(&parts, &parts), Verdict::Holds);
        assert_eq!(judged(&parts, &[set("/a")]), Verdict::Broken);
    }

    #[test]
    fn a_multi_that_only_checks_says_nothing() {
        let parts = [TxnBody::Check { path: "/a".into(), version: 0 }];
        assert_eq!(judged(&parts, &parts), Verdict::Silent);
    }
}
