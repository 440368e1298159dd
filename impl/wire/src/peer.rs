//! The quorum port: packets between a leader and its learners.
//!
//! A packet is a record without a frame: type, zxid, data, identities. What its data holds depends on the type.
//! Behind a SNAP packet comes the state itself, as [`snapshot`](crate::snapshot) has it.

mod decode;
mod encode;
mod request;

use bytes::Bytes;
use spec::ServerId;
use tree::Identity;

pub use decode::{Received, decode};
pub use encode::{Sender, put_logged, put_message, put_packet, put_snap};

use crate::{Decoder, Error, Sink, complete, data, record};

/// The greatest packet in bytes: one field may fill it.
pub const PACKET_BYTES_MAX: usize = record::STREAM_FIELD_BYTES_MAX + (1 << 20);

/// The protocol version that every ZooKeeper since 3.4 states.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;
/// The protocol version of ours: ZooKeeper only asks whether it is at least [`PROTOCOL_VERSION`].
pub const PROTOCOL_VERSION_EXTENDED: i32 = 0x1_0001;

/// The types of packets.
///
/// Source: ZooKeeper `Leader`.
pub mod kind {
    /// Learner to leader: what a client asked.
    pub const REQUEST: i32 = 1;
    /// Leader to follower: log this.
    pub const PROPOSAL: i32 = 2;
    /// Follower to leader: durable.
    pub const ACK: i32 = 3;
    /// Leader to follower: decided.
    pub const COMMIT: i32 = 4;
    /// Both ways.
    pub const PING: i32 = 5;
    /// Both ways: may this session go on here?
    pub const REVALIDATE: i32 = 6;
    /// Leader to learner: a sync is through.
    pub const SYNC: i32 = 7;
    /// Leader to observer: decided, with the transaction.
    pub const INFORM: i32 = 8;
    /// Leader to follower: a reconfiguration is decided.
    pub const COMMITANDACTIVATE: i32 = 9;
    /// Leader to learner: join the epoch.
    pub const NEWLEADER: i32 = 10;
    /// Follower to leader, first.
    pub const FOLLOWERINFO: i32 = 11;
    /// Leader to learner: serve.
    pub const UPTODATE: i32 = 12;
    /// Leader to learner: what follows continues your log.
    pub const DIFF: i32 = 13;
    /// Leader to learner: cut your log.
    pub const TRUNC: i32 = 14;
    /// Leader to learner: the state follows.
    pub const SNAP: i32 = 15;
    /// Observer to leader, first.
    pub const OBSERVERINFO: i32 = 16;
    /// Leader to learner: the new epoch.
    pub const LEADERINFO: i32 = 17;
    /// Learner to leader: the epoch is promised.
    pub const ACKEPOCH: i32 = 18;
    /// Leader to observer: a reconfiguration is decided, with the transaction.
    pub const INFORMANDACTIVATE: i32 = 19;
}

/// A packet as it stands on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QuorumPacket {
    /// One of [`kind`].
    pub kind: i32,
    /// A zxid, an epoch's start, or −1; it depends on the type.
    pub zxid: i64,
    /// It depends on the type.
    pub data: Option<Bytes>,
    /// Whom a client has authenticated as, in a REQUEST.
    pub identities: Option<Vec<Identity>>,
}

/// How many bytes the first packet of a stream takes; `None` while it is not whole.
///
/// A caller never has to hold more than [`PACKET_BYTES_MAX`] bytes: above it, a packet that is not whole is an error.
///
/// # Errors
/// What is wrong with it; the link is to be dropped.
pub fn measure(input: &[u8]) -> Result<Option<usize>, Error> {
    let mut rest = Decoder::stream(input);
    match complete(skip(&mut rest))? {
        Some(()) => Ok(Some(input.len() - rest.rest().len())),
        None if input.len() > PACKET_BYTES_MAX => {
            let found = i64::try_from(input.len()).unwrap_or(i64::MAX);
            Err(Error::Length { what: "quorum packet", found, allowed: PACKET_BYTES_MAX })
        }
        None => Ok(None),
    }
}

/// How many bytes the whole packets at the front of a stream take: through the first SNAP, as what follows that is no
/// packet, and up to the first that is wrong.
///
/// # Errors
/// As [`measure`], if the first is wrong.
pub fn measure_all(input: &[u8]) -> Result<usize, Error> {
    let mut taken = 0;
    loop {
        let rest = &input[taken..];
        match measure(rest) {
            Ok(Some(length)) => taken += length,
            Err(error) if taken == 0 => return Err(error),
            Ok(None) | Err(_) => return Ok(taken),
        }
        if rest.starts_with(&kind::SNAP.to_be_bytes()) {
            return Ok(taken);
        }
    }
}

/// Passes over a packet.
fn skip(input: &mut Decoder<'_>) -> Result<(), Error> {
    known_kind(input)?;
    input.long()?;
    input.buffer()?;
    for _ in 0..input.int()? {
        input.string()?;
        input.string()?;
    }
    Ok(())
}

fn known_kind(input: &mut Decoder<'_>) -> Result<i32, Error> {
    let kind = input.int()?;
    if (kind::REQUEST..=kind::INFORMANDACTIVATE).contains(&kind) {
        Ok(kind)
    } else {
        Err(Error::Unknown { what: "quorum packet type", found: i64::from(kind) })
    }
}

impl QuorumPacket {
    /// Reads one from the front of a stream. With a [shared](Decoder::shared) decoder its data is not copied.
    ///
    /// # Errors
    /// [`Error::Short`] while it is not whole; otherwise what is wrong with it.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: known_kind(input)?,
            zxid: input.long()?,
            data: input.bytes()?,
            identities: data::identities(input)?,
        })
    }

    /// Appends it.
    pub fn encode(&self, out: &mut impl Sink) {
        out.put_int(self.kind);
        out.put_long(self.zxid);
        out.put_optional(self.data.as_deref());
        match &self.identities {
            Some(identities) => data::put_identities(identities, out),
            None => out.put_int(-1),
        }
    }

    /// The name of its type.
    pub fn name(&self) -> &'static str {
        match self.kind {
            kind::REQUEST => "REQUEST",
            kind::PROPOSAL => "PROPOSAL",
            kind::ACK => "ACK",
            kind::COMMIT => "COMMIT",
            kind::PING => "PING",
            kind::REVALIDATE => "REVALIDATE",
            kind::SYNC => "SYNC",
            kind::INFORM => "INFORM",
            kind::COMMITANDACTIVATE => "COMMITANDACTIVATE",
            kind::NEWLEADER => "NEWLEADER",
            kind::FOLLOWERINFO => "FOLLOWERINFO",
            kind::UPTODATE => "UPTODATE",
            kind::DIFF => "DIFF",
            kind::TRUNC => "TRUNC",
            kind::SNAP => "SNAP",
            kind::OBSERVERINFO => "OBSERVERINFO",
            kind::LEADERINFO => "LEADERINFO",
            kind::ACKEPOCH => "ACKEPOCH",
            kind::INFORMANDACTIVATE => "INFORMANDACTIVATE",
            _ => "unknown",
        }
    }
}

/// Who a learner is, in the data of FOLLOWERINFO.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LearnerInfo {
    /// The learner.
    pub sid: ServerId,
    /// [`PROTOCOL_VERSION`] or [`PROTOCOL_VERSION_EXTENDED`].
    pub protocol_version: i32,
    /// The version of the configuration that it runs with; a leader refuses one later than its own.
    pub config_version: u64,
}
