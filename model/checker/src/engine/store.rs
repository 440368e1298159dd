//! Fixed-length vectors of ids, each stored once, in the order of discovery.

use std::hash::Hasher;

use hashbrown::{HashTable, hash_table::Entry};
use rustc_hash::FxHasher;

/// Vectors in one allocation.
const CHUNK_VECTORS: usize = 1 << 14;

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
    table: HashTable<u32>,
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
        Self { length, key, chunks: Vec::new(), count: 0, table: HashTable::new() }
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
        vector(&self.chunks, self.length, index)
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
        let (chunks, length, key) = (&self.chunks, self.length, self.key);
        let known = |&index: &u32| {
            let held = vector(chunks, length, index);
            held[..key] == ids[..key] && covers(&held[key..], &ids[key..])
        };
        let entry =
            self.table.entry(hash(&ids[..key]), known, |&index| hash(&vector(chunks, length, index)[..key]));
        match entry {
            Entry::Occupied(found) => (*found.get(), false),
            Entry::Vacant(place) => {
                let index = u32::try_from(self.count).expect("fewer than 2^32 vectors");
                place.insert(index);
                if self.count.is_multiple_of(CHUNK_VECTORS) {
                    self.chunks.push(Vec::with_capacity(CHUNK_VECTORS * self.length));
                }
                self.chunks.last_mut().expect("a chunk was just made").extend_from_slice(ids);
                self.count += 1;
                (index, true)
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_VECTORS * self.length * size_of::<u32>() + self.table.allocation_size()
    }
}

fn vector(chunks: &[Vec<u32>], length: usize, index: u32) -> &[u32] {
    let index = index as usize;
    let start = index % CHUNK_VECTORS * length;
    &chunks[index / CHUNK_VECTORS][start..start + length]
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
    hasher.finish()
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
