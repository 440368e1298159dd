//! What the world asks of a replicated state beyond what the protocol does: to be written out and read again, and to
//! tell answers apart.

use std::{fmt::Debug, hash::Hash};

use spec::{Machine, history::Entry};
use tree::{Answer, Progress, Read, Tree, TreeBuilder, Txn, Walk, Write};

use crate::sketch;

/// A state that can be copied through the form that it has in snapshots and streams.
///
/// Its default is the state before the first transaction of all.
pub trait Replica: Machine + Clone + Debug + Default + Eq + Hash {
    /// The state as whoever loads a snapshot of it has it.
    #[must_use]
    fn reloaded(&mut self) -> Self;

    /// All that an answer says.
    fn tell(answer: &Self::Answer<'_>) -> String;

    /// The state, in some lines for people.
    fn sketch(&self) -> Vec<String>;

    /// A transaction, in some words for people.
    fn sketch_txn(txn: &Self::Txn) -> String;

    /// A write, in some words for people.
    fn sketch_write(write: &Self::Write) -> String;

    /// A read, in some words for people.
    fn sketch_read(read: &Self::Read) -> String;

    /// Everything that was applied to it, from the first transaction on, if it remembers.
    fn history(&self) -> Option<&[Entry]> {
        None
    }
}

impl Replica for Tree {
    fn reloaded(&mut self) -> Self {
        // The nodes of one slice: the trees of the world are small.
        const SLICE_BYTES: usize = 1 << 20;
        let mut walk = Walk::start(self);
        let (last, mut builder) = (walk.last_processed(), TreeBuilder::new());
        for (session, timeout_ms) in walk.sessions() {
            builder.session(*session, *timeout_ms);
        }
        for (number, list) in walk.acls() {
            builder.acl(*number, list);
        }
        loop {
            let progress = walk.next(self, SLICE_BYTES, &mut |node| {
                builder.node(node.path, node.data, node.acl, node.stat).expect("parents come first");
            });
            if progress.expect("this tree is walked") == Progress::Done {
                return builder.finish(last).expect("a walk shows the root");
            }
        }
    }

    fn tell(answer: &Answer<'_>) -> String {
        match answer {
            Answer::Data { data, stat } => {
                format!("{:?} {stat:?}", data.map(String::from_utf8_lossy))
            }
            Answer::Children(names) => children(names.clone()),
            Answer::Children2 { names, stat } => format!("{} {stat:?}", children(names.clone())),
            Answer::Multi(answers) => {
                let tell = |answer: &Result<_, _>| {
                    answer.as_ref().map_or_else(|code| format!("{code:?}"), Self::tell)
                };
                answers.iter().map(tell).collect::<Vec<_>>().join("; ")
            }
            Answer::Exists(_)
            | Answer::Acl { .. }
            | Answer::Ephemerals(_)
            | Answer::AllChildrenNumber(_)
            | Answer::Identities(_)
            | Answer::WatchAdded
            | Answer::Done => format!("{answer:?}"),
        }
    }

    fn sketch(&self) -> Vec<String> {
        sketch::state(self)
    }

    fn sketch_txn(txn: &Txn) -> String {
        sketch::txn(txn)
    }

    fn sketch_write(write: &Write) -> String {
        sketch::write(write)
    }

    fn sketch_read(read: &Read) -> String {
        sketch::read(read)
    }
}

/// Names have no order of their own.
fn children(names: tree::Children<'_>) -> String {
    let mut names: Vec<_> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort_unstable();
    names.join(" ")
}
