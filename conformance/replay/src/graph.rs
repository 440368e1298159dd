//! The local graph: every distinct step of one server that exhausted searches have taken.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::Hash,
};

use anyhow::{Context, anyhow, ensure};
use checker::{
    engine::search::{End, Limits, Options, Search},
    rows::{Budget, Row, Setup},
    session::{Change, Part, Session, Yield},
};
use protocol::{
    Message,
    peer::{Input, Packet},
};
use spec::ServerId;
use tree::Tree;
use world::{Fault, Host, HostEvent, NetChange, Wire};
use xxhash_rust::xxh3::Xxh3;

/// What tells servers apart: a hash of everything about one, wide enough that none of millions share it.
pub type Print = u128;

/// The print of a server.
pub fn print(host: &Host<Tree>) -> Print {
    let mut hasher = Xxh3::new();
    host.hash(&mut hasher);
    hasher.digest128()
}

/// A step.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// The server before, by number.
    pub from: u32,
    /// Behind.
    pub to: u32,
    /// What happens to it, by number.
    pub event: u32,
    /// The learner whose link is up and taken, but has said nothing. The shell tells of it with its first packet.
    pub silent: Option<ServerId>,
}

/// All steps.
#[derive(Debug, Default)]
pub struct Graph {
    numbers: HashMap<Print, u32>,
    prints: Vec<Print>,
    events: Vec<HostEvent<Tree>>,
    event_numbers: HashMap<HostEvent<Tree>, u32>,
    /// The steps.
    pub edges: Vec<Edge>,
    known: HashSet<(u32, u32)>,
    /// Servers as they start for the first time.
    pub roots: Vec<(u32, Host<Tree>)>,
    /// The searches that the steps are from, and how many distinct ones each has brought.
    pub searches: Vec<(String, usize)>,
    /// The searches of the budget whose steps are not here, with their models.
    pub left_out: Vec<(&'static str, &'static str)>,
}

impl Graph {
    /// The steps of every search of a budget in which a server is a whole peer.
    ///
    /// # Errors
    /// If a search breaks a rule or is cut: its steps are not all there are.
    pub fn of_budget(
        budget: Budget,
        only: &[String],
        tell: &mut dyn FnMut(&str, usize),
    ) -> anyhow::Result<Self> {
        let mut graph = Self::default();
        let wanted = |row: &&Row| only.is_empty() || only.iter().any(|name| name == row.name);
        for row in budget.rows().iter().filter(wanted) {
            if let Setup::Session(bounds) = &row.setup {
                let before = graph.edges.len();
                for script in bounds.scripts() {
                    graph.add(&Session::new(script)).with_context(|| row.name)?;
                    tell(row.name, graph.edges.len());
                }
                graph.searches.push((row.name.to_owned(), graph.edges.len() - before));
            } else {
                graph.left_out.push((row.setup.model(), row.name));
            }
        }
        ensure!(!graph.edges.is_empty(), "there is no such row of the session model in this budget");
        Ok(graph)
    }

    /// Adds the steps of one search.
    ///
    /// # Errors
    /// As [`Graph::of_budget`].
    pub fn add(&mut self, model: &Session) -> anyhow::Result<()> {
        let (mut hosts, coming_up) = model.coming_up();
        for host in &hosts {
            let number = self.number(print(host));
            if self.roots.iter().all(|(known, _)| *known != number) {
                self.roots.push((number, host.clone()));
            }
        }
        for (slot, event) in coming_up {
            let before = print(&hosts[*slot]);
            let happened =
                hosts[*slot].step(event).map_err(|Fault { rule, why }| anyhow!("{rule}: {why}"))?;
            self.step(before, event, print(&hosts[*slot]), &happened.net);
        }
        let mut search = Search::new(model, Options { limits: Limits::default(), skip_failed_steps: false });
        let outcome = search.run(&mut |_| {});
        ensure!(outcome.end == End::Exhausted, "a search ended with {:?}", outcome.end);
        let mut prints = HashMap::new();
        // The tables have no order; walks are to be the same each time.
        let mut steps = Vec::new();
        for step in search.steps() {
            if let (Part::Host(before), Change::Host(event), Part::Host(after), Yield::Host(happened)) =
                (step.before, step.change, step.after, step.yields)
            {
                let mut known = |host: &Host<Tree>| {
                    *prints.entry(std::ptr::from_ref(host)).or_insert_with(|| print(host))
                };
                steps.push((known(before), hash_of(event), known(after), event, &happened.net));
            }
        }
        steps.sort_unstable_by_key(|(before, event, after, ..)| (*before, *event, *after));
        for (before, _, after, event, net) in steps {
            self.step(before, event, after, net);
        }
        Ok(())
    }

    fn step(&mut self, before: Print, event: &HostEvent<Tree>, after: Print, net: &[NetChange<Wire<Tree>>]) {
        let (from, to, event_number) = (self.number(before), self.number(after), self.event_number(event));
        if self.known.insert((from, event_number)) {
            let silent = match event {
                HostEvent::Input(Input::Accepted(learner)) if !net.contains(&NetChange::Refuse(*learner)) => {
                    Some(*learner)
                }
                HostEvent::Input(_)
                | HostEvent::Read(..)
                | HostEvent::Timer(_)
                | HostEvent::Disk(_)
                | HostEvent::Crash(_) => None,
            };
            self.edges.push(Edge { from, to, event: event_number, silent });
        }
    }

    fn number(&mut self, print: Print) -> u32 {
        let next = u32::try_from(self.prints.len()).expect("fewer than 2^32 servers");
        match self.numbers.entry(print) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.prints.push(print);
                *new.insert(next)
            }
        }
    }

    fn event_number(&mut self, event: &HostEvent<Tree>) -> u32 {
        if let Some(known) = self.event_numbers.get(event) {
            return *known;
        }
        let number = u32::try_from(self.events.len()).expect("fewer than 2^32 events");
        self.events.push(event.clone());
        self.event_numbers.insert(event.clone(), number);
        number
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.prints.len()
    }

    /// The print of a server.
    pub fn print(&self, number: u32) -> Print {
        self.prints[number as usize]
    }

    /// What happens at a step.
    pub fn event(&self, edge: &Edge) -> &HostEvent<Tree> {
        &self.events[edge.event as usize]
    }

    /// Whether this is the first packet of a learner's link.
    pub fn greets(&self, edge: &Edge, learner: ServerId) -> bool {
        matches!(
            self.event(edge),
            HostEvent::Read(from, Wire::Packet(Packet::Zab(Message::FollowerInfo { .. }))) if *from == learner
        )
    }
}

fn hash_of(event: &HostEvent<Tree>) -> u128 {
    let mut hasher = Xxh3::new();
    event.hash(&mut hasher);
    hasher.digest128()
}
