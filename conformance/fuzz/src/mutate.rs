//! Changes by chance, which a seed repeats.

use rand_core::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;

/// No input grows beyond this, in bytes.
pub(crate) const BYTES_MAX: usize = 48 << 10;
/// Numbers that stand at some edge.
const EDGES: [i64; 13] = [
    0,
    1,
    -1,
    -2,
    i8::MAX as i64,
    i16::MAX as i64,
    1 << 20,
    0xf_ffff,
    64 << 20,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
];

/// Makes inputs out of others.
#[derive(Debug)]
pub struct Mutator {
    dice: XorShiftRng,
}

impl Mutator {
    /// The same seed makes the same inputs.
    pub fn new(seed: u64) -> Self {
        Self { dice: XorShiftRng::seed_from_u64(seed) }
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.next_u64() % bound as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.dice.next_u64().to_le_bytes()[0]
    }

    /// A place in something of this length, its end included.
    fn place(&mut self, length: usize) -> usize {
        self.below(length + 1)
    }

    /// One of the seeds with a few changes, into `input`.
    pub fn next(&mut self, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
        input.clear();
        let seed = self.below(seeds.len());
        input.extend_from_slice(&seeds[seed]);
        // Few changes keep what is behind them readable, many find what comes together.
        let changes = 1 + self.below(4) + if self.below(8) == 0 { self.below(24) } else { 0 };
        for _ in 0..changes {
            self.change(seeds, input);
        }
        input.truncate(BYTES_MAX);
    }

    fn change(&mut self, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
        let length = input.len();
        let at = self.place(length);
        match self.below(10) {
            0 if at < length => input[at] ^= 1 << self.below(8),
            1 if at < length => input[at] = self.byte(),
            2 => {
                let few = 1 + self.below(8);
                let new: Vec<u8> = (0..few).map(|_| self.byte()).collect();
                input.splice(at..at, new);
            }
            3 => {
                let to = (at + 1 + self.below(16)).min(length);
                input.drain(at..to);
            }
            4 => input.truncate(at),
            // A number at an edge, of any width and either order of bytes.
            5 | 6 => {
                let edge = EDGES[self.below(EDGES.len())];
                let width = [1, 2, 4, 4, 4, 8][self.below(6)];
                let big = edge.to_be_bytes();
                Self::overwrite(input, at, &big[8 - width..]);
            }
            // A number near the one that stands there.
            7 => {
                if let Some(four) = input.get(at..at + 4) {
                    let number = four.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                    let near = number.wrapping_add(u32::from(self.byte())).wrapping_sub(128);
                    Self::overwrite(input, at, &near.to_be_bytes());
                }
            }
            // A part once more.
            8 => {
                let to = (at + 1 + self.below(256)).min(length);
                let (part, times) = (input[at..to].to_vec(), 1 + self.below(3));
                for _ in 0..times {
                    input.splice(at..at, part.iter().copied());
                }
            }
            // The end of another.
            _ => {
                let other = self.below(seeds.len());
                let from = self.place(seeds[other].len());
                input.truncate(at);
                input.extend_from_slice(&seeds[other][from..]);
            }
        }
    }

    fn overwrite(input: &mut Vec<u8>, at: usize, new: &[u8]) {
        input.resize(input.len().max(at + new.len()), 0);
        input[at..at + new.len()].copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_inputs_and_another_makes_others() {
        let seeds = [b"some bytes".to_vec(), b"and some more".to_vec()];
        let all = |seed| {
            let mut mutator = Mutator::new(seed);
            let one = |_| {
                let mut input = Vec::new();
                mutator.next(&seeds, &mut input);
                input
            };
            (0..200).map(one).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert!(all(7).iter().any(|input| !seeds.contains(input)));
    }
}
