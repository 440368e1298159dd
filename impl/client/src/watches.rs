//! Which watches the session has left: the server forgets them with a connection, so the client names them again.

use std::collections::BTreeSet;

use spec::Zxid;
use tree::{Read, Text, WatchChoice, WatchMode};

use crate::state::EventType;

/// How many bytes of paths one request may name; ZooKeeper's clients keep below 128 KiB, too.
const BATCH_BYTES: usize = 128 << 10;

/// One kind of watch.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// On the data of a node.
    Data,
    /// On a node that is missing.
    Exist,
    /// On the list of children.
    Child,
    /// One that stays.
    Persistent,
    /// One that stays, for all below, too.
    Recursive,
}

impl Kind {
    pub(crate) fn of_mode(mode: WatchMode) -> Self {
        match mode {
            WatchMode::Persistent => Self::Persistent,
            WatchMode::Recursive => Self::Recursive,
        }
    }

    /// What is told when such a watch is taken back.
    fn removal(self) -> EventType {
        match self {
            Self::Data | Self::Exist => EventType::DataWatchRemoved,
            Self::Child => EventType::ChildWatchRemoved,
            Self::Persistent | Self::Recursive => EventType::PersistentWatchRemoved,
        }
    }
}

/// The watches of a session, by the server's paths.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Watches(BTreeSet<(Kind, Text)>);

impl Watches {
    pub(crate) fn add(&mut self, kind: Kind, path: Text) {
        self.0.insert((kind, path));
    }

    /// An event uses the watches up that fire once.
    pub(crate) fn fired(&mut self, kind: EventType, path: &Text) {
        let used: &[Kind] = match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => &[Kind::Data, Kind::Exist],
            EventType::NodeDeleted => &[Kind::Data, Kind::Exist, Kind::Child],
            EventType::NodeChildrenChanged => &[Kind::Child],
            EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => &[],
        };
        for kind in used {
            self.0.remove(&(*kind, path.clone()));
        }
    }

    /// Those of a path that a choice takes back.
    pub(crate) fn chosen(&self, which: WatchChoice, path: &Text) -> Vec<Kind> {
        let kinds: &[Kind] = match which {
            WatchChoice::Child => &[Kind::Child],
            WatchChoice::Data => &[Kind::Data, Kind::Exist],
            WatchChoice::Any => &[Kind::Child, Kind::Data, Kind::Exist, Kind::Persistent, Kind::Recursive],
            WatchChoice::Persistent => &[Kind::Persistent],
            WatchChoice::Recursive => &[Kind::Recursive],
        };
        kinds.iter().copied().filter(|kind| self.0.contains(&(*kind, path.clone()))).collect()
    }

    /// Takes them back, and says what is to be told of it: each type once.
    pub(crate) fn remove(&mut self, kinds: &[Kind], path: &Text) -> Vec<EventType> {
        let mut told = Vec::new();
        for kind in kinds {
            self.0.remove(&(*kind, path.clone()));
            if !told.contains(&kind.removal()) {
                told.push(kind.removal());
            }
        }
        told
    }

    /// What a server that knows nothing of them is to be told, in requests of a bounded size.
    pub(crate) fn again(&self, relative: Zxid) -> Vec<Read> {
        let mut requests = Vec::new();
        let mut rest = self.0.iter().peekable();
        while rest.peek().is_some() {
            let (mut data, mut exist, mut child) = (Vec::new(), Vec::new(), Vec::new());
            let (mut persistent, mut recursive) = (Vec::new(), Vec::new());
            let mut bytes = 0;
            while let Some((kind, path)) = rest.next_if(|_| bytes < BATCH_BYTES) {
                bytes += path.len() + 4;
                match kind {
                    Kind::Data => data.push(path.clone()),
                    Kind::Exist => exist.push(path.clone()),
                    Kind::Child => child.push(path.clone()),
                    Kind::Persistent => persistent.push(path.clone()),
                    Kind::Recursive => recursive.push(path.clone()),
                }
            }
            requests.push(Read::SetWatches { relative, data, exist, child, persistent, recursive });
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Watches {
        let mut watches = Watches::default();
        for kind in [Kind::Data, Kind::Child, Kind::Persistent] {
            watches.add(kind, Text::from("/a"));
        }
        watches
    }

    #[test]
    fn an_event_uses_up_what_fires_once() {
        let rows = [
            (EventType::NodeDataChanged, vec![Kind::Child, Kind::Persistent]),
            (EventType::NodeChildrenChanged, vec![Kind::Data, Kind::Persistent]),
            (EventType::NodeDeleted, vec![Kind::Persistent]),
        ];
        for (kind, left) in rows {
            let mut watches = three();
            watches.fired(kind, &Text::from("/b"));
            assert_eq!(watches, three(), "another node's event uses none");
            watches.fired(kind, &Text::from("/a"));
            assert_eq!(watches.0.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), left, "{kind:?}");
        }
    }

    #[test]
    fn what_is_taken_back_is_told_once_a_type() {
        let mut watches = three();
        let path = Text::from("/a");
        assert!(watches.chosen(WatchChoice::Recursive, &path).is_empty());
        let chosen = watches.chosen(WatchChoice::Any, &path);
        let told = watches.remove(&chosen, &path);
        let all =
            [EventType::ChildWatchRemoved, EventType::DataWatchRemoved, EventType::PersistentWatchRemoved];
        assert_eq!(told, all);
        assert_eq!(watches, Watches::default());
    }

    #[test]
    fn watches_are_named_again_in_bounded_requests() {
        assert!(Watches::default().again(Zxid(7)).is_empty());
        let [Read::SetWatches { relative, data, child, persistent, exist, recursive }] =
            &three().again(Zxid(7))[..]
        else {
            panic!("one request");
        };
        assert_eq!((*relative, data.len(), child.len(), persistent.len()), (Zxid(7), 1, 1, 1));
        assert!(exist.is_empty() && recursive.is_empty());
        let mut many = Watches::default();
        for index in 0..10_000 {
            many.add(Kind::Data, Text::from(format!("/a/node-with-a-name-{index:06}")));
        }
        let requests = many.again(Zxid(7));
        let mut named = 0;
        for request in &requests {
            let Read::SetWatches { data, .. } = request else { panic!("{request:?}") };
            named += data.len();
        }
        assert_eq!((requests.len(), named), (3, 10_000));
    }
}
