//! What clients can be shown at once: two servers, whether they serve, and how far each lags.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
};

use spec::{
    Epoch, Machine as _, Zxid,
    history::{Part as Doing, Record},
};

use crate::{
    engine::search::Search,
    session::{self, Session},
    zab::{self, Zab},
};

/// Lagging further makes no difference to a client that it can tell.
const LAG_MAX: usize = 2;

/// A server, as a client sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Face {
    /// It does not serve: nobody is shown anything.
    Away,
    /// It follows, so many committed transactions behind.
    Follows(usize),
    /// It leads, so many behind; whether a later epoch has been established.
    Leads {
        /// How far it lags.
        lag: usize,
        /// Whether it leads no more, and may not know.
        deposed: bool,
    },
}

/// Two servers, in the order of their faces.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Shown(Face, Face);

impl Shown {
    fn of(one: Face, other: Face) -> Self {
        Self(one.min(other), one.max(other))
    }

    /// Whether whoever is shown the other is shown this one too, with perhaps one more server. One that is away is, to
    /// clients, as one that nobody connects to.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let covers = |this: Face, other: Face| other == Face::Away || this == other;
        (covers(self.0, other.0) && covers(self.1, other.1))
            || (covers(self.1, other.0) && covers(self.0, other.1))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} beside {:?}", self.0, self.1)
    }
}

/// A server that serves.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Serving {
    leads: bool,
    epoch: Epoch,
    processed: Zxid,
}

/// What is committed, and the last epoch that was established.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Agreed {
    committed: Vec<Zxid>,
    epoch: Epoch,
}

fn face(server: Option<Serving>, agreed: &Agreed) -> Face {
    let Some(Serving { leads, epoch, processed }) = server else { return Face::Away };
    let lag = agreed.committed.iter().filter(|zxid| **zxid > processed).count().min(LAG_MAX);
    if leads { Face::Leads { lag, deposed: agreed.epoch > epoch } } else { Face::Follows(lag) }
}

fn add(servers: &[Option<Serving>], agreed: &Agreed, out: &mut BTreeSet<Shown>) {
    let faces: Vec<_> = servers.iter().map(|server| face(*server, agreed)).collect();
    for (place, one) in faces.iter().enumerate() {
        out.extend(faces.iter().skip(place + 1).map(|other| Shown::of(*one, *other)));
    }
}

pub(super) fn of_zab(search: &Search<'_, Zab>, out: &mut BTreeSet<Shown>) {
    let (mut servers, mut agreed) = (HashMap::new(), HashMap::new());
    let mut met = HashSet::new();
    for ids in search.states() {
        let mut state = (Vec::new(), None);
        for id in ids {
            match search.part(*id) {
                zab::Part::Server(server) => {
                    state.0.push(*servers.entry(*id).or_insert_with(|| serving(server)));
                }
                zab::Part::Record(record) => {
                    state.1 = Some(agreed.entry(*id).or_insert_with(|| agreed_in(record)).clone());
                }
                zab::Part::Link(_) | zab::Part::Budget(_) => {}
            }
        }
        if !met.contains(&state) {
            add(&state.0, state.1.as_ref().expect("there is a record"), out);
            met.insert(state);
        }
    }
}

fn serving(server: &world::Server) -> Option<Serving> {
    let view = server.view();
    let leads = matches!(view.part, Doing::Leading(_));
    view.serving.then_some(Serving { leads, epoch: view.current.memory, processed: view.processed })
}

fn agreed_in(record: &Record) -> Agreed {
    Agreed {
        committed: record.committed().iter().map(|entry| entry.zxid).collect(),
        epoch: record.reigns().iter().map(|reign| reign.epoch).max().unwrap_or_default(),
    }
}

/// Of the servers that clients connect to. A leader's epoch is established, since servers come up in one transition.
pub(super) fn of_session(model: &Session, search: &Search<'_, Session>, out: &mut BTreeSet<Shown>) {
    let mut met = HashSet::new();
    for ids in search.states() {
        let hosts = ids.iter().filter_map(|id| match search.part(*id) {
            session::Part::Host(host) => Some(host),
            session::Part::Link(_)
            | session::Part::Client(_)
            | session::Part::Record(_)
            | session::Part::Budget(_) => None,
        });
        let hosts: Vec<_> = hosts.collect();
        let serving: Vec<_> = hosts
            .iter()
            .map(|host| {
                let epoch = host.peer().zab().current();
                let processed = host.state().last_processed();
                host.peer().is_serving().then_some(Serving { leads: host.leads(), epoch, processed })
            })
            .collect();
        let committed = ids.iter().find_map(|id| match search.part(*id) {
            session::Part::Record(record) => Some(record.committed().iter().map(|(zxid, _)| *zxid).collect()),
            session::Part::Host(_)
            | session::Part::Link(_)
            | session::Part::Client(_)
            | session::Part::Budget(_) => None,
        });
        let epoch =
            serving.iter().flatten().filter(|one| one.leads).map(|one| one.epoch).max().unwrap_or_default();
        let agreed = Agreed { committed: committed.unwrap_or_default(), epoch };
        if met.insert((serving.clone(), agreed.clone())) {
            let visited: Vec<_> = model.visited().map(|slot| serving[slot]).collect();
            add(&visited, &agreed, out);
        }
    }
}
