//! Fixed-length vectors of ids, each stored once, in the order of discovery.

use std::hash::Hasher;

use rustc_hash::FxHasher;

/// Vectors in one allocation.
const CHUNK_VECTORS: usize = 1 << 14;
/// Of so many places of an index, [`FILLED_MAX`] are filled before it grows.
const FILLED_OF: usize = 16;
/// See [`FILLED_OF`].
const FILLED_MAX: usize = 13;
/// How many places the smallest index has.
const PLACES_MIN: usize = 64;

/// A set of vectors of equal length. Each has an index, from 0 in the order of insertion, and never moves or changes.
///
/// Membership is exact: hashes only choose where to look, and whole vectors are compared. A set may leave out vectors
/// that it *covers*: those with the same key, the first elements, as one that it has, and a rest that need not be
/// looked at beside the rest of that one.
#[derive(Debug)]
pub struct VectorSet {
    length: usize,
    key: usize,
    chunks: Vec<Vec<u32>>,
    count: usize,
    places: Places,
    /// Of a look at many: kept for their memory.
    looks: Vec<Look>,
}

/// By hash, in open addressing: a byte of the hash (0 where nothing is), and the index.
#[derive(Debug)]
struct Places {
    tags: Vec<u8>,
    indices: Vec<u32>,
}

/// A look for one vector among many.
#[derive(Clone, Copy, Debug)]
struct Look {
    hash: u64,
    /// Where it goes on, and what stands there.
    at: usize,
    tag: u8,
    index: u32,
}

impl Places {
    fn new(count: usize) -> Self {
        Self { tags: vec![0; count], indices: vec![0; count] }
    }

    /// Where a hash is looked for first.
    fn home(&self, hash: u64) -> usize {
        let scaled = u128::from(hash) * self.tags.len() as u128;
        usize::try_from(scaled >> 64).expect("less than the number of places")
    }

    fn behind(&self, at: usize) -> usize {
        if at + 1 == self.tags.len() { 0 } else { at + 1 }
    }

    /// The next place, from this one on, with this tag or with nothing.
    fn next(&self, mut at: usize, tag: u8) -> usize {
        while self.tags[at] != tag && self.tags[at] != 0 {
            at = self.behind(at);
        }
        at
    }

    fn put(&mut self, mut at: usize, hash: u64, index: u32) {
        while self.tags[at] != 0 {
            at = self.behind(at);
        }
        self.tags[at] = tag(hash);
        self.indices[at] = index;
    }

    fn bytes(&self) -> usize {
        self.tags.capacity() + self.indices.capacity() * size_of::<u32>()
    }
}

impl VectorSet {
    /// An empty set of vectors of this length, all of it key.
    ///
    /// # Panics
    /// If the length is 0.
    pub fn new(length: usize) -> Self {
        Self::keyed(length, length)
    }

    /// An empty set of vectors of this length, whose first elements are the key.
    ///
    /// # Panics
    /// If the length is 0, or the key longer than that.
    pub fn keyed(length: usize, key: usize) -> Self {
        assert!(length > 0, "a vector has at least one element");
        assert!(key <= length, "a key is part of its vector");
        let places = Places::new(PLACES_MIN);
        Self { length, key, chunks: Vec::new(), count: 0, places, looks: Vec::new() }
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The vector with this index.
    ///
    /// # Panics
    /// If there is no such index.
    pub fn get(&self, index: u32) -> &[u32] {
        let index = index as usize;
        let start = index % CHUNK_VECTORS * self.length;
        &self.chunks[index / CHUNK_VECTORS][start..start + self.length]
    }

    /// The vector's index, and whether it is new.
    ///
    /// # Panics
    /// If the length is wrong, or after 2^32 - 1 vectors.
    pub fn insert(&mut self, ids: &[u32]) -> (u32, bool) {
        self.insert_uncovered(ids, |held, rest| held == rest)
    }

    /// The index of the vector, or of one that covers it, and whether it is new. Of vectors with the same key,
    /// `covers` is told the rest of the one that is held and the rest of the new one.
    ///
    /// # Panics
    /// If the length is wrong, or after 2^32 - 1 vectors.
    pub fn insert_uncovered(&mut self, ids: &[u32], covers: impl Fn(&[u32], &[u32]) -> bool) -> (u32, bool) {
        assert_eq!(ids.len(), self.length, "every vector of a set has the same length");
        let hash = hash(&ids[..self.key]);
        match self.find(ids, hash, self.places.home(hash), &covers) {
            Ok(index) => (index, false),
            Err(at) => (self.add(ids, hash, at), true),
        }
    }

    /// Of vectors that stand one behind the other: whether the set has each, or one that covers it, as
    /// [`Self::insert_uncovered`] says; appended to `known`.
    ///
    /// Each step is made for all of them in a row, with little else in between: a processor waits for memory once for
    /// many of them, then, and not once for each.
    pub fn look_up(&mut self, all: &[u32], covers: impl Fn(&[u32], &[u32]) -> bool, known: &mut Vec<bool>) {
        let mut looks = std::mem::take(&mut self.looks);
        looks.clear();
        looks.extend(all.chunks_exact(self.length).map(|ids| {
            let hash = hash(&ids[..self.key]);
            Look { hash, at: self.places.home(hash), tag: 0, index: 0 }
        }));
        for look in &mut looks {
            look.tag = self.places.tags[look.at];
            look.index = self.places.indices[look.at];
        }
        for look in &mut looks {
            let wanted = tag(look.hash);
            if look.tag != wanted && look.tag != 0 {
                look.at = self.places.next(look.at, wanted);
                look.tag = self.places.tags[look.at];
                look.index = self.places.indices[look.at];
            }
        }
        let mut touched = 0;
        for look in &looks {
            if look.tag != 0 {
                let held = self.get(look.index);
                touched ^= held[0] ^ held[self.length - 1];
            }
        }
        std::hint::black_box(touched);
        for (look, ids) in looks.iter().zip(all.chunks_exact(self.length)) {
            known.push(look.tag != 0 && self.find(ids, look.hash, look.at, &covers).is_ok());
        }
        self.looks = looks;
    }

    /// The vector, or one that covers it, from this place on; or where there is none.
    fn find(
        &self,
        ids: &[u32],
        hash: u64,
        mut at: usize,
        covers: &impl Fn(&[u32], &[u32]) -> bool,
    ) -> Result<u32, usize> {
        let (key, rest) = ids.split_at(self.key);
        loop {
            at = self.places.next(at, tag(hash));
            if self.places.tags[at] == 0 {
                return Err(at);
            }
            let index = self.places.indices[at];
            let (held, held_rest) = self.get(index).split_at(self.key);
            if held == key && covers(held_rest, rest) {
                return Ok(index);
            }
            at = self.places.behind(at);
        }
    }

    fn add(&mut self, ids: &[u32], hash: u64, at: usize) -> u32 {
        let index = u32::try_from(self.count).expect("fewer than 2^32 vectors");
        if self.count.is_multiple_of(CHUNK_VECTORS) {
            self.chunks.push(Vec::with_capacity(CHUNK_VECTORS * self.length));
        }
        self.chunks.last_mut().expect("a chunk was just made").extend_from_slice(ids);
        self.count += 1;
        self.places.put(at, hash, index);
        if self.count > self.places.tags.len() / FILLED_OF * FILLED_MAX {
            self.grow();
        }
        index
    }

    fn grow(&mut self) {
        let count = self.places.tags.len() / 2 * 3;
        // The old ones go first: beside them the new ones would not always have room.
        self.places = Places::new(0);
        let mut places = Places::new(count);
        let mut index = 0;
        for chunk in &self.chunks {
            for ids in chunk.chunks_exact(self.length) {
                let hash = hash(&ids[..self.key]);
                places.put(places.home(hash), hash, index);
                index += 1;
            }
        }
        self.places = places;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_VECTORS * self.length * size_of::<u32>() + self.places.bytes()
    }
}

fn tag(hash: u64) -> u8 {
    let [low, ..] = hash.to_le_bytes();
    low.max(1)
}

fn hash(ids: &[u32]) -> u64 {
    let mut hasher = FxHasher::default();
    let (pairs, rest) = ids.as_chunks::<2>();
    for [low, high] in pairs {
        hasher.write_u64(u64::from(*high) << 32 | u64::from(*low));
    }
    if let [last] = rest {
        hasher.write_u32(*last);
    }
    // Its last step leaves the high bits weak, which choose the place here.
    hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A list that grows without moving what it holds.
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Vec<T>>,
    count: usize,
}

impl<T: Copy> Chunked<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), count: 0 }
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.count.is_multiple_of(CHUNK_VECTORS) {
            self.chunks.push(Vec::with_capacity(CHUNK_VECTORS));
        }
        self.chunks.last_mut().expect("a chunk was just made").push(value);
        self.count += 1;
    }

    pub(crate) fn get(&self, index: u32) -> T {
        let index = index as usize;
        self.chunks[index / CHUNK_VECTORS][index % CHUNK_VECTORS]
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_VECTORS * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_found_again_across_chunks_and_growth() {
        let mut set = VectorSet::new(3);
        let count = u32::try_from(CHUNK_VECTORS).expect("small") * 2 + 5;
        for i in 0..count {
            assert_eq!(set.insert(&[i, i / 7, 1]), (i, true));
        }
        for i in 0..count {
            assert_eq!(set.get(i), [i, i / 7, 1]);
            assert_eq!(set.insert(&[i, i / 7, 1]), (i, false));
        }
        assert_eq!(set.len(), count as usize);
    }

    #[test]
    fn a_look_at_many_finds_what_is_there() {
        let mut set = VectorSet::keyed(3, 2);
        let covers = |held: &[u32], rest: &[u32]| held <= rest;
        for i in 0..10_000 {
            set.insert_uncovered(&[i % 5000, i % 3, 10 - i / 5000], covers);
            if i % 997 == 0 {
                let all: Vec<u32> = (0..300).flat_map(|j| [j * 37 % 5000, j % 4, 8 + j % 5]).collect();
                let mut known = Vec::new();
                set.look_up(&all, covers, &mut known);
                for (ids, known) in all.chunks_exact(3).zip(known) {
                    let held = (0..set.len()).any(|index| {
                        let held = set.get(u32::try_from(index).expect("small"));
                        held[..2] == ids[..2] && held[2] <= ids[2]
                    });
                    assert_eq!(known, held, "{ids:?} behind {i}");
                }
            }
        }
    }

    #[test]
    fn what_is_covered_is_left_out() {
        let mut set = VectorSet::keyed(2, 1);
        let mut insert = |ids: [u32; 2]| set.insert_uncovered(&ids, |held, rest| held <= rest);
        assert_eq!(insert([7, 5]), (0, true));
        assert_eq!(insert([7, 6]), (0, false), "more is covered by less");
        assert_eq!(insert([7, 4]), (1, true), "less is not covered by more");
        assert_eq!(insert([8, 6]), (2, true), "another key");
        assert_eq!(set.len(), 3);
    }
}
