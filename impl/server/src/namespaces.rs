//! What is read and written below each child of the root: how often, and how many bytes.
//!
//! Source: ZooKeeper `DataTree.updateReadStat`, `updateWriteStat`.

use std::collections::BTreeMap;

use protocol::peer;
use tree::{Answer, CreateTxn, Read, Text, Tree, Txn, TxnBody};

use crate::stats::Measure;

/// How many children of the root are told of, those that come first: each costs some 27 KB, and names are up to clients.
const NAMES_MAX: usize = 256;
/// Names that are longer, in bytes, are not told of: every scrape repeats them.
const NAME_BYTES_MAX: usize = 128;
/// What a Stat counts for in bytes, as in ZooKeeper.
const STAT_BYTES: usize = 68;

/// The nodes that a request reads, as far as that counts here.
#[derive(Clone, Debug)]
pub(crate) enum Nodes {
    /// None.
    None,
    /// This one.
    One(Text),
    /// One in each part of a multiRead.
    Many(Vec<Self>),
}

impl Nodes {
    /// Those of a read.
    pub(crate) fn of(read: &Read) -> Self {
        match read {
            Read::GetData { path, .. }
            | Read::Exists { path, .. }
            | Read::GetChildren { path, .. }
            | Read::GetChildren2 { path, .. } => Self::One(path.clone()),
            Read::Multi(parts) => Self::Many(parts.iter().map(Self::of).collect()),
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

/// The bytes of each read and of each write below each name.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    pub(crate) reads: Names,
    pub(crate) writes: Names,
}

impl Namespaces {
    /// A read is answered.
    pub(crate) fn answered(&mut self, nodes: &Nodes, answer: &peer::Answer<'_, Tree>) {
        if let peer::Answer::Read(answer) = answer {
            self.read(nodes, answer);
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
                for below in ephemerals.chunk_by(|path, next| name(path) == name(next)) {
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

/// A measure for each name, in order.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<Box<str>, Measure>);

impl Names {
    /// Each name with its measure.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Measure)> {
        self.0.iter().map(|(name, measure)| (&**name, measure))
    }

    fn record(&mut self, path: &Text, bytes: usize) {
        if let Some(measure) = name(path).and_then(|name| self.measure(name)) {
            measure.record(bytes as u64);
        }
    }

    /// Nodes below one name go.
    fn record_all(&mut self, paths: &[Text]) {
        let name = paths.first().and_then(name);
        if let Some(measure) = name.and_then(|name| self.measure(name)) {
            for path in paths {
                measure.record(path.len() as u64);
            }
        }
    }

    fn measure(&mut self, name: &str) -> Option<&mut Measure> {
        if !self.0.contains_key(name) {
            if self.0.len() == NAMES_MAX || name.len() > NAME_BYTES_MAX {
                return None;
            }
            self.0.insert(name.into(), Measure::new());
        }
        self.0.get_mut(name)
    }
}

/// The name of the root's child at or above a node; the root has none.
fn name(path: &Text) -> Option<&str> {
    path.as_str().split('/').nth(1).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use spec::{ErrorCode, SessionId};
    use tree::{CreateKind, Stat};

    use super::*;

    fn told(names: &Names) -> Vec<(&str, u64, u64)> {
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
        let get = Nodes::of(&Read::GetData { path: "/a/b".into(), watch: false });
        namespaces.answered(&get, &peer::Answer::Read(data(stat)));
        namespaces.answered(&get, &peer::Answer::Error(ErrorCode::NoNode));
        let exists = Read::Exists { path: "/b".into(), watch: true };
        let several = Nodes::of(&Read::Multi(vec![exists.clone(), exists]));
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
}
