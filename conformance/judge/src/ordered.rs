//! The state behind all that is committed, made by the judge itself, transaction by transaction (S-12, R-7).

use std::collections::{BTreeMap, BTreeSet};

use simulator::left_of_multi;
use spec::{
    Entry, Machine, ServerId, Zxid,
    session::{digest_is_that_of_the_state, multi_is_whole},
};
use tree::{Tree, Txn, TxnBody, Watches};

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
            tree.apply(*zxid, txn, &mut Watches::default(), &mut |_, _| {});
            if let TxnBody::Multi(parts) = &txn.body {
                let (done, shown, count) = left_of_multi(*zxid, parts, tree, before);
                report.verdict("S-12", multi_is_whole(done, shown, count), ServerId(0), 0, || {
                    format!("behind the multi at {zxid} the state shows {shown} of {count} changes")
                });
            }
            let told = txn.digest.map(|told| told.tree);
            report.verdict("S-19", digest_is_that_of_the_state(told, tree.digest()), ServerId(0), 0, || {
                format!("{zxid} tells {told:?}, and the state behind it has {}", tree.digest())
            });
            digests.push((*zxid, tree.digest()));
        }
        digests
    }
}
