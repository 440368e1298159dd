//! Our packets as ZooKeeper's.

use protocol::{Message, peer::Packet};
use spec::{Epoch, Machine, ServerId, Zxid};
use tree::{Identity, Txn, Write};

use super::{PROTOCOL_VERSION, PROTOCOL_VERSION_EXTENDED, kind, request};
use crate::{Buffer, Sink, data, log};

/// ZooKeeper's zxid where none is meant.
const NO_ZXID: i64 = -1;

/// What packets say of the server that sends them.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The server.
    pub sid: ServerId,
    /// The configuration that it runs with, as text.
    pub config: &'a [u8],
    /// The version of that configuration.
    pub config_version: u64,
}

/// Appends a packet.
pub fn put_packet<M>(packet: &Packet<M>, sender: Sender<'_>, out: &mut impl Buffer)
where
    M: Machine<Txn = Txn, Write = Write, Identity = Identity>,
{
    match packet {
        Packet::Zab(message) => put_message(message, sender, out),
        Packet::Ping { last, touched } => {
            put(kind::PING, zxid(*last), out, |out| {
                for (session, timeout_ms) in touched {
                    out.put_long(session.0);
                    out.put_int(*timeout_ms);
                }
            });
        }
        Packet::Request(request) => {
            out.put_int(kind::REQUEST);
            out.put_long(NO_ZXID);
            out.put_sized(|out| request::put(request, out));
            // What a server asks by itself has none, and ZooKeeper writes null then.
            match &request.identities[..] {
                [] => out.put_int(-1),
                identities => data::put_identities(identities, out),
            }
        }
        Packet::Sync => put_bare(kind::SYNC, 0, out),
        Packet::Revalidate { session, timeout_ms } => put(kind::REVALIDATE, NO_ZXID, out, |out| {
            out.put_long(session.0);
            out.put_int(*timeout_ms);
        }),
        Packet::Revalidated { session, valid } => put(kind::REVALIDATE, NO_ZXID, out, |out| {
            out.put_long(session.0);
            out.put_bool(*valid);
        }),
    }
}

/// Appends what a learner is sent for a record of a log: the PROPOSAL, with the record's body as it stands there, and
/// its COMMIT.
pub fn put_logged(place: Zxid, body: &[u8], out: &mut impl Buffer) {
    put(kind::PROPOSAL, zxid(place), out, |out| out.put(body));
    put_bare(kind::COMMIT, zxid(place), out);
}

/// Appends the SNAP packet in front of the state, which holds transactions up to `last` at least.
pub fn put_snap(last: Zxid, out: &mut impl Buffer) {
    put_bare(kind::SNAP, zxid(last), out);
}

/// Appends a packet of the order of proposals, borrowed, since its transaction goes to many.
pub fn put_message(message: &Message<Txn>, sender: Sender<'_>, out: &mut impl Buffer) {
    match message {
        Message::FollowerInfo { accepted, extended } => {
            put_introduction(kind::FOLLOWERINFO, *accepted, *extended, sender, out);
        }
        Message::ObserverInfo { accepted, extended } => {
            put_introduction(kind::OBSERVERINFO, *accepted, *extended, sender, out);
        }
        Message::LeaderInfo { epoch, extended } => {
            put(kind::LEADERINFO, zxid(epoch.start()), out, |out| out.put_int(version(*extended)));
        }
        Message::AckEpoch { current, last, floor } => {
            let current = current.map_or(-1, |epoch| epoch.0.cast_signed());
            // Apache ZooKeeper writes four bytes, and reads no more than that.
            put(kind::ACKEPOCH, zxid(*last), out, |out| {
                out.put_int(current);
                if *floor != Zxid::ZERO {
                    out.put_unsigned(floor.0);
                }
            });
        }
        Message::Diff { last } => put_bare(kind::DIFF, zxid(*last), out),
        Message::Trunc { last } => put_bare(kind::TRUNC, zxid(*last), out),
        Message::Proposal { zxid: place, txn } => {
            put(kind::PROPOSAL, zxid(*place), out, |out| log::put_body(*place, txn, out));
        }
        Message::Inform { zxid: place, txn } => {
            put(kind::INFORM, zxid(*place), out, |out| log::put_body(*place, txn, out));
        }
        Message::Commit { zxid: place } => put_bare(kind::COMMIT, zxid(*place), out),
        Message::NewLeader { epoch } => {
            put(kind::NEWLEADER, zxid(epoch.start()), out, |out| out.put(sender.config));
        }
        Message::Ack { zxid: place } => put_bare(kind::ACK, zxid(*place), out),
        Message::UpToDate => put_bare(kind::UPTODATE, NO_ZXID, out),
    }
}

/// The first packet of a learner.
fn put_introduction(kind: i32, accepted: Epoch, extended: bool, sender: Sender<'_>, out: &mut impl Buffer) {
    put(kind, zxid(accepted.start()), out, |out| {
        out.put_unsigned(sender.sid.0);
        out.put_int(version(extended));
        out.put_unsigned(sender.config_version);
    });
}

/// A packet with data, without identities.
fn put<B: Buffer>(kind: i32, zxid: i64, out: &mut B, data: impl FnOnce(&mut B)) {
    out.put_int(kind);
    out.put_long(zxid);
    out.put_sized(data);
    out.put_int(-1);
}

/// A packet without data and identities.
fn put_bare(kind: i32, zxid: i64, out: &mut impl Sink) {
    out.put_int(kind);
    out.put_long(zxid);
    out.put_int(-1);
    out.put_int(-1);
}

fn zxid(place: Zxid) -> i64 {
    place.0.cast_signed()
}

fn version(extended: bool) -> i32 {
    if extended { PROTOCOL_VERSION_EXTENDED } else { PROTOCOL_VERSION }
}
