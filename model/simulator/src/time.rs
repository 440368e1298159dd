//! Simulated time, and what is due when.

use std::{cmp::Reverse, collections::BinaryHeap};

use protocol::{Ticket, Timer};
use serde::{Deserialize, Serialize};
use world::Side;

/// Microseconds since the run began.
pub(crate) type Time = u64;

/// Milliseconds as [`Time`].
pub(crate) fn ms(ms: u64) -> Time {
    ms * 1_000
}

/// Something that is due. Servers are named by their slots, from 0; connections by their numbers.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// A timer, if it was not set anew.
    Timer {
        /// Where.
        server: usize,
        /// Which.
        timer: Timer,
        /// Of which setting.
        number: u64,
    },
    /// The end of a disk operation, if no crash came before.
    Disk {
        /// Where.
        server: usize,
        /// Which.
        ticket: Ticket,
        /// Of which process.
        process: u64,
    },
    /// The newest election message of one server for another.
    Vote {
        /// From here.
        from: usize,
        /// To there.
        to: usize,
    },
    /// A server notices that its election link with another one is gone.
    MeshLost {
        /// Who notices.
        server: usize,
        /// The other end.
        peer: usize,
    },
    /// A dial, through or not.
    Dial {
        /// The link, by its place.
        place: usize,
        /// Of which incarnation.
        number: u64,
    },
    /// The next frame of a link.
    Frame {
        /// The link, by its place.
        place: usize,
        /// Who reads.
        at: Side,
        /// Of which incarnation.
        number: u64,
    },
    /// An end of a link notices that it is cut.
    Notice {
        /// The link, by its place.
        place: usize,
        /// Which end.
        at: Side,
        /// Of which incarnation.
        number: u64,
    },
    /// What a client has sent next reaches its server.
    Letter {
        /// The connection.
        connection: u64,
    },
    /// What a server has told next reaches its client.
    Hear {
        /// The connection.
        connection: u64,
    },
    /// A server notices that a client is gone.
    Left {
        /// The connection.
        connection: u64,
    },
    /// A client notices that its connection is gone.
    Lost {
        /// The connection.
        connection: u64,
    },
    /// A client looks around.
    Wake {
        /// Which.
        client: usize,
    },
    /// A fault of the plan.
    Fault {
        /// Its place in the plan.
        place: usize,
    },
    /// Its end.
    FaultEnds {
        /// Its place in the plan.
        place: usize,
    },
    /// A server that was down or stood still goes on.
    Resume {
        /// Which.
        server: usize,
        /// Of which stop.
        number: u64,
    },
    /// Something that a client is to do.
    Deed {
        /// Its place in the plan.
        place: usize,
    },
    /// Everything is repaired.
    Heal,
    /// Whether all is well again.
    Look,
}

/// What is due, in the order of time; what is due at once in the order of its making.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Reverse<(Time, u64, Due)>>,
    count: u64,
    pub(crate) now: Time,
}

impl Agenda {
    pub(crate) fn at(&mut self, time: Time, due: Due) {
        self.count += 1;
        self.entries.push(Reverse((time.max(self.now), self.count, due)));
    }

    pub(crate) fn after(&mut self, wait: Time, due: Due) {
        self.at(self.now + wait, due);
    }

    pub(crate) fn next(&mut self) -> Option<Due> {
        let Reverse((time, _, due)) = self.entries.pop()?;
        self.now = time;
        Some(due)
    }
}
