//! States as plain cloned parts: the second opinion's, and the one that tells a reader what happens.

use std::rc::Rc;

use super::{Board, Broken, Model, Verdict, guard::guarded, possible};

/// A whole state, part by part, with the rule that the transition to it broke, if it did.
#[derive(Debug)]
pub struct Plain<M: Model> {
    /// The parts, slot by slot.
    pub parts: Vec<M::Part>,
    /// What the last transition broke.
    pub broken: Option<Broken>,
    /// Witnesses met on the way, of the last transition only; no part of the state's identity.
    pub witnesses: u64,
    /// Every change on the way here, by slot, if they are kept; no part of the state's identity.
    pub(crate) changes: Option<Vec<(usize, M::Change)>>,
}

impl<M: Model> Clone for Plain<M> {
    fn clone(&self) -> Self {
        let Self { parts, broken, witnesses, changes } = self;
        let (parts, broken, changes) = (parts.clone(), broken.clone(), changes.clone());
        Self { parts, broken, witnesses: *witnesses, changes }
    }
}

impl<M: Model> PartialEq for Plain<M> {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts && self.broken == other.broken
    }
}

impl<M: Model> Eq for Plain<M> {}

impl<M: Model> std::hash::Hash for Plain<M> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
        self.broken.hash(state);
    }
}

impl<M: Model> Plain<M> {
    /// The model's initial state.
    pub fn initial(model: &M) -> Self {
        Self::of(model.initial())
    }

    /// The state of these parts.
    pub(crate) fn of(parts: Vec<M::Part>) -> Self {
        Self { parts, broken: None, witnesses: 0, changes: None }
    }

    /// Every transition from here, in the order of the search; none from a broken state.
    pub fn possible(&self, model: &M) -> Vec<M::Action> {
        let mut out = Vec::new();
        if self.broken.is_none() {
            let mut parts = self.clone();
            let board = PlainBoard { model, state: &mut parts, story: None };
            possible(model, &board, self.parts.len(), &mut out);
        }
        out
    }

    /// Carries out a transition. A broken rule leaves the parts as they were and is marked in the state.
    pub fn step(&mut self, model: &M, action: &M::Action) {
        self.run(model, action, None);
    }

    /// Like [`Plain::step`], and tells what happened, a line each.
    pub fn step_narrated(&mut self, model: &M, action: &M::Action) -> Vec<String> {
        let mut story = Vec::new();
        self.run(model, action, Some(&mut story));
        story
    }

    /// Lets a model act on this state outside of its transitions, to come to its initial one.
    pub(crate) fn with_board<R>(&mut self, model: &M, act: impl FnOnce(&mut PlainBoard<'_, M>) -> R) -> R {
        act(&mut PlainBoard { model, state: self, story: None })
    }

    fn run(&mut self, model: &M, action: &M::Action, story: Option<&mut Vec<String>>) {
        let mut after = self.clone();
        after.witnesses = 0;
        let mut board = PlainBoard { model, state: &mut after, story };
        match model.next(&mut board, action) {
            Ok(()) => *self = after,
            Err(broken) => {
                self.broken = Some(broken);
                self.witnesses = after.witnesses;
            }
        }
    }

    /// Judges this state by all rules of the model.
    pub fn judge(&self, model: &M) -> Verdict {
        if let Some(broken) = &self.broken {
            return Verdict { broken: Some(broken.clone()), witnesses: 0 };
        }
        let mut verdict = Verdict::default();
        for (slot, part) in self.parts.iter().enumerate() {
            verdict = verdict.and(model.judge_part(slot, part));
        }
        let views: Vec<_> = self
            .parts
            .iter()
            .enumerate()
            .filter_map(|(slot, part)| model.view(slot, part).map(|view| (slot, view)))
            .collect();
        for (i, (low, a)) in views.iter().enumerate() {
            for (high, b) in &views[i + 1..] {
                verdict = verdict.and(model.judge_pair((*low, *high), (a, b)));
            }
        }
        let borrowed: Vec<_> = views.iter().map(|(slot, view)| (*slot, view)).collect();
        verdict.and(model.judge_whole(&borrowed))
    }
}

/// A plain state, as a model sees it.
#[derive(Debug)]
pub(crate) struct PlainBoard<'s, M: Model> {
    model: &'s M,
    state: &'s mut Plain<M>,
    story: Option<&'s mut Vec<String>>,
}

impl<M: Model> Board<M> for PlainBoard<'_, M> {
    fn part(&self, slot: usize) -> &M::Part {
        &self.state.parts[slot]
    }

    fn change(&mut self, slot: usize, change: M::Change) -> Result<Rc<M::Yield>, Broken> {
        let mut part = self.state.parts[slot].clone();
        let model = self.model;
        let yields = guarded(|| model.change(&mut part, &change))?;
        if let Some(story) = &mut self.story {
            story.extend(model.narrate(slot, &change, &yields, &self.state.parts[slot], &part));
        }
        self.state.parts[slot] = part;
        if let Some(changes) = &mut self.state.changes {
            changes.push((slot, change));
        }
        Ok(Rc::new(yields))
    }

    fn witness(&mut self, bits: u64) {
        self.state.witnesses |= bits;
    }
}
