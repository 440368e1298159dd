//! Random walks: far beyond what can be searched, and judged after every step.
//!
//! A walk runs on the interned tables, so that a part, a pair of views or a combination of all of them that was
//! judged before is not judged again, and a change that was computed before is looked up. The tables are thrown away
//! when they have grown large, in the middle of a walk too; what a seed leads to does not depend on that.

use super::{
    Broken, Model,
    search::{Counterexample, Expander, Judge},
    tables::Tables,
};

/// Marsaglia's xorshift, so that a seed is a run.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Numbers that follow from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below this bound, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// One of the choices, each as likely as its weight says; none if all weigh nothing.
    pub fn pick<'c, A>(&mut self, choices: &'c [A], weight: impl Fn(&A) -> u64) -> Option<&'c A> {
        let total: u64 = choices.iter().map(&weight).sum();
        let mut left = if total == 0 { return None } else { self.below(total) };
        choices.iter().find(|choice| {
            let weight = weight(choice);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }
}

/// Walks through one model.
#[derive(Debug)]
pub struct Walks<'m, M: Model> {
    model: &'m M,
    initial: Vec<u32>,
    tables: Tables<'m, M>,
    judge: Judge,
    /// The parts that the tables may hold.
    parts_max: usize,
    /// The steps taken.
    pub steps: u64,
    /// The witnesses met: bits as in [`Verdict::witnesses`](super::Verdict::witnesses).
    pub witnesses: u64,
}

impl<'m, M: Model> Walks<'m, M> {
    /// No walk yet; tables are thrown away when they hold this many parts.
    pub fn new(model: &'m M, parts_max: usize) -> Self {
        let mut tables = Tables::new(model);
        let initial = tables.initial();
        let judge = Judge::new(&initial, &mut tables);
        Self { model, initial, tables, judge, parts_max, steps: 0, witnesses: 0 }
    }

    /// One walk of at most `steps` from the initial state; it ends where nothing is possible that weighs anything.
    /// Each step is told as it is taken.
    ///
    /// # Errors
    /// The run to a broken rule.
    pub fn walk(
        &mut self,
        chance: &mut Chance,
        steps: u64,
        weight: impl Fn(&M::Action) -> u64,
        mut tell: impl FnMut(&M::Action),
    ) -> Result<(), Counterexample<M::Action>> {
        let mut expander = Expander::new(self.initial.len());
        expander.load(&self.initial);
        let (mut path, mut choices) = (Vec::new(), Vec::new());
        for _ in 0..steps {
            self.choices(&mut expander, &mut choices);
            let Some(action) = chance.pick(&choices, &weight) else { break };
            path.push(action.clone());
            tell(action);
            self.steps += 1;
            if let Err(broken) = self.step(&mut expander, action) {
                return Err(Counterexample { broken, path });
            }
        }
        Ok(())
    }

    /// A shorter run to the same broken rule: whatever can be left out of it is.
    #[must_use]
    pub fn shorten(&mut self, found: Counterexample<M::Action>) -> Counterexample<M::Action> {
        let mut best = found;
        let mut size = best.path.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < best.path.len() {
                let until = best.path.len().min(at + size);
                let rest = best.path[..at].iter().chain(&best.path[until..]);
                match self.follow(rest) {
                    Some(found) if found.broken.rule == best.broken.rule => best = found,
                    Some(_) | None => at += size,
                }
            }
            size /= 2;
        }
        best
    }

    /// Takes these transitions, as far as they are possible, up to one that breaks a rule.
    fn follow<'a>(
        &mut self,
        actions: impl Iterator<Item = &'a M::Action>,
    ) -> Option<Counterexample<M::Action>> {
        // Whatever was judged before is to be judged again.
        self.judge = Judge::new(&self.initial, &mut self.tables);
        self.tables.forget_views();
        let mut expander = Expander::new(self.initial.len());
        expander.load(&self.initial);
        let mut path = Vec::new();
        for action in actions {
            let is_offered = |slot| self.tables.offers(slot, expander.here[slot]).contains(action);
            if (0..self.initial.len()).any(is_offered) && expander.allows(&mut self.tables, action) {
                path.push(action.clone());
                if let Err(broken) = self.step(&mut expander, action) {
                    return Some(Counterexample { broken, path });
                }
            }
        }
        None
    }

    /// Begins with empty tables, and the state of these ids in them.
    fn renew(&mut self, here: &mut [u32]) {
        let mut tables = Tables::new(self.model);
        self.initial = tables.initial();
        self.judge = Judge::new(&self.initial, &mut tables);
        for id in here {
            *id = tables.intern(self.tables.part(*id).clone());
        }
        self.tables = tables;
    }

    fn choices(&mut self, expander: &mut Expander, choices: &mut Vec<M::Action>) {
        choices.clear();
        for slot in 0..expander.here.len() {
            let offers = self.tables.offers(slot, expander.here[slot]);
            choices.extend(offers.iter().filter(|action| expander.allows(&mut self.tables, action)).cloned());
        }
    }

    fn step(&mut self, expander: &mut Expander, action: &M::Action) -> Result<(), Broken> {
        if self.tables.sizes().parts > self.parts_max {
            self.renew(&mut expander.here);
        }
        let (result, met) = expander.step(&mut self.tables, action).expect("it was possible");
        self.witnesses |= met;
        result?;
        std::mem::swap(&mut expander.here, &mut expander.after);
        let verdict = self.judge.judge(&expander.here, &mut self.tables);
        self.witnesses |= verdict.witnesses;
        verdict.broken.map_or(Ok(()), Err)
    }
}
