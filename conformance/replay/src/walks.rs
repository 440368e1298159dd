//! Walks that take every step.

use std::collections::VecDeque;

use crate::graph::Graph;

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

/// Plans walks.
#[derive(Debug)]
struct Planner {
    moves: Vec<Vec<Move>>,
    taken: Vec<bool>,
    /// No step that is not taken can be reached from here any more.
    spent: Vec<bool>,
    /// How the last search came to each server, and which search that was.
    came: Vec<(u32, Option<(u32, Move)>)>,
    search: u32,
}

/// Walks that take every step that can be reached, and the steps that cannot.
pub fn cover(graph: &Graph) -> (Vec<Walk>, Vec<u32>) {
    let mut planner = Planner::new(graph);
    let mut walks = Vec::new();
    for (root, (start, _)) in graph.roots.iter().enumerate() {
        while let Some(steps) = planner.walk(*start) {
            walks.push(Walk { root, steps });
        }
    }
    let left = planner.taken.iter().enumerate().filter(|(_, taken)| !**taken);
    (walks, left.map(|(edge, _)| number(edge)).collect())
}

fn number(edge: usize) -> u32 {
    u32::try_from(edge).expect("fewer than 2^32 steps")
}

impl Planner {
    fn new(graph: &Graph) -> Self {
        let mut out = vec![Vec::new(); graph.servers()];
        for (at, edge) in graph.edges.iter().enumerate() {
            out[edge.from as usize].push(number(at));
        }
        let mut moves = vec![Vec::new(); graph.servers()];
        for (at, edge) in graph.edges.iter().enumerate() {
            if graph.is_exchanged(edge) {
                continue;
            }
            let here: &mut Vec<Move> = &mut moves[edge.from as usize];
            let first = number(at);
            match edge.silent {
                None => here.push(Move { first, second: None, to: edge.to }),
                Some(learner) => {
                    for second in &out[edge.to as usize] {
                        let next = &graph.edges[*second as usize];
                        if graph.greets(next, learner) {
                            here.push(Move { first, second: Some(*second), to: next.to });
                        }
                    }
                }
            }
        }
        let servers = moves.len();
        Self {
            moves,
            taken: vec![false; graph.edges.len()],
            spent: vec![false; servers],
            came: vec![(0, None); servers],
            search: 0,
        }
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

    /// The shortest way to a step that is not taken, that one included.
    fn path_to_new(&mut self, start: u32) -> Option<Vec<Move>> {
        self.search += 1;
        let mut queue = VecDeque::from([start]);
        let mut seen = vec![start];
        self.came[start as usize] = (self.search, None);
        while let Some(at) = queue.pop_front() {
            let moves = &self.moves[at as usize];
            if let Some(step) = moves.iter().copied().find(|step| self.is_new(*step)) {
                return Some(self.way(at, step));
            }
            for step in moves {
                let place = step.to as usize;
                if self.came[place].0 != self.search && !self.spent[place] {
                    self.came[place] = (self.search, Some((at, *step)));
                    seen.push(step.to);
                    queue.push_back(step.to);
                }
            }
        }
        for server in seen {
            self.spent[server as usize] = true;
        }
        None
    }

    fn way(&self, mut at: u32, last: Move) -> Vec<Move> {
        let mut way = vec![last];
        while let Some((before, step)) = self.came[at as usize].1 {
            way.push(step);
            at = before;
        }
        way.reverse();
        way
    }
}
