//! Interned parts and remembered changes: the board that searches run on.

use std::{cell::RefCell, cmp::Ordering, fmt, hash::BuildHasher, ops::Range, rc::Rc};

use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::{Board, Broken, Model, Symmetry, guard::guarded, memo::Memo};

/// Not computed yet.
const UNKNOWN: u32 = u32::MAX;

/// Values stored once each; a value's id is its place. Ids mean nothing outside of one run.
#[derive(Debug)]
pub(crate) struct Interned<V> {
    values: Vec<V>,
    table: HashTable<u32>,
}

impl<V: Eq + std::hash::Hash> Interned<V> {
    fn new() -> Self {
        Self { values: Vec::new(), table: HashTable::new() }
    }

    fn id(&mut self, value: V) -> u32 {
        let hash = FxBuildHasher.hash_one(&value);
        if let Some(&id) = self.table.find(hash, |&id| self.values[id as usize] == value) {
            return id;
        }
        let id = u32::try_from(self.values.len())
            .ok()
            .filter(|id| *id != UNKNOWN)
            .expect("fewer than 2^32 values");
        let values = &self.values;
        self.table.insert_unique(hash, id, |&id| FxBuildHasher.hash_one(&values[id as usize]));
        self.values.push(value);
        id
    }

    fn get(&self, id: u32) -> &V {
        &self.values[id as usize]
    }

    fn len(&self) -> usize {
        self.values.len()
    }
}

/// A vector by id that grows as ids do.
#[derive(Debug, Default)]
struct ById(Vec<u32>);

impl ById {
    fn get(&self, id: u32) -> u32 {
        self.0.get(id as usize).copied().unwrap_or(UNKNOWN)
    }

    fn set(&mut self, id: u32, value: u32) {
        let id = id as usize;
        if self.0.len() <= id {
            self.0.resize(id + 1, UNKNOWN);
        }
        self.0[id] = value;
    }
}

/// The part tables of one search, and everything remembered about them.
pub struct Tables<'m, M: Model> {
    pub(crate) model: &'m M,
    parts: Interned<M::Part>,
    yields: Interned<Rc<M::Yield>>,
    changes: FxHashMap<(u32, M::Change), (u32, u32)>,
    /// By slot, then by part: an index into `offer_lists`.
    offers: Vec<ById>,
    offer_lists: Vec<Offers<M::Action>>,
    /// How many offers all lists have.
    offer_count: usize,
    /// By slot, then by part: 0 for no view, else the view's id plus 1.
    view_ids: Vec<ById>,
    views: Interned<M::View>,
    symmetries: Vec<Symmetry>,
    /// By part, then by symmetry: the renamed part.
    renamed: Vec<u32>,
    pub(crate) memo: Memo,
}

impl<M: Model> fmt::Debug for Tables<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("parts", &self.parts.len())
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

/// A step of one part, which depends on nothing but the part and the change.
#[derive(Debug)]
pub struct LocalStep<'t, M: Model> {
    /// The part before.
    pub before: &'t M::Part,
    /// What is done to it.
    pub change: &'t M::Change,
    /// The part behind.
    pub after: &'t M::Part,
    /// What that yields.
    pub yields: &'t M::Yield,
}

/// What a part offers in a slot, and the numbers of that among the offers of all parts in all slots.
type Offers<A> = (Rc<[A]>, Range<usize>);

/// How much the tables hold, and how much they have saved.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableSizes {
    /// Distinct parts.
    pub parts: usize,
    /// Distinct pairs of a part and a change, each computed once.
    pub changes: usize,
    /// Distinct yields.
    pub yields: usize,
    /// Distinct views.
    pub views: usize,
}

impl<'m, M: Model> Tables<'m, M> {
    /// Empty tables for this model.
    pub fn new(model: &'m M) -> Self {
        Self {
            model,
            parts: Interned::new(),
            yields: Interned::new(),
            changes: FxHashMap::default(),
            offers: Vec::new(),
            offer_lists: Vec::new(),
            offer_count: 0,
            view_ids: Vec::new(),
            views: Interned::new(),
            renamed: Vec::new(),
            symmetries: model.symmetries(),
            memo: Memo::default(),
        }
    }

    /// Replaces a state by the one that stands for all that differ from it only in names: the least vector of ids.
    /// Returns the symmetry that leads there.
    pub(crate) fn canonicalise(&mut self, ids: &mut [u32], scratch: &mut Vec<u32>) -> usize {
        scratch.clear();
        scratch.extend_from_slice(ids);
        let mut best = 0;
        for symmetry in 1..self.symmetries.len() {
            let mut slot = 0;
            let order = loop {
                let Some(held) = ids.get(slot) else { break Ordering::Equal };
                match self.renamed(symmetry, scratch[self.symmetries[symmetry].slots[slot]]).cmp(held) {
                    Ordering::Equal => slot += 1,
                    order @ (Ordering::Less | Ordering::Greater) => break order,
                }
            };
            if order == Ordering::Less {
                best = symmetry;
                for (place, held) in ids.iter_mut().enumerate().skip(slot) {
                    *held = self.renamed(symmetry, scratch[self.symmetries[symmetry].slots[place]]);
                }
            }
        }
        best
    }

    fn renamed(&mut self, symmetry: usize, id: u32) -> u32 {
        let at = id as usize * self.symmetries.len() + symmetry;
        match self.renamed.get(at) {
            Some(known) if *known != UNKNOWN => *known,
            _ => self.rename(symmetry, id, at),
        }
    }

    fn rename(&mut self, symmetry: usize, id: u32, at: usize) -> u32 {
        let part = self.model.rename_part(symmetry, self.parts.get(id));
        let renamed = self.parts.id(part);
        if self.renamed.len() <= at {
            self.renamed.resize(at + 1, UNKNOWN);
        }
        self.renamed[at] = renamed;
        renamed
    }

    /// A transition as it is called from a state that the symmetries led to, in order.
    pub(crate) fn undo_names(&self, symmetries: &[usize], action: M::Action) -> M::Action {
        symmetries.iter().rev().fold(action, |action, symmetry| {
            self.model.rename_action(self.symmetries[*symmetry].inverse, &action)
        })
    }

    /// The initial state as ids.
    pub fn initial(&mut self) -> Vec<u32> {
        let parts = self.model.initial();
        self.offers.resize_with(parts.len(), ById::default);
        self.view_ids.resize_with(parts.len(), ById::default);
        parts.into_iter().map(|part| self.intern(part)).collect()
    }

    /// The id of this part.
    pub(crate) fn intern(&mut self, part: M::Part) -> u32 {
        self.parts.id(part)
    }

    /// The part with this id.
    pub fn part(&self, id: u32) -> &M::Part {
        self.parts.get(id)
    }

    /// Every distinct change that was computed: the part before, and the part behind. In no order.
    pub fn changes(&self) -> impl Iterator<Item = (&M::Part, &M::Part)> {
        self.changes.iter().map(|((before, _), (after, _))| (self.part(*before), self.part(*after)))
    }

    /// The same with what was done to the part, and what that yields. In no order.
    pub fn steps(&self) -> impl Iterator<Item = LocalStep<'_, M>> {
        self.changes.iter().map(|((before, change), (after, yields))| LocalStep {
            before: self.part(*before),
            change,
            after: self.part(*after),
            yields: &**self.yields.get(*yields),
        })
    }

    /// Whether one ledger allows all that another one does; without ledgers there is nothing to compare.
    pub(crate) fn allows_all_of(&self, this: &[u32], other: &[u32]) -> bool {
        this.iter().zip(other).all(|(this, other)| {
            this == other || self.model.allows_all_of(self.parts.get(*this), self.parts.get(*other))
        })
    }

    /// What is held.
    pub fn sizes(&self) -> TableSizes {
        TableSizes {
            parts: self.parts.len(),
            changes: self.changes.len(),
            yields: self.yields.len(),
            views: self.views.len(),
        }
    }

    /// What the part offers in this slot.
    pub(crate) fn offers(&mut self, slot: usize, id: u32) -> Rc<[M::Action]> {
        let at = self.offers_at(slot, id);
        Rc::clone(&self.offer_lists[at].0)
    }

    /// The numbers of a list of offers among those of all parts in all slots.
    pub(crate) fn offered(&self, list: usize) -> Range<usize> {
        self.offer_lists[list].1.clone()
    }

    /// The slot and the transition of this number, which the state has.
    pub(crate) fn offer(&mut self, number: usize, state: &[u32]) -> (usize, M::Action) {
        for (slot, id) in state.iter().enumerate() {
            let list = self.offers_at(slot, *id);
            let (actions, numbers) = &self.offer_lists[list];
            if numbers.contains(&number) {
                return (slot, actions[number - numbers.start].clone());
            }
        }
        unreachable!("the state has a part that offers it")
    }

    /// Which list of offers the part has in this slot.
    pub(crate) fn offers_at(&mut self, slot: usize, id: u32) -> usize {
        let known = self.offers[slot].get(id);
        if known != UNKNOWN {
            return known as usize;
        }
        let mut list = Vec::new();
        self.model.offers(slot, self.parts.get(id), &mut list);
        let first = self.offer_count;
        self.offer_count += list.len();
        let at = self.offer_lists.len();
        self.offer_lists.push((list.into(), first..self.offer_count));
        self.offers[slot].set(id, u32::try_from(at).expect("fewer than 2^32 lists"));
        at
    }

    /// The id of the part's view in this slot, counted from 1, or 0 if it has none; and whether this part was never
    /// seen in this slot before.
    pub(crate) fn view_id(&mut self, slot: usize, id: u32) -> (u32, bool) {
        let known = self.view_ids[slot].get(id);
        if known != UNKNOWN {
            return (known, false);
        }
        let view = self.model.view(slot, self.parts.get(id)).map_or(0, |view| self.views.id(view) + 1);
        self.view_ids[slot].set(id, view);
        (view, true)
    }

    /// Lets every part count as never seen in any slot.
    pub(crate) fn forget_views(&mut self) {
        self.view_ids.iter_mut().for_each(|ids| *ids = ById::default());
    }

    /// The view with this id, as counted by [`Tables::view_id`].
    pub(crate) fn view(&self, id: u32) -> &M::View {
        self.views.get(id - 1)
    }

    fn change(&mut self, id: u32, change: M::Change) -> Result<(u32, Rc<M::Yield>), Broken> {
        let key = (id, change);
        if let Some(&(after, yields)) = self.changes.get(&key) {
            return Ok((after, Rc::clone(self.yields.get(yields))));
        }
        let mut part = self.parts.get(id).clone();
        let model = self.model;
        let yields = guarded(|| model.change(&mut part, &key.1))?;
        let after = self.parts.id(part);
        let yields = self.yields.id(Rc::new(yields));
        self.changes.insert(key, (after, yields));
        Ok((after, Rc::clone(self.yields.get(yields))))
    }
}

/// One state on the interned tables, and what a transition has seen of it.
#[derive(Debug)]
pub struct InternedBoard<'t, 'm, M: Model> {
    tables: &'t mut Tables<'m, M>,
    ids: &'t mut [u32],
    pub(crate) witnesses: u64,
    seen: RefCell<Seen>,
}

/// What a transition has looked at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// A bit for each slot.
    slots: u32,
    /// The slots with what stood there at the first look, in order.
    pub(crate) parts: Vec<(usize, u32)>,
}

impl Seen {
    fn look(&mut self, slot: usize, part: u32) {
        let bit = 1 << slot;
        if self.slots & bit == 0 {
            self.slots |= bit;
            self.parts.push((slot, part));
        }
    }
}

impl<'t, 'm, M: Model> InternedBoard<'t, 'm, M> {
    /// A view of the state in `ids`, which transitions change in place.
    pub fn new(tables: &'t mut Tables<'m, M>, ids: &'t mut [u32]) -> Self {
        Self { tables, ids, witnesses: 0, seen: RefCell::default() }
    }

    /// What has been looked at.
    pub(crate) fn seen(self) -> Vec<(usize, u32)> {
        self.seen.into_inner().parts
    }
}

impl<M: Model> Board<M> for InternedBoard<'_, '_, M> {
    fn part(&self, slot: usize) -> &M::Part {
        self.seen.borrow_mut().look(slot, self.ids[slot]);
        self.tables.part(self.ids[slot])
    }

    fn change(&mut self, slot: usize, change: M::Change) -> Result<Rc<M::Yield>, Broken> {
        self.seen.get_mut().look(slot, self.ids[slot]);
        let (after, yields) = self.tables.change(self.ids[slot], change)?;
        self.ids[slot] = after;
        Ok(yields)
    }

    fn witness(&mut self, bits: u64) {
        self.witnesses |= bits;
    }
}
