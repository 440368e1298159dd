//! Links as bytes: packets, and the states behind a SNAP.

use std::collections::VecDeque;

use bytes::Bytes;
use simulator::Subject;
use spec::{ServerId, Zxid, history::Entry};
use storage::snapshot::{put_head, put_node};
use tree::{Progress, Tree, TreeBuilder, Walk};
use wire::{
    Decoder, complete,
    peer::{QuorumPacket, Received, Sender, decode, measure, put_packet, put_snap},
    record::STREAM_FIELD_BYTES_MAX,
    snapshot::{Piece, Reader, put_end, put_signature, signature},
};
use world::{Recorded, Replica, Wire};

/// The nodes of a state are walked so many bytes at a time.
const SLICE_BYTES: usize = 1 << 20;

/// A frame as it stands on a link. What a state remembers of its making is no part of it, and is given beside it.
pub(crate) fn put(from: ServerId, frame: &Wire<Subject>) -> (Vec<u8>, Option<Vec<Entry>>) {
    let mut out = Vec::new();
    match frame {
        Wire::Packet(packet) => {
            put_packet(packet, Sender { sid: from, config: &[], config_version: 0 }, &mut out);
            (out, None)
        }
        Wire::Snapshot { last, state } => {
            put_snap(*last, &mut out);
            out.extend(body(&mut state.machine.clone()).0);
            put_signature(&mut out);
            (out, state.history().map(<[Entry]>::to_vec))
        }
    }
}

/// A whole state as it stands in streams and snapshots, and its digest.
pub(crate) fn body(state: &mut Tree) -> (Vec<u8>, i64) {
    let mut out = Vec::new();
    let mut walk = Walk::start(state);
    put_head(&walk, &mut out);
    loop {
        let progress = walk.next(state, SLICE_BYTES, &mut |node| put_node(node, &mut out));
        match progress.expect("the walk is this tree's") {
            Progress::More => {}
            Progress::Done => break,
        }
    }
    put_end(&mut out);
    (out, walk.digest())
}

/// What has come on a link and was not taken.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: Vec<u8>,
    /// What the states among it remember, in order.
    pub(crate) histories: VecDeque<Vec<Entry>>,
}

impl Inbox {
    /// The next frame, if all of it has come.
    pub(crate) fn next(&mut self) -> Result<Option<Wire<Subject>>, String> {
        let Some(length) = measure(&self.bytes).map_err(told)? else { return Ok(None) };
        let bytes = Bytes::copy_from_slice(&self.bytes[..length]);
        let mut decoder = Decoder::shared(&bytes, STREAM_FIELD_BYTES_MAX);
        let packet = QuorumPacket::decode(&mut decoder).map_err(told)?;
        match decode::<Subject>(&packet).map_err(told)? {
            Received::Packet(packet) | Received::Introduction { packet, .. } => {
                self.bytes.drain(..length);
                Ok(Some(Wire::Packet(packet)))
            }
            Received::Snap { last } => {
                let Some((machine, state)) = state(last, &self.bytes[length..])? else { return Ok(None) };
                self.bytes.drain(..length + state);
                let history = self.histories.pop_front().unwrap_or_default();
                Ok(Some(Wire::Snapshot { last, state: Box::new(Recorded::remembered(machine, history)) }))
            }
        }
    }
}

/// The state at the front of a stream, and how many bytes it takes; none while it is not whole.
fn state(last: Zxid, input: &[u8]) -> Result<Option<(Tree, usize)>, String> {
    let (mut pieces, mut builder) = (Reader::new(), TreeBuilder::new());
    let mut decoder = Decoder::stream(input);
    loop {
        match pieces.next(&mut decoder).map_err(told)? {
            None => return Ok(None),
            Some(Piece::Session { session, timeout_ms }) => builder.session(session, timeout_ms),
            Some(Piece::Acl { key, acl }) => builder.acl(key, &acl),
            Some(Piece::Node { path, data, acl, stat }) => {
                builder.node(path.as_str(), data.as_deref(), acl, stat).map_err(told)?;
            }
            Some(Piece::End) => break,
        }
    }
    if complete(signature(&mut decoder)).map_err(told)?.is_none() {
        return Ok(None);
    }
    let tree = builder.finish(last).map_err(told)?;
    Ok(Some((tree, input.len() - decoder.rest().len())))
}

pub(crate) fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
