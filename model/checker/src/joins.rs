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
    collections::BTreeSet,
    fmt::Display,
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, ensure};
use serde::Serialize;

pub use self::{delivered::Delivery, elected::Elected, shown::Shown};
use crate::{
    election::{self, Election},
    engine::{
        Model,
        search::{End, Limits, Options, Progress, Search},
    },
    rows::{Budget, Row, Setup},
    session::Session,
    voters,
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
    searches: Vec<(String, usize)>,
    outcomes: BTreeSet<O>,
}

impl<O: Ord> Side<O> {
    fn new() -> Self {
        Self { searches: Vec::new(), outcomes: BTreeSet::new() }
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

/// What the searches of a budget come to, for every join.
#[derive(Debug)]
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
fn any_election() -> Row {
    let bounds = Bounds { elections: 3, refusals: true, waiting: true, ..Bounds::default() };
    Row { name: "any-election", setup: Setup::Zab(bounds), expects: &[], traps: false }
}

/// Told of the progress of a search, by the name of its row. Several search at once.
pub type Tell<'a> = &'a (dyn Fn(&str, &Progress) + Sync);

/// A search that is to be made.
#[derive(Debug)]
enum Task<'a> {
    Row(&'a Row),
    /// The oracle for elections, where these vote.
    Oracle(Voters),
}

impl Joins {
    /// Searches the rows of a budget, and the election oracle at its widest, so many at once.
    ///
    /// # Errors
    /// A search that breaks a rule or is cut: its outcomes are not all there are.
    pub fn search(budget: Budget, jobs: usize, tell: Tell<'_>) -> anyhow::Result<Self> {
        Self::of(&budget.rows(), &any_election(), jobs, tell)
    }

    /// The same of these rows, with this oracle for elections.
    ///
    /// # Errors
    /// As [`Joins::search`].
    pub fn of(rows: &[Row], oracle: &Row, jobs: usize, tell: Tell<'_>) -> anyhow::Result<Self> {
        let voters: BTreeSet<Voters> = rows.iter().filter_map(voters_of).collect();
        // The widest search first: nothing else is as long.
        let tasks = voters.into_iter().map(Task::Oracle).chain(rows.iter().map(Task::Row));
        let queue = Mutex::new(tasks.enumerate());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || -> anyhow::Result<Vec<(usize, Self)>> {
            let mut done = Vec::new();
            while let Some((number, task)) = next() {
                let mut joins = Self::nothing();
                match task {
                    Task::Row(row) => joins.add(row, tell)?,
                    Task::Oracle(voters) => joins.allow(voters, oracle, tell)?,
                }
                done.push((number, joins));
            }
            Ok(done)
        };
        let mut parts = Vec::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                parts.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            anyhow::Ok(())
        })?;
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts.into_iter().fold(Self::nothing(), |all, (_, part)| all.with(part)))
    }

    fn nothing() -> Self {
        Self {
            elections: Side::new(),
            allowed_elections: Side::new(),
            deliveries: Side::new(),
            allowed_deliveries: Side::new(),
            shown: Side::new(),
            allowed_shown: Side::new(),
        }
    }

    fn with(mut self, part: Self) -> Self {
        self.elections.take(part.elections);
        self.allowed_elections.take(part.allowed_elections);
        self.deliveries.take(part.deliveries);
        self.allowed_deliveries.take(part.allowed_deliveries);
        self.shown.take(part.shown);
        self.allowed_shown.take(part.allowed_shown);
        self
    }

    /// Searches the oracle for elections where these vote.
    fn allow(
        &mut self,
        (servers, observers, groups): Voters,
        oracle: &Row,
        tell: Tell<'_>,
    ) -> anyhow::Result<()> {
        let Setup::Zab(bounds) = &oracle.setup else { anyhow::bail!("{} is no row of zab", oracle.name) };
        let voices = elected::voices(servers, observers, &groups);
        let who = voters::text(observers, &groups);
        let servers = u8::try_from(servers)?;
        let model = Zab::new(Bounds { servers, observers, groups, ..bounds.clone() });
        let found = exhaust(&model, oracle, &mut |progress| tell(oracle.name, progress))?;
        self.allowed_elections.searches.push((label(oracle) + &who, found.distinct()));
        elected::of_zab(&found, &voices, &mut self.allowed_elections.outcomes);
        Ok(())
    }

    fn add(&mut self, row: &Row, tell: Tell<'_>) -> anyhow::Result<()> {
        let mut tell = |progress: &Progress| tell(row.name, progress);
        match &row.setup {
            Setup::Election(config) => {
                let election::Config { votes, observers, groups, .. } = config;
                let mut config = config.clone();
                if *observers > 0 || !groups.is_empty() {
                    // Their histories are there to tempt, and none that transactions come to: an observer's is ahead of
                    // every voter's.
                    config.votes = vec![ALIKE; votes.len()];
                }
                let voices = elected::voices(votes.len(), *observers, groups);
                let model = Election::new(config);
                let found = exhaust(&model, row, &mut tell)?;
                self.elections.searches.push((label(row), found.distinct()));
                elected::of_election(&found, &voices, &mut self.elections.outcomes);
            }
            Setup::Zab(bounds) => {
                let model = Zab::new(bounds.clone());
                let found = exhaust(&model, row, &mut tell)?;
                let search = (label(row), found.distinct());
                self.deliveries.searches.push(search.clone());
                self.shown.searches.push(search);
                delivered::of_zab(&found, &mut self.deliveries.outcomes);
                shown::of_zab(&found, &mut self.shown.outcomes);
            }
            Setup::Session(bounds) => {
                let mut states = 0;
                for script in bounds.scripts() {
                    let model = Session::new(script);
                    let found = exhaust(&model, row, &mut tell)?;
                    states += found.distinct();
                    delivered::of_session(&found, &mut self.allowed_deliveries.outcomes);
                    shown::of_session(&model, &found, &mut self.allowed_shown.outcomes);
                }
                self.allowed_deliveries.searches.push((label(row), states));
                self.allowed_shown.searches.push((label(row), states));
            }
            // Nothing is replaced in it.
            Setup::Peer(_) => {}
        }
        Ok(())
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
        reaching: reached.searches.clone(),
        allowing: allowed.searches.clone(),
        reached: reached.outcomes.iter().map(ToString::to_string).collect(),
        allowed: allowed.outcomes.len(),
        aside: aside.len(),
        missing: missing.map(ToString::to_string).collect(),
    }
}

/// Every state of a model.
fn exhaust<'m, M: Model>(
    model: &'m M,
    row: &Row,
    tell: &mut dyn FnMut(&Progress),
) -> anyhow::Result<Search<'m, M>> {
    let mut search = Search::new(model, Options { limits: Limits::default(), skip_failed_steps: false });
    let outcome = search.run(tell);
    if let Some(found) = &outcome.counterexample {
        return Err(anyhow::anyhow!("{}: {}", found.broken.rule, found.broken.why))
            .with_context(|| format!("{} breaks a rule; look at it with `zabcheck check`", label(row)));
    }
    ensure!(
        outcome.end == End::Exhausted,
        "{} was cut before its end, so not all that it comes to is known",
        label(row)
    );
    Ok(search)
}
