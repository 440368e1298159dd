//! The quorum port.

use bytes::Bytes;
use protocol::peer::{Op, Packet};
use spec::{ServerId, Zxid};
use storage::snapshot::{put_head, put_node};
use tree::{Progress, Tree, TreeBuilder, Walk};
use wire::{
    Decoder,
    peer::{self, QuorumPacket, Received, Sender, kind},
    record::STREAM_FIELD_BYTES_MAX,
    snapshot::{self, Piece, Reader},
};

pub(super) fn stream(bytes: &[u8]) {
    let shared = Bytes::copy_from_slice(bytes);
    let mut input = Decoder::shared(&shared, STREAM_FIELD_BYTES_MAX);
    let mut taken = 0;
    loop {
        let before = input.rest();
        let measured = peer::measure(before);
        let packet = match QuorumPacket::decode(&mut input) {
            Ok(packet) => packet,
            Err(error) => {
                assert_eq!(
                    measured.is_err(),
                    !error.is_short(),
                    "{measured:?} of what does not read: {error}"
                );
                break;
            }
        };
        let length = before.len() - input.rest().len();
        assert_eq!(measured, Ok(Some(length)), "a packet of {length} bytes");
        taken += length;
        whole(&packet);
        if packet.kind == kind::SNAP {
            // What follows is no packet.
            break;
        }
    }
    match peer::measure_all(bytes) {
        Ok(length) => assert_eq!(length, taken, "whole packets of a stream"),
        Err(error) => assert_eq!(taken, 0, "{error}"),
    }
}

/// A packet that has come whole.
fn whole(packet: &QuorumPacket) {
    let mut sent = Vec::new();
    packet.encode(&mut sent);
    let same = QuorumPacket::decode(&mut Decoder::new(&sent, usize::MAX));
    assert_eq!(same.as_ref(), Ok(packet), "another packet");
    let Ok(received) = peer::decode::<Tree>(packet) else { return };
    let sid = ServerId(1);
    let (message, sender) = match received {
        Received::Introduction { learner, packet } => {
            let sender = Sender { sid: learner.sid, config: b"", config_version: learner.config_version };
            (packet, sender)
        }
        Received::Packet(packet) => (packet, Sender { sid, config: b"", config_version: 0 }),
        Received::Snap { .. } => return,
    };
    // A refusal says less than what was refused.
    if let Packet::Request(request) = &message
        && matches!(request.op, Op::Refused(_))
    {
        return;
    }
    let mut sent = Vec::new();
    peer::put_packet(&message, sender, &mut sent);
    let again = QuorumPacket::decode(&mut Decoder::new(&sent, usize::MAX)).expect("what is sent reads");
    let again = match peer::decode::<Tree>(&again).expect("what is sent says something") {
        Received::Introduction { packet, .. } | Received::Packet(packet) => packet,
        Received::Snap { .. } => panic!("another packet: SNAP"),
    };
    // Of a sync, only who asks is sent.
    assert_eq!(again, message, "another message");
}

pub(super) fn state(bytes: &[u8]) {
    let (first, rest) = bytes.split_at(bytes.len().min(1));
    let all = pieces(&[rest]);
    let cut = first.first().map_or(0, |cut| rest.len() * usize::from(*cut) / 256);
    assert_eq!(pieces(&[&rest[..cut], rest]), all, "cut at {cut}");
    if let Ok(pieces) = all
        && let Some(mut tree) = load(&pieces)
    {
        let again = load(&self::pieces(&[&written(&mut tree)]).expect("what is written reads"));
        assert_eq!(again.expect("what is written loads"), tree, "another tree");
    }
}

/// The pieces of a state of which more and more has come; an error is its text.
fn pieces(comes: &[&[u8]]) -> Result<Vec<Piece>, String> {
    let (mut reader, mut pieces, mut taken) = (Reader::new(), Vec::new(), 0);
    for bytes in comes {
        let bytes = Bytes::copy_from_slice(&bytes[taken.min(bytes.len())..]);
        let mut input = Decoder::shared(&bytes, STREAM_FIELD_BYTES_MAX);
        while pieces.last() != Some(&Piece::End)
            && let Some(piece) = reader.next(&mut input).map_err(|error| error.to_string())?
        {
            pieces.push(piece);
        }
        taken += bytes.len() - input.rest().len();
    }
    Ok(pieces)
}

fn load(pieces: &[Piece]) -> Option<Tree> {
    let mut builder = TreeBuilder::new();
    for piece in pieces {
        match piece {
            Piece::Session { session, timeout_ms } => builder.session(*session, *timeout_ms),
            Piece::Acl { key, acl } => builder.acl(*key, acl),
            Piece::Node { path, data, acl, stat } => {
                builder.node(path.as_str(), data.as_deref(), *acl, *stat).ok()?;
            }
            Piece::End => return builder.finish(Zxid(1)).ok(),
        }
    }
    None
}

/// The body of a snapshot of this tree.
pub(super) fn written(tree: &mut Tree) -> Vec<u8> {
    let mut walk = Walk::start(tree);
    let mut body = Vec::new();
    put_head(&walk, &mut body);
    let all = walk.next(tree, usize::MAX, &mut |node| put_node(node, &mut body));
    assert_eq!(all, Ok(Progress::Done));
    snapshot::put_end(&mut body);
    body
}

/// The tree in the body of a snapshot.
pub(super) fn read(body: &[u8]) -> Option<Tree> {
    load(&pieces(&[body]).ok()?)
}
