//! The identifiers of the protocol, each a number with one meaning.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A server of the ensemble: the number in its `myid` file, and the `N` of `server.N`.
///
/// Order matters: it breaks ties between equal votes (rule E-3).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct ServerId(pub u64);

/// One leader's reign. Epochs only grow; 0 is before the first leader.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Epoch(pub u32);

/// The place of a transaction in the total order: epoch in the high 32 bits, counter in the low 32,
/// so that integer order is commit order.
///
/// Counter 0 is no transaction: it marks the start of an epoch.
///
/// Source: rule Z-2; ZooKeeper `ZxidUtils`.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Zxid(pub u64);

/// A client's session. The high byte names the server that made it, the rest is time and a counter.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct SessionId(pub i64);

/// One client connection of one server, numbered by that server; never reused while the server runs.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct ClientId(pub u64);

impl Epoch {
    /// The epoch after this one.
    ///
    /// # Panics
    /// After 2^32 - 1 epochs.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("epochs are exhausted"))
    }

    /// The highest number. No leader has it, so that every epoch that is led has another above it.
    pub const LAST: Self = Self(u32::MAX);

    /// The epoch that a leader may have above this one, which somebody else has named.
    pub fn checked_next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self).filter(|next| *next < Self::LAST)
    }

    /// The zxid that opens this epoch: counter 0.
    pub fn start(self) -> Zxid {
        Zxid::new(self, 0)
    }
}

impl Zxid {
    /// Before every transaction.
    pub const ZERO: Self = Self(0);

    /// The zxid of transaction `counter` in `epoch`.
    pub fn new(epoch: Epoch, counter: u32) -> Self {
        Self(u64::from(epoch.0) << 32 | u64::from(counter))
    }

    /// The reign that this transaction was proposed in.
    pub fn epoch(self) -> Epoch {
        Epoch(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX))
    }

    /// The place inside the epoch, from 1; 0 is the epoch's start.
    pub fn counter(self) -> u32 {
        u32::try_from(self.0 & 0xffff_ffff).unwrap_or(u32::MAX)
    }

    /// The next place inside the same epoch.
    ///
    /// # Panics
    /// If the counter is used up; a leader steps down before that (rule Z-9).
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.epoch(), self.counter().checked_add(1).expect("the counter of an epoch is exhausted"))
    }

    /// Whether `self` may stand right behind `before` in a log: the next counter, or the first of a later epoch.
    pub fn follows(self, before: Self) -> bool {
        if self.epoch() == before.epoch() {
            before.counter().checked_add(1) == Some(self.counter())
        } else {
            self.epoch() > before.epoch() && self.counter() == 1
        }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch(), self.counter())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is printed for programmers is read by whoever steps through states too: there the number says enough.
macro_rules! debug_as_display {
    ($($id:ident)*) => {
        $(impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        })*
    };
}

debug_as_display!(ServerId Epoch Zxid SessionId ClientId);
