//! Quotas: how much a part of the tree may hold, and how much it does (rules T-22 and T-23).
//!
//! A quota on `/a` is two nodes, `/zookeeper/quota/a/zookeeper_limits` and `…/zookeeper_stats`, with figures as text.
//! Clients write the limits; every server keeps the stats by itself, as part of no transaction and of no digest.
//!
//! What both nodes say is kept beside the tree, and read anew where one of them changes: metrics tell of every quota, and
//! how many there are, with how much text, is up to clients.

mod figures;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};

use spec::ErrorCode;

pub use self::figures::{BYTES, BYTES_HARD, COUNT, COUNT_HARD, Figures, Known};
pub use crate::tree::QUOTA;

use crate::{Tree, node::NodeId};

/// The end of the path of the node with the limits.
pub const LIMITS: &str = "/zookeeper_limits";
/// The end of the path of the node with what is used.
pub const STATS: &str = "/zookeeper_stats";

/// How much is to be, or is, below a node, that node included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Amount {
    pub(crate) count: i64,
    /// Of data alone.
    pub(crate) bytes: i64,
}

/// A quota, as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// What there may be.
    pub limits: Known,
    /// What there is, where that is kept.
    pub stats: Option<Known>,
}

/// The node that the quota with this node belongs to, if it is one of a quota, and whether it has the limits.
fn subject(path: &str) -> Option<(&str, bool)> {
    let rest = path.strip_prefix(QUOTA)?;
    let limits = rest.strip_suffix(LIMITS).map(|subject| (subject, true));
    limits
        .or_else(|| rest.strip_suffix(STATS).map(|subject| (subject, false)))
        .filter(|(subject, _)| subject.starts_with('/'))
}

/// Whether the creation, or the deletion, of this node ends a server of ZooKeeper that applies it: one with limits that
/// stands too high among its own nodes for a path to be cut out of its parent's.
///
/// Source: ZooKeeper `DataTree.createNode`, `DataTree.deleteNode`, `Quotas.trimQuotaPath`.
pub(crate) fn ends_others(path: &str) -> bool {
    let parent = path.strip_suffix(LIMITS).filter(|parent| parent.starts_with("/zookeeper"));
    parent.is_some_and(|parent| parent.encode_utf16().count() <= QUOTA.len())
}

/// Whether this as the data of a node ends a server of ZooKeeper, with the next change that counts for the quota.
///
/// Source: ZooKeeper `DataTree.updateQuotaStat`.
pub(crate) fn as_stats_ends_others(path: &str, data: Option<&[u8]>) -> bool {
    let is_stats = subject(path).is_some_and(|(_, of_limits)| !of_limits);
    is_stats && !data.is_some_and(figures::is_read_by_others)
}

impl Tree {
    /// Every quota with the path of the node that it is of, in the order of paths.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, Quota)> {
        self.quotas.iter().map(|(subject, quota)| (&**subject, *quota))
    }

    /// The figures in one of the nodes of a quota.
    fn known(&self, subject: &str, suffix: &str) -> Option<Known> {
        let id = self.store.find(&format!("{QUOTA}{subject}{suffix}"))?;
        Some(Known::read(self.store.node(id).data()))
    }

    /// A node with limits has come, or was made anew.
    fn insert_quota(&mut self, subject: &str) {
        if let Some(limits) = self.known(subject, LIMITS) {
            let quota = Quota { limits, stats: self.known(subject, STATS) };
            self.quotas.insert(Box::from(subject), quota);
        }
    }

    /// The data of a node has changed: it may be one of a quota.
    pub(crate) fn quota_changes(&mut self, path: &str, data: Option<&[u8]>) {
        let Some((subject, of_limits)) = subject(path) else { return };
        let Some(quota) = self.quotas.get_mut(subject) else { return };
        let known = Known::read(data);
        if of_limits {
            quota.limits = known;
        } else {
            quota.stats = Some(known);
        }
    }

    /// The node nearest above a path, itself included, that has a quota.
    fn quota_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.quotas.is_empty() {
            return None;
        }
        let mut at = path;
        while !at.is_empty() {
            if self.quotas.contains_key(at) {
                return Some(at);
            }
            at = &at[..at.rfind('/')?];
        }
        None
    }

    /// A node has come, or was made anew: it may make a quota, and counts for one.
    pub(crate) fn quota_gains(&mut self, path: &str, more: Amount) {
        if !self.counts_for_quotas {
            return;
        }
        match subject(path) {
            Some((subject, true)) => self.insert_quota(subject),
            // Counted at the end of the transaction: once, however often the node comes and goes in it.
            Some((subject, false)) => {
                self.unmeasured.insert(Box::from(subject));
            }
            None => {}
        }
        self.count_for_quota(path, more);
    }

    /// A node has gone.
    pub(crate) fn quota_loses(&mut self, path: &str, bytes: usize) {
        match subject(path) {
            Some((subject, true)) => {
                self.quotas.remove(subject);
            }
            Some((subject, false)) => {
                if let Some(quota) = self.quotas.get_mut(subject) {
                    quota.stats = None;
                }
            }
            None => {}
        }
        self.count_for_quota(path, Amount { count: -1, bytes: -signed(bytes) });
    }

    /// There is so much more at a path.
    pub(crate) fn count_for_quota(&mut self, path: &str, more: Amount) {
        if more == Amount::default() || !self.counts_for_quotas {
            return;
        }
        let Some(stats) = self.quota_of(path).map(|quota| format!("{QUOTA}{quota}{STATS}")) else { return };
        let Some(id) = self.store.find(&stats) else { return };
        let mut figures = Figures::read(self.store.node(id).data());
        let (count, bytes) = (figures.get(COUNT), figures.get(BYTES));
        figures.set(COUNT, count.saturating_add(more.count));
        figures.set(BYTES, bytes.saturating_add(more.bytes));
        self.put_data(id, &stats, Some(format!("{figures}").as_bytes()));
    }

    /// Counts what stands at and below the subjects of the quotas whose stats a transaction has made.
    pub(crate) fn measure_new_quotas(&mut self) {
        if !self.unmeasured.is_empty() {
            let subjects = core::mem::take(&mut self.unmeasured);
            self.measure(subjects);
        }
    }

    /// Begins to count for quotas, all of which are counted anew, as a server does that has read a snapshot.
    pub(crate) fn begin_quotas(&mut self) {
        self.counts_for_quotas = true;
        let Some(top) = self.store.find(QUOTA) else { return };
        for id in self.store.below(top) {
            if self.store.node(id).name() == LIMITS.as_bytes().get(1..).unwrap_or_default()
                && let Some((subject, true)) = subject(&self.store.path(id))
            {
                self.insert_quota(subject);
            }
        }
        self.measure(self.quotas.keys().cloned().collect());
    }

    /// Counts anew what stands at and below these, every node once, however they stand above each other.
    fn measure(&mut self, subjects: BTreeSet<Box<str>>) {
        let mut known: BTreeMap<NodeId, Amount> = BTreeMap::new();
        // Those below come behind those above in the order of paths.
        for subject in subjects.into_iter().rev() {
            let top = self.store.find(&subject);
            let amount = top.map_or(Amount::default(), |top| self.amount(top, &known));
            known.extend(top.map(|top| (top, amount)));
            let stats = format!("{QUOTA}{subject}{STATS}");
            if let Some(id) = self.store.find(&stats) {
                let Amount { count, bytes } = amount;
                self.put_data(id, &stats, Some(format!("{COUNT}={count},{BYTES}={bytes}").as_bytes()));
            }
        }
    }

    /// What stands at and below a node; of what is known already nothing is looked at again.
    fn amount(&self, top: NodeId, known: &BTreeMap<NodeId, Amount>) -> Amount {
        let (mut sum, mut open) = (Amount::default(), Vec::from([top]));
        while let Some(at) = open.pop() {
            if let Some(amount) = known.get(&at) {
                sum = Amount { count: sum.count + amount.count, bytes: sum.bytes + amount.bytes };
                continue;
            }
            sum.count += 1;
            sum.bytes += signed(self.store.node(at).data_len());
            open.extend(self.store.child_ids(at));
        }
        sum
    }

    /// Whether there is room for so much more at a path, by what is applied: what is under way does not count.
    ///
    /// Source: ZooKeeper `ZooKeeperServer.checkQuota`.
    ///
    /// # Errors
    /// [`ErrorCode::QuotaExceeded`] if a hard limit would be passed.
    pub(crate) fn check_quota(&self, path: &str, more: Amount) -> Result<(), ErrorCode> {
        let quota = self.quota_of(path).and_then(|subject| self.quotas.get(subject));
        let Some(Quota { limits, stats: Some(stats) }) = quota else { return Ok(()) };
        let passes =
            |more: i64, there: i64, limit: i64| more != 0 && limit >= 0 && there.saturating_add(more) > limit;
        if passes(more.count, stats.count, limits.count_hard)
            || passes(more.bytes, stats.bytes, limits.bytes_hard)
        {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }
}

/// A length as a figure.
pub(crate) fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_quotas_are_told_by_their_paths() {
        let rows = [
            ("/zookeeper/quota/a/zookeeper_limits", Some(("/a", true))),
            ("/zookeeper/quota/a/b/zookeeper_stats", Some(("/a/b", false))),
            ("/zookeeper/quota/zookeeper_limits", None),
            ("/zookeeper/quota/a", None),
            ("/a/zookeeper_limits", None),
        ];
        for (path, expected) in rows {
            assert_eq!(subject(path), expected, "{path}");
        }
    }

    #[test]
    fn what_ends_servers_of_zookeeper_is_told() {
        let limits = [
            ("/zookeeper/zookeeper_limits", true),
            ("/zookeeper/quota/zookeeper_limits", true),
            ("/zookeepers/zookeeper_limits", true),
            ("/zookeeper/other/zookeeper_limits", true),
            ("/zookeeper/others/zookeeper_limits", false),
            ("/zookeeper/quota/a/zookeeper_limits", false),
            ("/zookeeper_limits", false),
            ("/a/zookeeper_limits", false),
            ("/zookeeper/quota/zookeeper_stats", false),
        ];
        for (path, ends) in limits {
            assert_eq!(ends_others(path), ends, "{path}");
        }
        let stats: [(Option<&str>, bool); 20] = [
            (None, true),
            (Some(""), false),
            (Some("count=5,bytes=-1"), false),
            (Some("count=5,bytes=10=;byteHardLimit=7;countHardLimit=+8"), false),
            (Some("count=5,;,bytes=1,,"), false),
            (Some(",,"), false),
            (Some("a==5"), false),
            (Some("=5"), false),
            (Some("a=5=x"), false),
            (Some("count"), true),
            (Some("count="), true),
            (Some("="), true),
            (Some("count=x"), true),
            (Some("count= 5"), true),
            (Some(";a=1"), true),
            (Some("count=5,bytes"), true),
            (Some("count=9223372036854775807"), false),
            (Some("count=9223372036854775808"), true),
            (Some("count=-"), true),
            (Some("\u{fffd}"), true),
        ];
        for (text, ends) in stats {
            let data = text.map(str::as_bytes);
            assert_eq!(as_stats_ends_others("/zookeeper/quota/a/zookeeper_stats", data), ends, "{text:?}");
            assert!(!as_stats_ends_others("/zookeeper/quota/a/zookeeper_limits", data), "{text:?}");
        }
    }
}
