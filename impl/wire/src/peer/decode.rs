//! ZooKeeper's packets as ours.

use protocol::{Message, peer::Packet};
use spec::{Epoch, Machine, ServerId, SessionId, Zxid};
use tree::{Identity, Txn, Write};

use super::{LearnerInfo, PROTOCOL_VERSION_EXTENDED, QuorumPacket, kind, request};
use crate::{Decoder, Error, log, record};

/// A packet that has come, and what it says beside itself.
#[derive(Debug)]
pub enum Received<M: Machine> {
    /// The first packet of a learner, FOLLOWERINFO or OBSERVERINFO, which tells who it is.
    Introduction {
        /// Who it is.
        learner: LearnerInfo,
        /// The packet.
        packet: Packet<M>,
    },
    /// The state follows on the stream.
    Snap {
        /// What the leader's state held when it was begun.
        last: Zxid,
    },
    /// Any other packet.
    Packet(Packet<M>),
}

/// What a packet says.
///
/// # Errors
/// [`Error::NotSupported`] for packets of reconfigurations; otherwise what is wrong with it. The link is
/// to be dropped.
pub fn decode<M>(packet: &QuorumPacket) -> Result<Received<M>, Error>
where
    M: Machine<Txn = Txn, Write = Write, Identity = Identity>,
{
    let place = Zxid(packet.zxid.cast_unsigned());
    Ok(Received::Packet(match packet.kind {
        kind::FOLLOWERINFO | kind::OBSERVERINFO => return introduction(packet),
        kind::SNAP => return Ok(Received::Snap { last: place }),
        kind::LEADERINFO => Packet::Zab(Message::LeaderInfo {
            epoch: start_of_epoch(place)?,
            extended: field(packet, Decoder::int)? >= PROTOCOL_VERSION_EXTENDED,
        }),
        kind::ACKEPOCH => Packet::Zab(ack_epoch(packet)?),
        kind::DIFF => Packet::Zab(Message::Diff { last: place }),
        kind::TRUNC => Packet::Zab(Message::Trunc { last: place }),
        kind::PROPOSAL => {
            let txn = transaction(packet, "a PROPOSAL and its transaction have different zxids")?;
            Packet::Zab(Message::Proposal { zxid: place, txn })
        }
        kind::INFORM => {
            let txn = transaction(packet, "an INFORM and its transaction have different zxids")?;
            Packet::Zab(Message::Inform { zxid: place, txn })
        }
        kind::COMMIT => Packet::Zab(Message::Commit { zxid: place }),
        kind::NEWLEADER => Packet::Zab(Message::NewLeader { epoch: start_of_epoch(place)? }),
        kind::ACK => Packet::Zab(Message::Ack { zxid: place }),
        kind::UPTODATE => Packet::Zab(Message::UpToDate),
        kind::PING => Packet::Ping { last: place, touched: touched(packet)? },
        kind::REQUEST => {
            let identities = packet.identities.clone().unwrap_or_default();
            Packet::Request(field(packet, |input| request::decode(input, identities))?)
        }
        kind::SYNC => Packet::Sync,
        kind::REVALIDATE => revalidate(packet)?,
        _ => return Err(Error::NotSupported { what: packet.name() }),
    }))
}

/// Reads the packet's data with `read`.
fn field<'a, T>(
    packet: &'a QuorumPacket,
    read: impl FnOnce(&mut Decoder<'a>) -> Result<T, Error>,
) -> Result<T, Error> {
    let data = packet.data.as_ref().ok_or(Error::Null { what: "data of a packet" })?;
    read(&mut Decoder::shared(data, record::STREAM_FIELD_BYTES_MAX))
}

/// The transaction that a packet carries, which stands at the packet's own place.
fn transaction(packet: &QuorumPacket, otherwise: &'static str) -> Result<Txn, Error> {
    let (zxid, txn) = field(packet, log::decode_body)?;
    if zxid == Zxid(packet.zxid.cast_unsigned()) { Ok(txn) } else { Err(Error::Invalid { what: otherwise }) }
}

/// The current epoch, and behind it, from a Zabkeeper, where its log begins.
fn ack_epoch<T>(packet: &QuorumPacket) -> Result<Message<T>, Error> {
    field(packet, |input| {
        let current = match input.int()? {
            -1 => None,
            epoch => Some(Epoch(epoch.cast_unsigned())),
        };
        let floor = if input.is_empty() { Zxid::ZERO } else { Zxid(input.unsigned()?) };
        Ok(Message::AckEpoch { current, last: Zxid(packet.zxid.cast_unsigned()), floor })
    })
}

fn introduction<M: Machine>(packet: &QuorumPacket) -> Result<Received<M>, Error> {
    let learner = field(packet, |input| {
        Ok(LearnerInfo {
            sid: ServerId(input.unsigned()?),
            protocol_version: input.int()?,
            // Servers before 3.5 have none.
            config_version: if input.is_empty() { 0 } else { input.unsigned()? },
        })
    })?;
    let accepted = Zxid(packet.zxid.cast_unsigned()).epoch();
    let extended = learner.protocol_version >= PROTOCOL_VERSION_EXTENDED;
    let message = if packet.kind == kind::OBSERVERINFO {
        Message::ObserverInfo { accepted, extended }
    } else {
        Message::FollowerInfo { accepted, extended }
    };
    Ok(Received::Introduction { learner, packet: Packet::Zab(message) })
}

fn start_of_epoch(place: Zxid) -> Result<Epoch, Error> {
    if place.counter() == 0 {
        Ok(place.epoch())
    } else {
        Err(Error::Invalid { what: "the zxid of an epoch has a counter" })
    }
}

/// A leader's PING has no data.
fn touched(packet: &QuorumPacket) -> Result<Vec<(SessionId, i32)>, Error> {
    let mut touched = Vec::new();
    if let Some(data) = &packet.data {
        let mut input = Decoder::stream(data);
        while !input.is_empty() {
            touched.push((SessionId(input.long()?), input.int()?));
        }
    }
    Ok(touched)
}

/// The question has four bytes behind the session, the answer one.
fn revalidate<M: Machine>(packet: &QuorumPacket) -> Result<Packet<M>, Error> {
    field(packet, |input| {
        let session = SessionId(input.long()?);
        Ok(match input.rest().len() {
            1 => Packet::Revalidated { session, valid: input.bool()? },
            _ => Packet::Revalidate { session, timeout_ms: input.int()? },
        })
    })
}
