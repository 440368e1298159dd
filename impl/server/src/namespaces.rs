//! What is read and written below each child of the root: how often, and how many bytes; and what its quotas come to.
//!
//! Source: ZooKeeper `DataTree.updateReadStat`, `updateWriteStat`, `QuotaMetricsUtils`.

use std::collections::BTreeMap;

use protocol::peer::{self, ClientRequest};
use spec::ErrorCode;
use tree::{Answer, CreateTxn, Outcome, Read, Text, Tree, Txn, TxnBody, Write, quota::Quota};

use crate::measure::Measure;

/// How many children of the root are told of, those that come first: each costs some 27 KB, and names are up to clients.
const NAMES_MAX: usize = 256;
/// Names that are longer, in bytes, are not told of: every scrape repeats them.
const NAME_BYTES_MAX: usize = 128;
/// What a Stat counts for in bytes, as in ZooKeeper.
const STAT_BYTES: usize = 68;

/// The nodes that a request is about, as far as that counts here.
#[derive(Clone, Debug)]
pub(crate) enum Nodes {
    /// None.
    None,
    /// This one.
    One(Text),
    /// One in each part of a multi or a multiRead.
    Many(Vec<Self>),
}

impl Nodes {
    /// Those of a request. Which ones a write is about counts only where quotas are enforced.
    pub(crate) fn of(request: &ClientRequest<Tree>, enforce_quota: bool) -> Self {
        match request {
            ClientRequest::Read(read) => Self::of_read(read),
            ClientRequest::Write(write) if enforce_quota => Self::of_write(write),
            ClientRequest::Write(_)
            | ClientRequest::Ping
            | ClientRequest::Authenticate(_)
            | ClientRequest::Sync(_)
            | ClientRequest::Close
            | ClientRequest::Refused { .. }
            | ClientRequest::Exchange { .. } => Self::None,
        }
    }

    /// The path of the first of them.
    pub(crate) fn first(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::One(path) => Some(path.as_str()),
            Self::Many(parts) => parts.iter().find_map(Self::first),
        }
    }

    fn of_write(write: &Write) -> Self {
        match write {
            Write::Create { path, .. } | Write::SetData { path, .. } => Self::One(path.clone()),
            Write::Multi(parts) => Self::Many(parts.iter().map(Self::of_write).collect()),
            Write::Delete { .. } | Write::SetAcl { .. } | Write::Check { .. } | Write::Sweep { .. } => {
                Self::None
            }
        }
    }

    fn of_read(read: &Read) -> Self {
        match read {
            Read::GetData { path, .. }
            | Read::Exists { path, .. }
            | Read::GetChildren { path, .. }
            | Read::GetChildren2 { path, .. } => Self::One(path.clone()),
            Read::Multi(parts) => Self::Many(parts.iter().map(Self::of_read).collect()),
            Read::GetAcl { .. }
            | Read::GetEphemerals { .. }
            | Read::GetAllChildrenNumber { .. }
            | Read::WhoAmI
            | Read::AddWatch { .. }
            | Read::CheckWatches { .. }
            | Read::RemoveWatches { .. }
            | Read::SetWatches { .. } => Self::None,
        }
    }
}

/// What is told of each name.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// The bytes of each read.
    pub(crate) reads: Names<Measure>,
    /// The bytes of each write.
    pub(crate) writes: Names<Measure>,
    /// How many writes of this server's clients a quota has refused.
    pub(crate) refused: Names<u64>,
}

impl Namespaces {
    /// The same names, of which nothing has come.
    pub(crate) fn anew(self) -> Self {
        let Self { reads, writes, refused } = self;
        Self { reads: reads.anew(), writes: writes.anew(), refused: refused.anew() }
    }

    /// A request is answered.
    pub(crate) fn answered(&mut self, nodes: &Nodes, answer: &peer::Answer<'_, Tree>) {
        match answer {
            peer::Answer::Read(answer) => self.read(nodes, answer),
            peer::Answer::Outcome(Outcome::Multi(outcomes)) => self.refused_part(nodes, outcomes),
            peer::Answer::Error(ErrorCode::QuotaExceeded) => self.refused(nodes),
            peer::Answer::Outcome(_)
            | peer::Answer::Sync(_)
            | peer::Answer::Exchange(_)
            | peer::Answer::Empty
            | peer::Answer::Error(_) => {}
        }
    }

    /// A multi is answered: a quota may have refused one of its parts.
    fn refused_part(&mut self, nodes: &Nodes, outcomes: &[Outcome]) {
        let refused = Outcome::Error { code: ErrorCode::QuotaExceeded.number() };
        if let Nodes::Many(parts) = nodes
            && let Some(part) = outcomes.iter().position(|outcome| *outcome == refused)
        {
            parts.get(part).into_iter().for_each(|part| self.refused(part));
        }
    }

    fn refused(&mut self, nodes: &Nodes) {
        if let Nodes::One(path) = nodes
            && let Some(count) = name(path.as_str()).and_then(|name| self.refused.of(name))
        {
            *count += 1;
        }
    }

    fn read(&mut self, nodes: &Nodes, answer: &Answer<'_>) {
        match (nodes, answer) {
            (Nodes::One(path), answer) => {
                self.reads.record(path, path.len() + answer.content_bytes() + STAT_BYTES);
            }
            (Nodes::Many(parts), Answer::Multi(answers)) => {
                for (part, answer) in parts.iter().zip(answers) {
                    if let Ok(answer) = answer {
                        self.read(part, answer);
                    }
                }
            }
            (Nodes::None | Nodes::Many(_), _) => {}
        }
    }

    /// A transaction goes to the log.
    pub(crate) fn logged(&mut self, txn: &Txn) {
        self.write(&txn.body);
    }

    fn write(&mut self, body: &TxnBody) {
        match body {
            TxnBody::Create(CreateTxn { path, data, .. }) | TxnBody::SetData { path, data, .. } => {
                self.writes.record(path, path.len() + data.as_ref().map_or(0, bytes::Bytes::len));
            }
            TxnBody::Delete { path, .. } => self.writes.record(path, path.len()),
            TxnBody::CloseSession { ephemerals } => {
                let ephemerals = ephemerals.as_deref().unwrap_or_default();
                for below in ephemerals.chunk_by(|path, next| name(path.as_str()) == name(next.as_str())) {
                    self.writes.record_all(below);
                }
            }
            TxnBody::Multi(parts) => {
                if !parts.iter().any(|part| matches!(part, TxnBody::Error { .. })) {
                    for part in parts {
                        self.write(part);
                    }
                }
            }
            TxnBody::SetAcl { .. }
            | TxnBody::Check { .. }
            | TxnBody::CreateSession { .. }
            | TxnBody::Error { .. } => {}
        }
    }
}

/// Something for each name, in order.
#[derive(Debug)]
pub(crate) struct Names<T>(BTreeMap<Box<str>, T>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> Names<T> {
    /// The same names, each with what it began with.
    fn anew(self) -> Self {
        Self(self.0.into_keys().map(|name| (name, T::default())).collect())
    }

    /// Each name with what it has.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, of)| (&**name, of))
    }

    fn of(&mut self, name: &str) -> Option<&mut T> {
        if self.0.contains_key(name) {
            return self.0.get_mut(name);
        }
        let is_told = self.0.len() < NAMES_MAX && name.len() <= NAME_BYTES_MAX;
        is_told.then(|| self.0.entry(name.into()).or_default())
    }
}

impl Names<Measure> {
    fn record(&mut self, path: &Text, bytes: usize) {
        if let Some(measure) = name(path.as_str()).and_then(|name| self.of(name)) {
            measure.record(bytes as u64);
        }
    }

    /// Nodes below one name go.
    fn record_all(&mut self, paths: &[Text]) {
        let name = paths.first().and_then(|path| name(path.as_str()));
        if let Some(measure) = name.and_then(|name| self.of(name)) {
            for path in paths {
                measure.record(path.len() as u64);
            }
        }
    }
}

/// What the quotas below a name come to: the sums of their limits, −1 of one that has none, and of what is used. A hard
/// limit goes before the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Quotas {
    pub(crate) count_limit: i64,
    pub(crate) bytes_limit: i64,
    pub(crate) count: i64,
    pub(crate) bytes: i64,
}

impl Names<Quotas> {
    /// What all quotas come to.
    pub(crate) fn sum<'a>(quotas: impl Iterator<Item = (&'a str, Quota)>) -> Self {
        let mut names = Self::default();
        for (subject, Quota { limits, stats }) in quotas {
            let Some(sum) = name(subject).and_then(|name| names.of(name)) else { continue };
            let limit = |soft, hard| if hard >= 0 { hard } else { soft };
            let add = |to: &mut i64, more: i64| *to = to.saturating_add(more);
            add(&mut sum.count_limit, limit(limits.count, limits.count_hard));
            add(&mut sum.bytes_limit, limit(limits.bytes, limits.bytes_hard));
            if let Some(stats) = stats {
                add(&mut sum.count, stats.count);
                add(&mut sum.bytes, stats.bytes);
            }
        }
        names
    }
}

/// The name of the root's child at or above a node; the root has none.
fn name(path: &str) -> Option<&str> {
    let below = path.strip_prefix('/')?;
    let end = below.bytes().position(|byte| byte == b'/').unwrap_or(below.len());
    Some(&below[..end]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use spec::{ErrorCode, SessionId};
    use tree::{CreateKind, Stat, quota::Known};

    use super::*;

    fn told(names: &Names<Measure>) -> Vec<(&str, u64, u64)> {
        names.iter().map(|(name, measure)| (name, measure.summary.count, measure.summary.sum)).collect()
    }

    fn log(namespaces: &mut Namespaces, body: TxnBody) {
        namespaces.logged(&Txn { session: SessionId(1), cxid: 1, time: 0, body, digest: None });
    }

    fn create(path: &str, data: &'static [u8]) -> TxnBody {
        TxnBody::Create(CreateTxn {
            kind: CreateKind::Create { ephemeral: false },
            path: path.into(),
            data: Some(Bytes::from_static(data)),
            acl: Vec::new(),
            parent_cversion: 1,
        })
    }

    #[test]
    fn writes_count_their_path_and_data() {
        let mut namespaces = Namespaces::default();
        log(&mut namespaces, create("/a", b"12"));
        log(&mut namespaces, create("/a/b", b""));
        let set = TxnBody::SetData { path: "/b/c".into(), data: None, version: 1, reconfig: false };
        log(
            &mut namespaces,
            TxnBody::Multi(vec![set.clone(), TxnBody::Delete { path: "/a/b".into(), sweep: false }]),
        );
        log(&mut namespaces, TxnBody::Multi(vec![set, TxnBody::Error { code: -101 }]));
        let ephemerals = Some(vec!["/a/x".into(), "/a/y".into(), "/c".into()]);
        log(&mut namespaces, TxnBody::CloseSession { ephemerals });
        log(&mut namespaces, TxnBody::SetAcl { path: "/a".into(), acl: Vec::new(), version: 1 });
        let root = TxnBody::SetData { path: "/".into(), data: None, version: 1, reconfig: false };
        log(&mut namespaces, root);
        assert_eq!(told(&namespaces.writes), [("a", 5, 4 + 4 + 4 + 8), ("b", 1, 4), ("c", 1, 2)]);
    }

    #[test]
    fn reads_count_their_path_what_they_tell_and_a_stat() {
        let mut namespaces = Namespaces::default();
        let stat = Tree::new().stat("/").expect("it is there");
        let data = |stat: Stat| Answer::Data { data: Some(b"123"), stat };
        let get = Nodes::of_read(&Read::GetData { path: "/a/b".into(), watch: false });
        namespaces.answered(&get, &peer::Answer::Read(data(stat)));
        namespaces.answered(&get, &peer::Answer::Error(ErrorCode::NoNode));
        let exists = Read::Exists { path: "/b".into(), watch: true };
        let several = Nodes::of_read(&Read::Multi(vec![exists.clone(), exists]));
        let answers = vec![Ok(data(stat)), Err(ErrorCode::NoNode)];
        namespaces.answered(&several, &peer::Answer::Read(Answer::Multi(answers)));
        assert_eq!(told(&namespaces.reads), [("a", 1, 4 + 3 + 68), ("b", 1, 2 + 3 + 68)]);
    }

    #[test]
    fn there_is_room_for_so_many_names() {
        let mut namespaces = Namespaces::default();
        for number in 0..2 * NAMES_MAX {
            log(&mut namespaces, create(&format!("/{number:03}"), b""));
        }
        log(&mut namespaces, create("/000/more", b""));
        assert_eq!(namespaces.writes.iter().count(), NAMES_MAX);
        assert_eq!(told(&namespaces.writes)[0], ("000", 2, 4 + 9));
    }

    #[test]
    fn long_names_are_not_told_of() {
        let mut namespaces = Namespaces::default();
        for length in [NAME_BYTES_MAX + 1, NAME_BYTES_MAX] {
            log(&mut namespaces, create(&format!("/{}", "n".repeat(length)), b""));
        }
        let lengths: Vec<usize> = namespaces.writes.iter().map(|(name, _)| name.len()).collect();
        assert_eq!(lengths, [NAME_BYTES_MAX]);
    }

    #[test]
    fn what_quotas_refuse_is_counted() {
        let set = Write::SetData { path: "/a/b".into(), data: None, version: -1 };
        let delete = Write::Delete { path: "/c".into(), version: -1 };
        let error = |code: ErrorCode| Outcome::Error { code: code.number() };
        let parts = [
            Outcome::Error { code: 0 },
            error(ErrorCode::QuotaExceeded),
            error(ErrorCode::RuntimeInconsistency),
        ];
        let multi = ClientRequest::Write(Write::Multi(vec![delete, set.clone(), set.clone()]));
        let set = ClientRequest::Write(set);
        let mut namespaces = Namespaces::default();
        let mut ask = |request: &ClientRequest<Tree>, enforce, answer| {
            namespaces.answered(&Nodes::of(request, enforce), &answer);
            namespaces.refused.iter().map(|(name, count)| (name.to_owned(), *count)).collect::<Vec<_>>()
        };
        let refused = || peer::Answer::Error(ErrorCode::QuotaExceeded);
        assert_eq!(ask(&set, false, refused()), []);
        assert_eq!(ask(&set, true, peer::Answer::Error(ErrorCode::NoNode)), []);
        assert_eq!(ask(&set, true, refused()), [("a".to_owned(), 1)]);
        let outcome = Outcome::Multi(parts.to_vec());
        assert_eq!(ask(&multi, true, peer::Answer::Outcome(&outcome)), [("a".to_owned(), 2)]);
    }

    #[test]
    fn quotas_of_a_name_come_to_sums() {
        let figures = |text: &str| Known::read(Some(text.as_bytes()));
        let quota = |subject: &'static str, limits, stats: Option<&str>| {
            (subject, Quota { limits: figures(limits), stats: stats.map(figures) })
        };
        let quotas = [
            quota("/a/x", "count=10,bytes=-1", Some("count=2,bytes=7")),
            quota("/a/y", "count=5,bytes=9=;byteHardLimit=20;countHardLimit=-1", Some("count=1,bytes=3")),
            quota("/b", "count=-1,bytes=100", None),
        ];
        let sums = Names::sum(quotas.into_iter());
        let a = Quotas { count_limit: 15, bytes_limit: 19, count: 3, bytes: 10 };
        let b = Quotas { count_limit: -1, bytes_limit: 100, count: 0, bytes: 0 };
        assert_eq!(sums.iter().collect::<Vec<_>>(), [("a", &a), ("b", &b)]);
    }
}
