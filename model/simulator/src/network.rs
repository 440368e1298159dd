//! Connections between servers: links and the election mesh, how long things take on the way, and what is cut off.
//!
//! What is sent into a path that is blocked waits, as with TCP: it arrives when the path opens, unless an end of its
//! connection is gone by then.

use std::collections::BTreeMap;

use protocol::Notification;
use world::{Link, Places, Side};

use crate::{
    chance::{Chance, Stream},
    form::Form,
    plan::Plan,
    time::{Due, Time},
};

/// A link with what is due on it.
#[derive(Debug)]
pub(crate) struct Line<F: Form> {
    pub(crate) link: Link<F::Load>,
    /// What reads at the learner's end, and at the leader's.
    pub(crate) ears: [F::Ear; 2],
    /// The incarnation.
    pub(crate) number: u64,
    /// When the last frame for the learner, and for the leader, arrives.
    last: [Time; 2],
    /// Since when it is being dialled.
    pub(crate) dialled: Time,
}

impl<F: Form> Default for Line<F> {
    fn default() -> Self {
        Self {
            link: Link::default(),
            ears: [F::Ear::default(), F::Ear::default()],
            number: 0,
            last: [0, 0],
            dialled: 0,
        }
    }
}

/// What one server has to say in elections to another.
#[derive(Debug, Default)]
pub(crate) struct Voice {
    pub(crate) newest: Option<Notification>,
    pub(crate) unsent: bool,
    pub(crate) under_way: bool,
}

/// All that lies between the servers.
#[derive(Debug)]
pub(crate) struct Network<F: Form> {
    pub(crate) places: Places,
    servers: usize,
    lines: Vec<Line<F>>,
    mesh: BTreeMap<(usize, usize), Voice>,
    paths: BTreeMap<(usize, usize), Path>,
    latency_us: u64,
}

/// From one server to another.
#[derive(Debug)]
struct Path {
    chance: Chance,
    /// How many faults block it.
    blocked: u32,
    extra_us: Time,
    /// What waits for it to open.
    held: Vec<Due>,
}

impl<F: Form> Network<F> {
    pub(crate) fn new(plan: &Plan) -> Self {
        let servers = usize::from(plan.size.servers());
        let places = Places::of(servers);
        let pairs = (0..servers).flat_map(|from| (0..servers).map(move |to| (from, to)));
        let path = |(from, to): (usize, usize)| {
            let chance = Chance::new(plan.seed, Stream::Path(from, to));
            ((from, to), Path { chance, blocked: 0, extra_us: 0, held: Vec::new() })
        };
        Self {
            places,
            servers,
            lines: (servers..places.end()).map(|_| Line::default()).collect(),
            mesh: BTreeMap::new(),
            paths: pairs.map(path).collect(),
            latency_us: plan.tuning.latency_us,
        }
    }

    pub(crate) fn line(&self, place: usize) -> &Line<F> {
        &self.lines[place - self.servers]
    }

    pub(crate) fn line_mut(&mut self, place: usize) -> &mut Line<F> {
        &mut self.lines[place - self.servers]
    }

    pub(crate) fn link(&self, place: usize) -> &Link<F::Load> {
        &self.line(place).link
    }

    pub(crate) fn voice(&mut self, from: usize, to: usize) -> &mut Voice {
        self.mesh.entry((from, to)).or_default()
    }

    /// The server at this end of a link, and the one at the other.
    pub(crate) fn ends(&self, place: usize, at: Side) -> (usize, usize) {
        let (learner, leader) = self.places.ends(place);
        match at {
            Side::Learner => (learner, leader),
            Side::Leader => (leader, learner),
        }
    }

    fn path(&mut self, from: usize, to: usize) -> &mut Path {
        self.paths.get_mut(&(from, to)).expect("a path between each two")
    }

    /// How long something takes on this path.
    pub(crate) fn latency(&mut self, from: usize, to: usize) -> Time {
        let usual = self.latency_us;
        let path = self.path(from, to);
        let rare = if path.chance.once_in(100) { 20 } else { 1 };
        path.chance.within(50, usual) * rare + path.extra_us
    }

    /// When a frame that is sent now is read at this end: behind those before it.
    pub(crate) fn arrival(&mut self, place: usize, at: Side, now: Time) -> Time {
        let (to, from) = self.ends(place, at);
        let wait = self.latency(from, to);
        let line = self.line_mut(place);
        let last = &mut line.last[usize::from(at == Side::Leader)];
        *last = (now + wait).max(*last + 1);
        *last
    }

    /// A number that a link has not had.
    pub(crate) fn renumber(&mut self, place: usize) -> u64 {
        let line = self.line_mut(place);
        line.number += 1;
        line.last = [0, 0];
        line.ears = [F::Ear::default(), F::Ear::default()];
        line.number
    }

    /// Whether nothing gets from here to there.
    pub(crate) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.paths.get(&(from, to)).is_some_and(|path| path.blocked > 0)
    }

    /// Keeps something until the path opens.
    pub(crate) fn hold(&mut self, from: usize, to: usize, due: Due) {
        self.path(from, to).held.push(due);
    }

    pub(crate) fn block(&mut self, from: usize, to: usize) {
        self.path(from, to).blocked += 1;
    }

    /// Ends one reason why the path is blocked. Returns what may go on.
    pub(crate) fn unblock(&mut self, from: usize, to: usize) -> Vec<Due> {
        let path = self.path(from, to);
        path.blocked = path.blocked.saturating_sub(1);
        if path.blocked == 0 { std::mem::take(&mut path.held) } else { Vec::new() }
    }

    pub(crate) fn delay(&mut self, from: usize, to: usize, extra_us: Time) {
        self.path(from, to).extra_us = extra_us;
    }

    /// Everything is open and quick again. Returns what may go on.
    pub(crate) fn repair(&mut self) -> Vec<Due> {
        let open = |path: &mut Path| {
            (path.blocked, path.extra_us) = (0, 0);
            std::mem::take(&mut path.held)
        };
        self.paths.values_mut().flat_map(open).collect()
    }
}
