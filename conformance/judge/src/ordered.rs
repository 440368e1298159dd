//! The state behind all that is committed, made by the judge itself, transaction by transaction (S-12, R-7).

use std::collections::{BTreeMap, BTreeSet};

use spec::{
    Entry, Machine, ServerId, Zxid,
    session::{digest_is_that_of_the_state, write_meets_its_place},
};
use tree::{Text, Tree, Txn, TxnBody, Watches};
use world::placed::{self, LeftOfMulti};

use crate::{replica::Replica, report::Report};

/// That state, as long as everything committed is known.
#[derive(Debug, Default)]
pub(crate) struct Ordered(Option<Tree>);

impl Ordered {
    /// Nobody knows any more what is committed.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    /// What a server holds is where it begins, if it has not.
    pub(crate) fn begin(&mut self, replica: &Replica, last: Zxid) {
        if self.0.is_none() && !replica.tainted && !replica.stale && replica.tree.last_processed() == last {
            self.0 = Some(replica.tree.clone());
        }
    }

    /// All of this is committed. Returns the digest of the state behind each that is new.
    pub(crate) fn follow(
        &mut self,
        committed: &[Entry],
        pool: &BTreeMap<Zxid, Txn>,
        hollow: &BTreeSet<Zxid>,
        report: &mut Report,
    ) -> Vec<(Zxid, i64)> {
        let mut digests = Vec::new();
        let Some(last) = self.0.as_ref().map(Tree::last_processed) else { return digests };
        let next = committed.partition_point(|entry| entry.zxid <= last);
        for Entry { zxid, .. } in &committed[next..] {
            let Some(tree) = &mut self.0 else { break };
            if !zxid.follows(tree.last_processed()) {
                report.not_judged(format!(
                    "the states between {} and {zxid}, which are not known",
                    tree.last_processed()
                ));
                self.0 = None;
                break;
            }
            let Some(txn) = pool.get(zxid).filter(|_| !hollow.contains(zxid)) else {
                self.0 = None;
                break;
            };
            let before = tree.digest();
            judge_placed(tree, *zxid, txn, report);
            tree.apply(*zxid, txn, &mut Watches::default(), &mut |_, _| {});
            if let TxnBody::Multi(parts) = &txn.body {
                let left = LeftOfMulti::of(*zxid, parts, before, tree);
                report.verdict("S-12", left.is_whole(), ServerId(0), 0, || {
                    format!("{left:?} behind the multi at {zxid}")
                });
            }
            let told = txn.digest.map(|told| told.tree);
            // Servers of other makers may tell none.
            let verdict = digest_is_that_of_the_state(told, false, tree.digest());
            report.verdict("S-19", verdict, ServerId(0), 0, || {
                format!("{zxid} tells {told:?}, and the state behind it has {}", tree.digest())
            });
            digests.push((*zxid, tree.digest()));
        }
        digests
    }
}

/// S-15, and S-18 of closes: in any order, and without the digest, which servers of other makers may not tell.
fn judge_placed(before: &Tree, zxid: Zxid, txn: &Txn, report: &mut Report) {
    let (verdict, what) = placed::judge_sweep(before, txn);
    report.verdict("S-15", verdict, ServerId(0), 0, || format!("{what} at {zxid}"));
    if let Some(met) = placed::close_anew(before, zxid, txn)
        && let (Some(closes), Some(meets)) = (closed_by(txn), closed_by(&met))
    {
        report.verdict("S-18", write_meets_its_place(&closes, &meets), ServerId(0), 0, || {
            format!("the close at {zxid} takes {closes:?}, and the state before it has {meets:?}")
        });
    }
}

/// The ephemerals that go with a close, in order, if it lists them.
fn closed_by(txn: &Txn) -> Option<Vec<Text>> {
    let TxnBody::CloseSession { ephemerals: Some(paths) } = &txn.body else { return None };
    let mut paths = paths.clone();
    paths.sort();
    Some(paths)
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, SessionId};
    use tree::{CreateKind, CreateTxn};

    use super::*;

    const OWNER: SessionId = SessionId(7);

    fn txn(session: SessionId, body: TxnBody) -> Txn {
        Txn { session, cxid: 1, time: 5, body, digest: None }
    }

    fn create(kind: CreateKind, path: &str) -> Txn {
        let (path, parent_cversion) = (Text::from(path), 1);
        txn(OWNER, TxnBody::Create(CreateTxn { kind, path, data: None, acl: Vec::new(), parent_cversion }))
    }

    /// A container with a child, an empty one, and two ephemerals of one session.
    fn before() -> Tree {
        let ephemeral = CreateKind::Create { ephemeral: true };
        let txns = [
            txn(OWNER, TxnBody::CreateSession { timeout_ms: 100 }),
            create(CreateKind::Container, "/full"),
            create(CreateKind::Create { ephemeral: false }, "/full/child"),
            create(CreateKind::Container, "/empty"),
            create(ephemeral, "/one"),
            create(ephemeral, "/two"),
        ];
        let mut tree = Tree::new();
        for (zxid, txn) in (1..).map(at).zip(&txns) {
            tree.apply(zxid, txn, &mut Watches::default(), &mut |_, _| {});
        }
        tree
    }

    fn at(counter: u32) -> Zxid {
        Zxid::new(Epoch(1), counter)
    }

    /// The rules that a transaction behind all of that breaks, and how many hold.
    fn judged(body: TxnBody) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut report = Report::default();
        judge_placed(&before(), at(7), &txn(OWNER, body), &mut report);
        let broken = report.breaches.iter().map(|breach| breach.rule).collect();
        (broken, report.tested.into_keys().collect())
    }

    fn sweep(path: &str) -> TxnBody {
        TxnBody::Delete { path: path.into(), sweep: true }
    }

    fn close(paths: &[&str]) -> TxnBody {
        TxnBody::CloseSession { ephemerals: Some(paths.iter().map(|path| Text::from(*path)).collect()) }
    }

    #[test]
    fn a_sweep_takes_what_is_empty_and_may_end() {
        assert_eq!(judged(sweep("/empty")), (vec![], vec!["S-15"]));
        assert_eq!(judged(sweep("/full")), (vec!["S-15"], vec![]), "it has a child");
        assert_eq!(judged(sweep("/one")), (vec!["S-15"], vec![]), "it is no container");
    }

    #[test]
    fn a_close_takes_every_ephemeral_in_any_order() {
        assert_eq!(judged(close(&["/two", "/one"])), (vec![], vec!["S-18"]));
        assert_eq!(judged(close(&["/one"])), (vec!["S-18"], vec![]), "one is left");
        assert_eq!(judged(close(&["/one", "/two", "/empty"])), (vec!["S-18"], vec![]), "one is another's");
    }
}
