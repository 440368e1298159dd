//! The joins: what one model takes for granted of another is what the other one comes to.
//!
//! The models are small because each replaces what the others search by an oracle: `zab` lets servers decide on their
//! own whom to follow, and `session` lets an election with all that follows be one transition. Such an oracle must
//! allow whatever the replaced model reaches, or a run of the whole could leave what was searched. Here both sides are
//! searched, what they come to is brought into one form, and every outcome of the one is looked for among those of the
//! other. The argument as a whole is in `spec/architecture.md`.

mod delivered;
mod elected;
mod shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use anyhow::{bail, ensure};
use serde::Serialize;

pub use self::{delivered::Delivery, elected::Elected, shown::Shown};
use crate::{
    election::{self, Election},
    engine::{
        Model,
        search::{End, Options, Progress, Search},
    },
    rows::{Row, Setup},
    session::Session,
    trace, voters,
    zab::{Bounds, Zab},
};

/// What came of a join. Written as JSON, one object a join.
#[derive(Clone, Debug, Serialize)]
pub struct Join {
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub claim: &'static str,
    /// The searches of the model that is replaced, and their distinct states.
    pub reaching: Vec<(String, usize)>,
    /// The searches of the model with the oracle, and their distinct states.
    pub allowing: Vec<(String, usize)>,
    /// The outcomes that the replaced model reaches.
    pub reached: Vec<String>,
    /// How many outcomes the oracle allows, as far as it was searched.
    pub allowed: usize,
    /// How many outcomes are reached and not compared: the searches with the oracle come to no such histories.
    pub aside: usize,
    /// The outcomes that are reached and not allowed.
    pub missing: Vec<String>,
}

/// What the searches of one side have come to.
#[derive(Clone, Debug)]
struct Side<O> {
    /// The distinct states of each, by its name.
    searches: BTreeMap<String, usize>,
    outcomes: BTreeSet<O>,
}

impl<O> Default for Side<O> {
    fn default() -> Self {
        Self { searches: BTreeMap::new(), outcomes: BTreeSet::new() }
    }
}

impl<O: Ord> Side<O> {
    /// One more search, or a script of one.
    fn searched(&mut self, name: String, states: usize) {
        *self.searches.entry(name).or_default() += states;
    }

    fn take(&mut self, other: Self) {
        self.searches.extend(other.searches);
        self.outcomes.extend(other.outcomes);
    }
}

/// What each has to offer where all have the same history.
const ALIKE: (u32, u32) = (1, 1);

/// How many servers there are, how many of them observe, and the weights of the others by group.
type Voters = (usize, u8, Vec<Vec<u32>>);

/// What searches come to, for every join.
#[derive(Debug, Default)]
pub struct Joins {
    elections: Side<Elected>,
    allowed_elections: Side<Elected>,
    deliveries: Side<Delivery>,
    allowed_deliveries: Side<Delivery>,
    shown: Side<Shown>,
    allowed_shown: Side<Shown>,
}

/// The oracle for elections at its widest: whoever looks may follow whomever it likes, also one that does not lead,
/// and a server may be told to lead as often as there are servers.
pub fn any_election() -> Bounds {
    Bounds { elections: 3, refusals: true, waiting: true, ..Bounds::default() }
}

/// A search that is made for the joins alone.
#[derive(Clone, Debug)]
pub enum Further {
    /// The oracle for elections, for these voters.
    Oracle(String, Zab, Vec<elected::Voice>),
    /// A row of elections, where all have the same history.
    Alike(String, Election),
}

impl Further {
    /// What is to be searched beside the rows themselves, with this oracle for elections; the longest first.
    pub fn beside(rows: &[Row], oracle: &Bounds) -> Vec<Self> {
        let voters: BTreeSet<Voters> = rows.iter().filter_map(voters_of).collect();
        let oracles = voters.into_iter().map(|(servers, observers, groups)| {
            let name = format!("zab any-election{}", voters::text(observers, &groups));
            let voices = elected::voices(servers, observers, &groups);
            let servers = u8::try_from(servers).expect("the servers of a model are few");
            Self::Oracle(name, Zab::new(Bounds { servers, observers, groups, ..oracle.clone() }), voices)
        });
        let alike = rows.iter().filter_map(|row| match &row.setup {
            Setup::Election(config) if tempts(config) => {
                let mut config = config.clone();
                config.votes.fill(ALIKE);
                Some(Self::Alike(format!("{} alike", label(row)), Election::new(config)))
            }
            Setup::Election(_) | Setup::Zab(_) | Setup::Session(_) | Setup::Peer(_) => None,
        });
        oracles.chain(alike).collect()
    }

    /// Its name, for a reader.
    pub fn name(&self) -> &str {
        match self {
            Self::Oracle(name, ..) | Self::Alike(name, _) => name,
        }
    }

    /// Searches it.
    ///
    /// # Errors
    /// It breaks a rule or is cut: its outcomes are not all there are.
    pub fn search(&self, tell: &mut dyn FnMut(&Progress)) -> anyhow::Result<Joins> {
        let mut joins = Joins::default();
        match self {
            Self::Oracle(name, model, voices) => {
                let found = exhaust(model, name, tell)?;
                joins.allowed_elections.searched(name.clone(), found.distinct());
                elected::of_zab(&found, voices, &mut joins.allowed_elections.outcomes);
            }
            Self::Alike(name, model) => {
                let found = exhaust(model, name, tell)?;
                joins.elections(name.clone(), model.config(), &found);
            }
        }
        Ok(joins)
    }
}

/// Whether the histories of a row are there to tempt, and none that transactions come to: an observer's is ahead of
/// every voter's.
fn tempts(config: &election::Config) -> bool {
    config.observers > 0 || !config.groups.is_empty()
}

impl Joins {
    /// With what other searches have come to.
    pub fn take(&mut self, part: Self) {
        self.elections.take(part.elections);
        self.allowed_elections.take(part.allowed_elections);
        self.deliveries.take(part.deliveries);
        self.allowed_deliveries.take(part.allowed_deliveries);
        self.shown.take(part.shown);
        self.allowed_shown.take(part.allowed_shown);
    }

    fn elections(&mut self, name: String, config: &election::Config, found: &Search<'_, Election>) {
        let voices = elected::voices(config.votes.len(), config.observers, &config.groups);
        self.elections.searched(name, found.distinct());
        elected::of_election(found, &voices, &mut self.elections.outcomes);
    }

    /// Takes what a search of a row of the `election` model has come to.
    pub(crate) fn take_election(&mut self, row: &Row, model: &Election, found: &Search<'_, Election>) {
        if !tempts(model.config()) {
            self.elections(label(row), model.config(), found);
        }
    }

    /// Takes what a search of a row of the `zab` model has come to.
    pub(crate) fn take_zab(&mut self, row: &Row, found: &Search<'_, Zab>) {
        self.deliveries.searched(label(row), found.distinct());
        self.shown.searched(label(row), found.distinct());
        delivered::of_zab(found, &mut self.deliveries.outcomes);
        shown::of_zab(found, &mut self.shown.outcomes);
    }

    /// Takes what a search of a script of the `session` model has come to.
    pub(crate) fn take_session(&mut self, row: &Row, model: &Session, found: &Search<'_, Session>) {
        self.allowed_deliveries.searched(label(row), found.distinct());
        self.allowed_shown.searched(label(row), found.distinct());
        delivered::of_session(found, &mut self.allowed_deliveries.outcomes);
        shown::of_session(model, found, &mut self.allowed_shown.outcomes);
    }

    /// Compares.
    pub fn compare(&self) -> Vec<Join> {
        vec![
            join(
                "election-zab",
                "how servers stand to each other in `election`, `zab` lets them stand",
                &self.elections,
                &self.allowed_elections,
                |one| self.is_comparable(one),
                |one, allowed| allowed.contains(one),
            ),
            join(
                "zab-session",
                "every step of a server of which clients can tell in `zab` is a step of a server in `session`",
                &self.deliveries,
                &self.allowed_deliveries,
                |_| true,
                |one, allowed| allowed.contains(one),
            ),
            join(
                "zab-clients",
                "what two clients can be shown at once in `zab`, they can be shown in `session`",
                &self.shown,
                &self.allowed_shown,
                |_| true,
                |one, allowed| allowed.iter().any(|other| other.covers(one)),
            ),
        ]
    }

    /// Whether `zab` comes to histories like these. With observers or weights it need not: an election tells followers
    /// of an epoch in any order, also the observer before a voter that the epoch cannot do without; and in `zab` a
    /// leader that is a quorum by itself has its epoch, and so the newest history, in the step that makes it lead.
    fn is_comparable(&self, one: &Elected) -> bool {
        let histories = one.histories();
        let comes_to = |other: &Elected| other.histories() == histories;
        one.is_plain()
            || (!one.leads_alone_without_epoch() && self.allowed_elections.outcomes.iter().any(comes_to))
    }
}

/// Who votes in a row of elections.
fn voters_of(row: &Row) -> Option<Voters> {
    match &row.setup {
        Setup::Election(config) => Some((config.votes.len(), config.observers, config.groups.clone())),
        Setup::Zab(_) | Setup::Session(_) | Setup::Peer(_) => None,
    }
}

fn label(row: &Row) -> String {
    format!("{} {}", row.setup.model(), row.name)
}

fn join<O: Ord + Display>(
    name: &'static str,
    claim: &'static str,
    reached: &Side<O>,
    allowed: &Side<O>,
    is_comparable: impl Fn(&O) -> bool,
    is_allowed: impl Fn(&O, &BTreeSet<O>) -> bool,
) -> Join {
    let (compared, aside): (Vec<_>, Vec<_>) = reached.outcomes.iter().partition(|one| is_comparable(one));
    let missing = compared.iter().filter(|outcome| !is_allowed(outcome, &allowed.outcomes));
    Join {
        name,
        claim,
        reaching: reached.searches.clone().into_iter().collect(),
        allowing: allowed.searches.clone().into_iter().collect(),
        reached: reached.outcomes.iter().map(ToString::to_string).collect(),
        allowed: allowed.outcomes.len(),
        aside: aside.len(),
        missing: missing.map(ToString::to_string).collect(),
    }
}

/// Every state of a model.
fn exhaust<'m, M: Model>(
    model: &'m M,
    name: &str,
    tell: &mut dyn FnMut(&Progress),
) -> anyhow::Result<Search<'m, M>> {
    let mut search = Search::new(model, Options::default());
    let outcome = search.run(tell);
    if let Some(found) = &outcome.counterexample {
        bail!("{name} breaks a rule\n{}", trace::tell(model, found));
    }
    ensure!(
        outcome.end == End::Exhausted,
        "{name} was cut before its end, so not all that it comes to is known"
    );
    Ok(search)
}
