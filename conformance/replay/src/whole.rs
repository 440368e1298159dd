//! A budget's rows, one after the other: searched, planned, walked.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    ops::Range,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use checker::rows::{Budget, Row};

use crate::{
    drive::{self, Outcome},
    graph::{Graph, Steps},
    place::Place,
    record::{Difference, RowTold, Told},
    walks::{self, Walk},
};

/// Behind so many differences there is enough to look at.
const DIFFERENCES_MAX: usize = 10;

/// Why a step is not covered that a walk goes to.
const NOT_TAKEN: &str = "its walk was not walked to the end, or not at all";

/// What was done so far.
#[derive(Debug)]
pub struct Whole {
    budget: Budget,
    /// The steps of the rows that were searched.
    pub graph: Graph,
    found: Found,
    /// For each row what its walks took, as far as they are its own.
    spent: Vec<Spent>,
    /// Whether a walk goes there.
    planned: Vec<bool>,
    /// The steps that no walk takes, and why.
    left: BTreeMap<u32, &'static str>,
    walks: usize,
    started: Instant,
    searching: Duration,
}

/// What the walks of a row took.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    walks: usize,
    time: Duration,
    /// In how many the server does something else.
    differences: usize,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    covered: Vec<bool>,
    untold: BTreeMap<u32, &'static str>,
    differences: Vec<Difference>,
    walked: usize,
    taken: usize,
}

impl Whole {
    /// Nothing is done.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            graph: Graph::default(),
            found: Found::default(),
            spent: Vec::new(),
            planned: Vec::new(),
            left: BTreeMap::new(),
            walks: 0,
            started: Instant::now(),
            searching: Duration::ZERO,
        }
    }

    /// Searches a row.
    ///
    /// # Errors
    /// If the search breaks a rule or is cut: its steps are not all there are.
    pub fn search(&mut self, row: &Row) -> anyhow::Result<()> {
        let started = Instant::now();
        self.graph.add_row(row, &mut |steps| {
            progress(&format!("searching {}: {steps} distinct steps of one server", row.name));
        })?;
        self.searching += started.elapsed();
        self.spent.push(Spent { time: started.elapsed(), ..Spent::default() });
        Ok(())
    }

    /// Walks that take all steps that no walk takes yet.
    pub fn plan(&mut self) -> Vec<Walk> {
        let started = Instant::now();
        let steps = self.graph.edges.len();
        self.found.covered.resize(steps, false);
        self.planned.resize(steps, false);
        let plan = walks::cover(&self.graph, &mut self.planned);
        let is_left = |step: &u32| !self.planned[*step as usize];
        let left: Vec<_> = (0..number(steps)).filter(is_left).collect();
        self.left = left.iter().copied().zip(self.graph.why_left(&left)).collect();
        self.walks += plan.len();
        self.searching += started.elapsed();
        if let Some(spent) = self.spent.last_mut() {
            spent.walks = plan.len();
            spent.time += started.elapsed();
        }
        plan
    }

    /// Has servers take walks, each with its number.
    ///
    /// # Errors
    /// If there is no place for servers in this folder. That a server does something else is none: it is noted.
    pub fn run(&mut self, walks: Vec<(usize, Walk)>, workers: u8, folder: &Path) -> anyhow::Result<()> {
        let (started, before) = (Instant::now(), self.found.differences.len());
        let run = Run::new(&self.graph, walks, std::mem::take(&mut self.found));
        let outcome = run.all(workers, folder);
        self.found = run.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(spent) = self.spent.last_mut() {
            spent.time += started.elapsed();
            spent.differences += self.found.differences.len() - before;
        }
        outcome
    }

    /// Whether there are so many differences that no more are looked for.
    pub fn has_enough(&self) -> bool {
        self.found.differences.len() >= DIFFERENCES_MAX
    }

    /// What came of it so far.
    pub fn told(&self) -> Told {
        let rows: Vec<_> =
            self.graph.searches.iter().zip(&self.spent).map(|(row, spent)| self.row(row, *spent)).collect();
        let mut unreached: BTreeMap<&str, usize> = BTreeMap::new();
        for (why, steps) in rows.iter().flat_map(|row| &row.unreached) {
            *unreached.entry(why).or_default() += steps;
        }
        Told {
            budget: self.budget.name(),
            rows,
            servers: self.graph.servers(),
            steps: self.graph.edges.len(),
            walks: self.walks,
            walked: self.found.walked,
            taken: self.found.taken,
            covered: self.covered(0..self.graph.edges.len()),
            unreached: unreached.into_iter().collect(),
            differences: self.found.differences.clone(),
            search_seconds: self.searching.as_secs(),
            seconds: self.started.elapsed().as_secs(),
        }
    }

    fn is_covered(&self, edge: usize) -> bool {
        self.found.covered.get(edge) == Some(&true)
    }

    fn covered(&self, mut edges: Range<usize>) -> usize {
        let all = edges.len();
        all - edges.by_ref().filter(|edge| !self.is_covered(*edge)).count()
    }

    fn row(&self, search: &Steps, spent: Spent) -> RowTold {
        let Steps { model, row, edges, parts } = search;
        let mut unreached: BTreeMap<&'static str, usize> = BTreeMap::new();
        let of_edges = number(edges.start)..number(edges.end);
        for (edge, why) in self.left.range(of_edges.clone()).chain(self.found.untold.range(of_edges)) {
            if !self.is_covered(*edge as usize) {
                *unreached.entry(*why).or_default() += 1;
            }
        }
        let is_open = |edge: &usize| {
            let is_told =
                self.found.untold.contains_key(&number(*edge)) || self.left.contains_key(&number(*edge));
            !self.is_covered(*edge) && !is_told
        };
        let open = edges.clone().filter(is_open).count();
        if open > 0 {
            unreached.insert(NOT_TAKEN, open);
        }
        let peers_covered = self.covered(edges.clone());
        let (steps, covered) = match parts {
            None => (edges.len(), peers_covered),
            Some(parts) => {
                for why in parts.iter().filter_map(|part| part.as_ref().err()) {
                    *unreached.entry(*why).or_default() += 1;
                }
                let is_whole = |part: &&Vec<u32>| part.iter().all(|edge| self.is_covered(*edge as usize));
                (parts.len(), parts.iter().flatten().filter(is_whole).count())
            }
        };
        RowTold {
            model,
            row,
            steps,
            covered,
            of_peers: edges.len(),
            peers_covered,
            walks: spent.walks,
            seconds: spent.time.as_secs(),
            unreached: unreached.into_iter().collect(),
            differences: spent.differences,
        }
    }
}

fn number(edge: usize) -> u32 {
    u32::try_from(edge).expect("fewer than 2^32 steps")
}

/// A line that the next one replaces; where nothing can be replaced, one now and then.
pub fn progress(line: &str) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    const EVERY: Duration = Duration::from_secs(15);
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        return;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.get_or_insert_with(Instant::now).elapsed() >= EVERY {
        *told = Some(Instant::now());
        eprintln!("{line}");
    }
}

/// Walks under way.
struct Run<'g> {
    graph: &'g Graph,
    chosen: Vec<(usize, Walk)>,
    next: AtomicUsize,
    stop: AtomicBool,
    found: Mutex<Found>,
}

impl<'g> Run<'g> {
    fn new(graph: &'g Graph, chosen: Vec<(usize, Walk)>, found: Found) -> Self {
        Self {
            graph,
            chosen,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            found: Mutex::new(found),
        }
    }

    fn all(&self, workers: u8, folder: &Path) -> anyhow::Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || self.work(worker, folder))).collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a worker has panicked"))??;
            }
            Ok(())
        })
    }

    fn work(&self, worker: u8, folder: &Path) -> anyhow::Result<()> {
        let place =
            Place::new(folder, worker).with_context(|| format!("a folder in {}", folder.display()))?;
        while !self.stop.load(Ordering::Relaxed) {
            let Some((number, walk)) = self.chosen.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(());
            };
            let outcome = drive::run(self.graph, walk, &place);
            self.note(*number, walk, outcome);
        }
        Ok(())
    }

    fn note(&self, number: usize, walk: &Walk, outcome: Result<Vec<Outcome>, (usize, anyhow::Error)>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(outcomes) => {
                found.taken += outcomes.len();
                for (edge, outcome) in walk.steps.iter().zip(outcomes) {
                    match outcome {
                        Outcome::Same => found.covered[*edge as usize] = true,
                        Outcome::Untold(why) => {
                            found.untold.insert(*edge, why);
                        }
                    }
                }
            }
            Err((step, why)) => {
                let why = format!("{why:#}");
                eprintln!("\nwalk {number}, step {step}: {why}");
                found.differences.push(Difference { walk: number, step, why });
                if found.differences.len() >= DIFFERENCES_MAX {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        found.walked += 1;
        if found.walked.is_multiple_of(50) {
            let last = self.chosen.last().map_or(0, |(number, _)| number + 1);
            progress(&format!("walk {number} of {last}, {} steps taken", found.taken));
        }
    }
}
