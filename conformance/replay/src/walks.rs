//! Walks that take every step.

use crate::graph::{Edge, Graph};

/// A walk from the first start of a server.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Which of the graph's roots.
    pub root: usize,
    /// The steps, by their numbers among the graph's edges.
    pub steps: Vec<u32>,
}

/// What a server can do next: one step, or two that the shell tells of at once.
#[derive(Clone, Copy, Debug)]
struct Move {
    first: u32,
    second: Option<u32>,
    to: u32,
}

impl Move {
    fn edges(self) -> impl Iterator<Item = u32> {
        std::iter::once(self.first).chain(self.second)
    }
}

/// No step that is not taken can be reached.
const SPENT: u32 = u32::MAX;
/// Behind so many bounds that were raised for one way it is searched for, or behind more if the last search was dear.
const RAISES_MIN: usize = 64;

/// Plans walks: each goes to the nearest step that is not taken, as long as there is one.
///
/// How far that is from each server is kept as a lower bound. Steps are only ever taken, so that it never has to fall, and
/// it is raised where a way turns out to be longer: hardly a way is searched for twice. In a circle where all is taken
/// bounds would rise for ever; a search ends that, and raises the bounds of all that it has seen.
#[derive(Debug)]
struct Planner<'t> {
    /// The moves of each server are those from its place in `starts` to the next one's.
    moves: Vec<Move>,
    starts: Vec<usize>,
    taken: &'t mut [bool],
    far: Vec<u32>,
    /// The last search that has seen each server, and its number.
    seen: Vec<u32>,
    search: u32,
    raises_max: usize,
}

/// Walks that take every step that can be reached and is not `taken`; behind that all of them are.
pub fn cover(graph: &Graph, taken: &mut [bool]) -> Vec<Walk> {
    let mut planner = Planner::new(graph, taken);
    let mut walks = Vec::new();
    for (root, (start, _)) in graph.roots.iter().enumerate() {
        while let Some(steps) = planner.walk(*start) {
            walks.push(Walk { root, steps });
        }
    }
    assert!(planner.is_done(graph), "a plan leaves out what can be reached");
    walks
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 steps")
}

/// The edges out of each server: whose they are, by their places among `numbers`.
fn grouped(servers: usize, of: impl Iterator<Item = u32> + Clone) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; servers + 1];
    for server in of.clone() {
        starts[server as usize + 1] += 1;
    }
    for server in 0..servers {
        starts[server + 1] += starts[server];
    }
    let mut next = starts.clone();
    let mut numbers = vec![0; starts[servers]];
    for (at, server) in of.enumerate() {
        numbers[next[server as usize]] = number(at);
        next[server as usize] += 1;
    }
    (starts, numbers)
}

impl<'t> Planner<'t> {
    fn new(graph: &Graph, taken: &'t mut [bool]) -> Self {
        let servers = graph.servers();
        let (out, edges) = grouped(servers, graph.edges.iter().map(|edge| edge.from));
        let of = |server: u32| &edges[out[server as usize]..out[server as usize + 1]];
        let (mut moves, mut starts) = (Vec::with_capacity(edges.len()), vec![0]);
        for server in 0..number(servers) {
            for first in of(server).iter().copied() {
                let edge = &graph.edges[first as usize];
                moves.extend(moves_of(graph, first, edge, of(edge.to)));
            }
            starts.push(moves.len());
        }
        Self {
            moves,
            starts,
            taken,
            far: vec![0; servers],
            seen: vec![0; servers],
            search: 0,
            raises_max: RAISES_MIN,
        }
    }

    /// Whether all is taken that can be reached, however it is planned.
    fn is_done(&self, graph: &Graph) -> bool {
        let mut reached = vec![false; self.far.len()];
        let mut queue: Vec<u32> = graph.roots.iter().map(|(root, _)| *root).collect();
        while let Some(server) = queue.pop() {
            if !std::mem::replace(&mut reached[server as usize], true) {
                if self.new_from(server).is_some() {
                    return false;
                }
                queue.extend(self.moves_from(server).iter().map(|step| step.to));
            }
        }
        true
    }

    fn moves_from(&self, server: u32) -> &[Move] {
        &self.moves[self.starts[server as usize]..self.starts[server as usize + 1]]
    }

    fn is_new(&self, step: Move) -> bool {
        step.edges().any(|edge| !self.taken[edge as usize])
    }

    /// The next walk from here, if there is something left to take.
    fn walk(&mut self, start: u32) -> Option<Vec<u32>> {
        let (mut at, mut steps) = (start, Vec::new());
        while let Some(path) = self.path_to_new(at) {
            for step in path {
                for edge in step.edges() {
                    self.taken[edge as usize] = true;
                    steps.push(edge);
                }
                at = step.to;
            }
        }
        (!steps.is_empty()).then_some(steps)
    }

    fn new_from(&self, server: u32) -> Option<Move> {
        self.moves_from(server).iter().copied().find(|step| self.is_new(*step))
    }

    /// The shortest way to a step that is not taken, that one included.
    fn path_to_new(&mut self, start: u32) -> Option<Vec<Move>> {
        let (mut at, mut way) = (start, Vec::new());
        let mut raised = 0;
        while raised <= self.raises_max {
            let far = self.far[at as usize];
            if far == 0
                && let Some(step) = self.new_from(at)
            {
                way.push((at, step));
                return Some(way.into_iter().map(|(_, step)| step).collect());
            }
            let beyond = |step: &Move| self.far[step.to as usize];
            let nearest = self.moves_from(at).iter().copied().min_by_key(beyond);
            match nearest.filter(|step| beyond(step) != SPENT) {
                Some(step) if beyond(&step) < far => {
                    way.push((at, step));
                    at = step.to;
                    continue;
                }
                Some(step) => self.far[at as usize] = beyond(&step) + 1,
                None => self.far[at as usize] = SPENT,
            }
            raised += 1;
            // The way here is longer than it looked, too.
            match way.pop() {
                Some((before, _)) => at = before,
                None if self.far[at as usize] == SPENT => return None,
                None => {}
            }
        }
        self.search(start)
    }

    /// The same, by looking at all servers around.
    fn search(&mut self, start: u32) -> Option<Vec<Move>> {
        self.search += 1;
        self.seen[start as usize] = self.search;
        // How far each is, and how it was come to, by places in here.
        let mut around = vec![(start, 0_u32, None)];
        let mut next = 0;
        while let Some((at, depth, _)) = around.get(next).copied() {
            if let Some(step) = self.new_from(at) {
                self.raises_max = RAISES_MIN.max(around.len() / 4);
                for (server, before, _) in &around {
                    let far = &mut self.far[*server as usize];
                    *far = (*far).max(depth.saturating_sub(*before));
                }
                let (mut way, mut place) = (vec![step], next);
                while let (_, _, Some((before, step))) = around[place] {
                    way.push(step);
                    place = before;
                }
                way.reverse();
                return Some(way);
            }
            for at in self.starts[at as usize]..self.starts[at as usize + 1] {
                let step = self.moves[at];
                let place = step.to as usize;
                if self.seen[place] != self.search && self.far[place] != SPENT {
                    self.seen[place] = self.search;
                    around.push((step.to, depth + 1, Some((next, step))));
                }
            }
            next += 1;
        }
        // What is spent is looked at no more.
        self.raises_max = RAISES_MIN;
        for (server, ..) in around {
            self.far[server as usize] = SPENT;
        }
        None
    }
}

/// What a server can do that begins with this edge, behind which these come.
fn moves_of<'g>(graph: &'g Graph, first: u32, edge: &'g Edge, behind: &'g [u32]) -> Vec<Move> {
    if graph.is_exchanged(edge) {
        return Vec::new();
    }
    let Some(learner) = edge.silent else { return vec![Move { first, second: None, to: edge.to }] };
    let greeting = |second: &&u32| graph.greets(&graph.edges[**second as usize], learner);
    let both = |second: &u32| Move { first, second: Some(*second), to: graph.edges[*second as usize].to };
    behind.iter().filter(greeting).map(both).collect()
}
