//! Chance, as a seed has it: streams of numbers that depend on nothing else.
//!
//! Each thing that draws has a stream of its own: a link, a disk, a client. What is left out of a plan then changes
//! the draws of nobody else, and a failure survives while its plan is made smaller.

use rand_core::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;

/// What draws.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stream {
    /// The plan of the seed.
    Plan,
    /// What travels from one server to another.
    Path(usize, usize),
    /// A server's disk.
    Disk(usize),
    /// How a server's timers and pauses go.
    Server(usize),
    /// A client, and what travels between it and its servers.
    Client(usize),
    /// Who goes without writing.
    Readers,
}

/// One stream.
#[derive(Clone, Debug)]
pub(crate) struct Chance(XorShiftRng);

impl Chance {
    /// The stream of this seed.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let small = |number: usize| u64::try_from(number).expect("few");
        let number = match stream {
            Stream::Plan => 1,
            Stream::Readers => 2,
            Stream::Path(from, to) => 1 << 8 | small(from) << 16 | small(to) << 24,
            Stream::Disk(server) => 2 << 8 | small(server) << 16,
            Stream::Server(server) => 3 << 8 | small(server) << 16,
            Stream::Client(client) => 4 << 8 | small(client) << 16,
        };
        // Neighbouring seeds and streams have nothing in common: the multiplier is odd, the generator mixes.
        Self(XorShiftRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.rotate_left(32)))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below this one, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias is as small as the bounds are.
        self.0.next_u64() % bound
    }

    /// A number from here to there, both included.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, of which there is one at least.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let bound = u64::try_from(from.len()).expect("few");
        from[usize::try_from(self.below(bound)).expect("few")]
    }
}
