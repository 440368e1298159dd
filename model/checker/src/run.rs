//! Runs one row and reports.

use std::{collections::BTreeSet, fmt, path::Path, time::Instant};

use serde::Serialize;

use crate::{
    election::Election,
    engine::{
        Broken, Model,
        graph::traps,
        search::{Counterexample, End, Limits, Options, Outcome, Progress, Search},
    },
    joins::Joins,
    peer::{self, Peer},
    rows::{Row, Setup},
    session::{self, Session},
    trace,
    zab::Zab,
};

/// Which engine searches.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Engine {
    /// Ours.
    #[default]
    Own,
    /// stateright's, over the plain state, as a second opinion. It knows no limits, witnesses or renamings.
    Stateright,
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Which engine.
    pub engine: Engine,
    /// When to give up.
    pub limits: Limits,
    /// Leave out steps that fail by themselves.
    pub skip_failed_steps: bool,
}

/// What came of a row. Written as JSON, one object a row.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model.
    pub model: &'static str,
    /// The budget's name.
    pub budget: String,
    /// The row's name.
    pub row: String,
    /// The bounds in words.
    pub bounds: String,
    /// Distinct states.
    pub distinct: usize,
    /// Transitions computed.
    pub generated: u64,
    /// The most transitions on a shortest path to any state.
    pub depth: u32,
    /// Time, in seconds.
    pub seconds: f64,
    /// Memory for states and their index, for each state.
    pub bytes_per_state: usize,
    /// Whether every reachable state was judged.
    pub exhausted: bool,
    /// What cut the search, if something did.
    pub cut: Option<&'static str>,
    /// The rule that is broken.
    pub broken: Option<String>,
    /// How many transitions the counterexample has.
    pub steps: Option<usize>,
    /// The witnesses reached.
    pub witnesses: Vec<&'static str>,
    /// The witnesses that the row must reach and did not.
    pub missing: Vec<&'static str>,
    /// The counts differ from the recorded ones, which are these: distinct, generated, depth.
    pub recorded: Option<[u64; 3]>,
    /// Where the counterexample was saved.
    pub trace: Option<String>,
    /// The counterexample for a reader.
    #[serde(skip)]
    pub transcript: Option<String>,
}

impl Report {
    /// The exit code that this report alone would give.
    pub fn code(&self) -> u8 {
        if self.broken.is_some() {
            1
        } else if self.cut.is_some() {
            3
        } else if !self.missing.is_empty() || self.recorded.is_some() {
            4
        } else {
            0
        }
    }
}

/// Runs a row. What an exhausted search has come to goes to the joins.
pub fn run(
    budget: &str,
    row: &Row,
    mode: Mode,
    tell: &mut dyn FnMut(&Progress),
    mut joins: Option<&mut Joins>,
) -> Report {
    match &row.setup {
        Setup::Zab(bounds) => {
            let mut bounds = bounds.clone();
            if mode.engine == Engine::Stateright {
                (bounds.symmetric, bounds.covering) = (false, false);
            }
            // What is left out for what it has used up may be a trap.
            bounds.covering &= !row.traps;
            run_model(&Zab::new(bounds), budget, row, mode, tell, &mut |found| {
                if let Some(joins) = &mut joins {
                    joins.take_zab(row, found);
                }
            })
        }
        Setup::Election(config) => {
            let model = Election::new(config.clone());
            run_model(&model, budget, row, mode, tell, &mut |found| {
                if let Some(joins) = &mut joins {
                    joins.take_election(row, &model, found);
                }
            })
        }
        Setup::Session(bounds) if mode.engine == Engine::Own => {
            let started = Instant::now();
            let mut before = 0;
            let reports = bounds.scripts().into_iter().map(|script| {
                let mut tell = |progress: &Progress| {
                    let (distinct, elapsed) = (before + progress.distinct, started.elapsed());
                    tell(&Progress { distinct, elapsed, ..*progress });
                };
                let report = run_script(budget, row, script, mode, &mut tell, joins.as_deref_mut());
                before += report.distinct;
                report
            });
            let mut sum = sum(row, reports);
            sum.seconds = started.elapsed().as_secs_f64();
            sum
        }
        Setup::Session(bounds) => {
            run_model(&Session::new(bounds.clone()), budget, row, mode, tell, &mut |_| {})
        }
        Setup::Peer(bounds) => {
            let covering = bounds.covering && mode.engine == Engine::Own;
            let bounds = peer::Bounds { covering, ..bounds.clone() };
            // It replaces nothing, and nothing takes it for granted.
            run_model(&Peer::new(bounds), budget, row, mode, tell, &mut |_| {})
        }
    }
}

/// One script of a row of the `session` model, with a search of its own: scripts have no states in common.
fn run_script(
    budget: &str,
    row: &Row,
    script: session::Bounds,
    mode: Mode,
    tell: &mut dyn FnMut(&Progress),
    mut joins: Option<&mut Joins>,
) -> Report {
    let row = Row { setup: Setup::Session(script.clone()), expects: &[], ..row.clone() };
    let model = Session::new(script);
    run_model(&model, budget, &row, mode, tell, &mut |found| {
        if let Some(joins) = &mut joins {
            joins.take_session(&row, &model, found);
        }
    })
}

/// The searches of one row taken together, up to the first that breaks a rule or is cut.
fn sum(row: &Row, reports: impl Iterator<Item = Report>) -> Report {
    let mut bytes = 0;
    let mut whole: Option<Report> = None;
    for report in reports {
        bytes += report.bytes_per_state * report.distinct;
        let done = !report.exhausted;
        match &mut whole {
            None => whole = Some(report),
            Some(sum) => {
                let witnesses =
                    sum.witnesses.iter().chain(&report.witnesses).copied().collect::<BTreeSet<_>>();
                *sum = Report {
                    distinct: sum.distinct + report.distinct,
                    generated: sum.generated + report.generated,
                    depth: sum.depth.max(report.depth),
                    witnesses: witnesses.into_iter().collect(),
                    ..report
                };
            }
        }
        if done {
            break;
        }
    }
    let mut sum = whole.expect("a row has a script");
    sum.bounds = row.setup.bounds();
    sum.bytes_per_state = bytes / sum.distinct.max(1);
    sum.missing = row.expects.iter().copied().filter(|name| !sum.witnesses.contains(name)).collect();
    sum
}

fn run_model<M: Model + Clone + fmt::Debug>(
    model: &M,
    budget: &str,
    row: &Row,
    mode: Mode,
    tell: &mut dyn FnMut(&Progress),
    ended: &mut dyn FnMut(&Search<'_, M>),
) -> Report {
    let (outcome, bytes_per_state) = match mode.engine {
        Engine::Own => search(model, row, mode, tell, ended),
        Engine::Stateright => second_opinion(model),
    };
    let own = mode.engine == Engine::Own;
    let reached = model.witnesses().iter().zip(&outcome.witnesses);
    let witnesses: Vec<_> = reached.filter(|(_, depth)| depth.is_some()).map(|(name, _)| *name).collect();
    let found = outcome.counterexample.as_ref().map(|found| trace::tell(model, found));
    Report {
        model: row.setup.model(),
        budget: budget.to_owned(),
        row: row.name.to_owned(),
        bounds: row.setup.bounds(),
        distinct: outcome.progress.distinct,
        generated: outcome.progress.generated,
        depth: outcome.depth,
        seconds: outcome.progress.elapsed.as_secs_f64(),
        bytes_per_state,
        exhausted: outcome.end == End::Exhausted,
        cut: match outcome.end {
            End::Exhausted | End::Broken => None,
            End::States => Some("states"),
            End::Memory => Some("memory"),
            End::Time => Some("time"),
        },
        broken: outcome.counterexample.as_ref().map(|found| found.broken.rule.clone()),
        steps: outcome.counterexample.as_ref().map(|found| found.path.len()),
        missing: row.expects.iter().copied().filter(|name| own && !witnesses.contains(name)).collect(),
        witnesses,
        recorded: None,
        trace: outcome.counterexample.as_ref().and_then(|found| {
            let path = Path::new("target/zabcheck").join(format!("{}-{}.jsonl", row.setup.model(), row.name));
            trace::save(&path, model, budget, row, found).ok().map(|()| path.display().to_string())
        }),
        transcript: found,
    }
}

fn search<M: Model>(
    model: &M,
    row: &Row,
    mode: Mode,
    tell: &mut dyn FnMut(&Progress),
    ended: &mut dyn FnMut(&Search<'_, M>),
) -> (Outcome<M::Action>, usize) {
    let options = Options { limits: mode.limits, skip_failed_steps: mode.skip_failed_steps };
    let mut search = Search::new(model, options);
    let mut outcome = search.run(tell);
    let bytes = outcome.progress.bytes / outcome.progress.distinct.max(1);
    if outcome.end == End::Exhausted {
        ended(&search);
    }
    if row.traps && outcome.end == End::Exhausted {
        let found = traps(&mut search);
        let vacuous = || Counterexample {
            broken: Broken::new("no-traps", "no state is demanded to reach the goal, so nothing was checked"),
            path: Vec::new(),
        };
        outcome.counterexample = if found.demanded == 0 { Some(vacuous()) } else { found.first };
        if outcome.counterexample.is_some() {
            outcome.end = End::Broken;
        }
    }
    (outcome, bytes)
}

/// Serves stateright's own explorer of a row, until the process ends. Here, and not where it is asked for: what this
/// builds of stateright is built once.
#[cfg(feature = "stateright")]
pub fn explore(setup: Setup, address: std::net::SocketAddr) {
    use crate::engine::twin::explore;

    match setup {
        Setup::Zab(bounds) => explore(Zab::new(bounds), address),
        Setup::Election(config) => explore(Election::new(config), address),
        Setup::Session(bounds) => explore(Session::new(bounds), address),
        Setup::Peer(bounds) => explore(Peer::new(bounds), address),
    }
}

#[cfg(feature = "stateright")]
fn second_opinion<M: Model + Clone + fmt::Debug>(model: &M) -> (Outcome<M::Action>, usize) {
    let started = Instant::now();
    let opinion = crate::engine::twin::second_opinion(model.clone());
    let progress = Progress {
        distinct: opinion.distinct,
        generated: u64::try_from(opinion.generated).unwrap_or(u64::MAX),
        elapsed: started.elapsed(),
        ..Progress::default()
    };
    let found = opinion.counterexample.map(|(broken, path)| Counterexample { broken, path });
    let end = if found.is_some() { End::Broken } else { End::Exhausted };
    let outcome = Outcome {
        end,
        progress,
        depth: opinion.depth,
        counterexample: found,
        witnesses: Vec::new(),
        judged: 0,
        tables: crate::engine::tables::TableSizes::default(),
    };
    (outcome, 0)
}

#[cfg(not(feature = "stateright"))]
fn second_opinion<M: Model + Clone + fmt::Debug>(_: &M) -> (Outcome<M::Action>, usize) {
    unreachable!("this build has no second engine, and the command line offers none")
}
