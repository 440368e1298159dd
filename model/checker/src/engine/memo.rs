//! What transitions have come to.
//!
//! A transition looks at few of a state's parts, and what it does follows from those alone. So what it looks at is
//! remembered as a tree of questions: which part stands in this slot? Each answer leads to the next question, and the
//! last one to what came of it. A transition that looks at parts it has looked at before is not computed again,
//! whatever stands in the slots that it never looked at.

use super::Broken;

/// Slots fit into so many bits of a place.
const SLOT_BITS: u32 = 5;
/// The bit of a place that tells ends from questions.
const END: u32 = 1 << 31;
/// Parts fit into the bits that a slot leaves of a change.
const PART_BITS: u32 = u32::BITS - SLOT_BITS;
/// How many questions are kept, and how many words of ends: what one more batch of states asks and comes to fits beside
/// them.
const QUESTIONS_KEPT: usize = (END >> SLOT_BITS) as usize - (1 << 22);
const WORDS_KEPT: usize = END as usize - (1 << 26);
/// In the place of the number of changes: the transition fails.
const FAILURE: u32 = u8::MAX as u32;

/// A question, which holds its slot in the low bits, or an end, which tells where in the list of ends it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place(u32);

impl Place {
    /// Nothing is remembered.
    pub(crate) const UNKNOWN: Self = Self(u32::MAX);
    /// The rest of the state forbids the transition.
    pub(crate) const DISABLED: Self = Self(u32::MAX - 1);

    fn question(number: usize, slot: usize) -> Self {
        let number = u32::try_from(number).ok().filter(|number| *number < END >> SLOT_BITS);
        let number = number.expect("fewer than 2^26 questions are remembered");
        Self(number << SLOT_BITS | narrow_slot(slot))
    }

    fn end(at: usize) -> Self {
        let at = u32::try_from(at).ok().filter(|at| *at < Self::DISABLED.0 & !END);
        Self(at.expect("fewer than 2^31 words of ends are remembered") | END)
    }

    fn is_end(self) -> bool {
        self.0 & END != 0
    }

    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }
}

fn narrow_slot(slot: usize) -> u32 {
    u32::try_from(slot).ok().filter(|slot| *slot < 1 << SLOT_BITS).expect("a state has at most 32 slots")
}

/// Where the part with this id leads from a question.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// Unknown in a place of the table that is free.
    question: Place,
    part: u32,
    leads_to: Place,
}

/// Answers, by question and part, in open addressing.
#[derive(Debug, Default)]
struct Answers {
    entries: Vec<Answer>,
    count: usize,
}

impl Answers {
    const FREE: Answer = Answer { question: Place::UNKNOWN, part: 0, leads_to: Place::UNKNOWN };

    /// Where a question's answer is looked for first.
    fn home(&self, question: Place, part: u32) -> usize {
        let key = u64::from(question.0) << 32 | u64::from(part);
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let scaled = u128::from(mixed) * self.entries.len() as u128;
        usize::try_from(scaled >> 64).expect("less than the number of places")
    }

    /// Where the answer leads, looked for from this place on.
    fn find(&self, question: Place, part: u32, mut at: usize) -> Place {
        loop {
            let Some(entry) = self.entries.get(at) else { return Place::UNKNOWN };
            if entry.question == Place::UNKNOWN || (entry.question == question && entry.part == part) {
                return entry.leads_to;
            }
            at = if at + 1 == self.entries.len() { 0 } else { at + 1 };
        }
    }

    fn put(&mut self, answer: Answer) {
        if (self.count + 1) * 4 > self.entries.len() * 3 {
            let more = vec![Self::FREE; (self.entries.len() / 2 * 3).max(1024)];
            let old = std::mem::replace(&mut self.entries, more);
            self.count = 0;
            old.into_iter()
                .filter(|entry| entry.question != Place::UNKNOWN)
                .for_each(|entry| self.put(entry));
        }
        let mut at = self.home(answer.question, answer.part);
        while self.entries[at].question != Place::UNKNOWN {
            at = if at + 1 == self.entries.len() { 0 } else { at + 1 };
        }
        self.entries[at] = answer;
        self.count += 1;
    }
}

/// A transition of a state, and how far it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Its number among all offers.
    pub(crate) number: usize,
    /// Where its state begins among those that are asked for together.
    pub(crate) state: usize,
    /// Where it ends, in the end.
    pub(crate) place: Place,
}

/// Where something is to be put into the tree.
#[derive(Clone, Copy)]
enum Cursor {
    Root(usize),
    Answer(Place, u32),
}

/// What a transition that is enabled comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Remembered<'a> {
    /// These slots hold other parts then.
    Taken(Changes<'a>),
    /// It breaks a rule.
    Failed(&'a Broken),
}

/// Slots with the parts that they hold behind a transition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Changes<'a>(&'a [u32]);

impl Changes<'_> {
    /// Makes them in a state.
    pub(crate) fn make(self, state: &mut [u32]) {
        for change in self.0 {
            state[(change >> PART_BITS) as usize] = change & ((1 << PART_BITS) - 1);
        }
    }
}

/// Everything remembered of transitions, each by its number among all offers.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    roots: Vec<Place>,
    answers: Answers,
    questions: usize,
    /// One behind the other: the number of changes and, above it, which set of witnesses; then the changes, or which
    /// failure.
    ends: Vec<u32>,
    witnesses: Vec<u64>,
    failures: Vec<Broken>,
}

impl Memo {
    /// Where the transition of this number ends in this state.
    pub(crate) fn place(&self, number: usize, state: &[u32]) -> Place {
        let mut place = self.root(number);
        while !place.is_end() {
            place = self.follow(place, state[place.slot()]);
        }
        place
    }

    /// Where the questions of the transition of this number begin.
    pub(crate) fn root(&self, number: usize) -> Place {
        self.roots.get(number).copied().unwrap_or(Place::UNKNOWN)
    }

    /// Follows many transitions from where their questions begin to where they end, a question of all at a time: so a
    /// processor waits for memory once for many of them.
    pub(crate) fn follow_all(&self, asked: &mut [Asked], states: &[u32]) {
        let mut open: Vec<usize> = (0..asked.len()).collect();
        let mut homes: Vec<(usize, Answer)> = Vec::with_capacity(asked.len());
        loop {
            open.retain(|which| !asked[*which].place.is_end());
            if open.is_empty() {
                return;
            }
            homes.clear();
            homes.extend(open.iter().map(|which| {
                let Asked { place, state, .. } = asked[*which];
                let home = self.answers.home(place, states[state + place.slot()]);
                (home, self.answers.entries.get(home).copied().unwrap_or(Answers::FREE))
            }));
            for (which, (home, entry)) in open.iter().zip(&homes) {
                let Asked { place, state, .. } = asked[*which];
                let part = states[state + place.slot()];
                let here = entry.question == place && entry.part == part;
                asked[*which].place =
                    if here { entry.leads_to } else { self.answers.find(place, part, *home) };
            }
        }
    }

    /// Forgets everything, if there is hardly room for more: it is only computed again.
    pub(crate) fn make_room(&mut self) {
        self.forget_beyond(QUESTIONS_KEPT, WORDS_KEPT);
    }

    fn forget_beyond(&mut self, questions: usize, words: usize) {
        if self.questions > questions || self.ends.len() > words {
            *self = Self::default();
        }
    }

    /// What stands at an end, and the witnesses met. The transition is enabled, and it is remembered.
    pub(crate) fn end(&self, place: Place) -> (Remembered<'_>, u64) {
        let at = (place.0 & !END) as usize;
        let (count, which) = (self.ends[at] & FAILURE, self.ends[at] >> 8);
        let witnesses = self.witnesses[which as usize];
        let end = if count == FAILURE {
            Remembered::Failed(&self.failures[self.ends[at + 1] as usize])
        } else {
            Remembered::Taken(Changes(&self.ends[at + 1..][..count as usize]))
        };
        (end, witnesses)
    }

    /// Remembers a transition that has looked at these parts, by slot, in this order, and led from a state to another.
    /// The outcome is none if it is not enabled; else the rule that it broke, if it did, and the witnesses met.
    pub(crate) fn record(
        &mut self,
        number: usize,
        looked_at: &[(usize, u32)],
        (before, after): (&[u32], &[u32]),
        outcome: Option<(Option<&Broken>, u64)>,
    ) -> Place {
        let cursor = self.walk(number, looked_at);
        let place = match outcome {
            None => Place::DISABLED,
            Some((broken, witnesses)) => self.add_end(before, after, broken, witnesses),
        };
        self.put(cursor, place);
        place
    }

    fn add_end(&mut self, before: &[u32], after: &[u32], broken: Option<&Broken>, witnesses: u64) -> Place {
        let at = self.ends.len();
        let which = self.witnesses.iter().position(|known| *known == witnesses).unwrap_or_else(|| {
            self.witnesses.push(witnesses);
            self.witnesses.len() - 1
        });
        let head = u32::try_from(which).ok().filter(|which| *which < 1 << 24);
        self.ends.push(head.expect("transitions meet few sets of witnesses") << 8);
        if let Some(broken) = broken {
            self.ends[at] |= FAILURE;
            self.ends.push(u32::try_from(self.failures.len()).expect("few steps fail"));
            self.failures.push(broken.clone());
            return Place::end(at);
        }
        for (slot, (before, after)) in before.iter().zip(after).enumerate() {
            if before != after {
                assert!(*after < 1 << PART_BITS, "fewer than 2^27 parts are remembered");
                self.ends.push(narrow_slot(slot) << PART_BITS | after);
                self.ends[at] += 1;
            }
        }
        Place::end(at)
    }

    /// Where the answers to these questions lead. Questions that are new are put there.
    fn walk(&mut self, number: usize, looked_at: &[(usize, u32)]) -> Cursor {
        if self.roots.len() <= number {
            self.roots.resize(number + 1, Place::UNKNOWN);
        }
        let mut cursor = Cursor::Root(number);
        for (slot, part) in looked_at {
            let mut question = match cursor {
                Cursor::Root(number) => self.roots[number],
                Cursor::Answer(question, part) => self.follow(question, part),
            };
            if question == Place::UNKNOWN {
                question = Place::question(self.questions, *slot);
                self.questions += 1;
                self.put(cursor, question);
            }
            assert_eq!(question.slot(), *slot, "a transition looks at what follows from what it has seen");
            cursor = Cursor::Answer(question, *part);
        }
        cursor
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.answers.entries.capacity() * size_of::<Answer>()
            + self.roots.capacity() * size_of::<Place>()
            + self.ends.capacity() * size_of::<u32>()
    }

    fn follow(&self, question: Place, part: u32) -> Place {
        self.answers.find(question, part, self.answers.home(question, part))
    }

    fn put(&mut self, cursor: Cursor, leads_to: Place) {
        match cursor {
            Cursor::Root(number) => self.roots[number] = leads_to,
            Cursor::Answer(question, part) => self.answers.put(Answer { question, part, leads_to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a transition comes to in this state; none if that is not known, or it is not enabled.
    fn recall(memo: &Memo, number: usize, state: [u32; 3]) -> Option<(Result<[u32; 3], Broken>, u64)> {
        let place = memo.place(number, &state);
        if place == Place::UNKNOWN || place == Place::DISABLED {
            return None;
        }
        let (end, witnesses) = memo.end(place);
        let result = match end {
            Remembered::Failed(broken) => Err(broken.clone()),
            Remembered::Taken(changes) => {
                let mut after = state;
                changes.make(&mut after);
                Ok(after)
            }
        };
        Some((result, witnesses))
    }

    #[test]
    fn what_was_not_looked_at_makes_no_difference() {
        let mut memo = Memo::default();
        assert_eq!(memo.place(3, &[7, 8, 9]), Place::UNKNOWN);
        memo.record(3, &[(0, 7), (2, 9)], (&[7, 8, 9], &[7, 4, 9]), Some((None, 0b10)));
        memo.record(3, &[(0, 6)], (&[6, 8, 9], &[6, 8, 9]), None);
        assert_eq!(recall(&memo, 3, [7, 8, 9]), Some((Ok([7, 4, 9]), 0b10)));
        assert_eq!(recall(&memo, 3, [7, 1, 9]), Some((Ok([7, 4, 9]), 0b10)), "slot 1 is not looked at");
        assert_eq!(memo.place(3, &[7, 8, 1]), Place::UNKNOWN, "another part in slot 2");
        assert_eq!(memo.place(3, &[6, 1, 1]), Place::DISABLED, "slot 2 is not looked at then");
        assert_eq!(memo.place(2, &[7, 8, 9]), Place::UNKNOWN, "another transition");
        let broken = Broken::new("I-8", "so it is");
        memo.record(3, &[(0, 7), (2, 1)], (&[7, 8, 1], &[7, 8, 2]), Some((Some(&broken), 0)));
        assert_eq!(recall(&memo, 3, [7, 8, 1]), Some((Err(broken), 0)));
        assert_eq!(recall(&memo, 3, [7, 8, 9]), Some((Ok([7, 4, 9]), 0b10)), "as before");
    }

    #[test]
    fn what_is_forgotten_can_be_learnt_again() {
        let mut memo = Memo::default();
        let learn = |memo: &mut Memo, part| {
            memo.record(0, &[(1, part)], (&[1, part, 3], &[2, part, 3]), Some((None, 1)));
        };
        learn(&mut memo, 5);
        memo.forget_beyond(1, 9);
        assert!(recall(&memo, 0, [1, 5, 3]).is_some(), "there is room");
        memo.forget_beyond(0, 9);
        assert_eq!(memo.place(0, &[1, 5, 3]), Place::UNKNOWN);
        learn(&mut memo, 6);
        memo.forget_beyond(1, 1);
        assert_eq!(memo.place(0, &[1, 6, 3]), Place::UNKNOWN, "words take room as well");
        learn(&mut memo, 7);
        assert_eq!(recall(&memo, 0, [1, 7, 3]), Some((Ok([2, 7, 3]), 1)));
    }

    #[test]
    fn a_transition_that_looks_at_nothing_has_one_end() {
        let mut memo = Memo::default();
        memo.record(0, &[], (&[1, 2, 3], &[1, 2, 3]), Some((None, 0)));
        assert_eq!(recall(&memo, 0, [5, 6, 7]), Some((Ok([5, 6, 7]), 0)));
    }
}
