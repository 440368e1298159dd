//! Whatever is encoded decodes to itself.

mod values;

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use protocol::{
    Message,
    peer::{Answer, ClientRequest, Packet},
};
use spec::{Epoch, ServerId, Zxid};
use tree::{Outcome, StatPersisted, Text, Tree};
use wire::{
    Decoder,
    client::{
        ConnectRequest, ConnectResponse, Reply, Response, decode_request, opcode, put_reply, put_request,
    },
    log::{self, Entry},
    notification::{self, Hello, Notice},
    peer::{self, QuorumPacket, Received, Sender},
    record,
    snapshot::{self, Checksum, Piece, Reader, SnapshotDigest, Trailer},
};

fn payload(framed: &[u8]) -> &[u8] {
    let payload = record::frame(framed, 1 << 20).expect("a frame").expect("a whole one");
    assert_eq!(payload.len() + 4, framed.len());
    payload
}

proptest! {
    #[test]
    fn connect_requests(request in values::connect_request()) {
        let mut out = Vec::new();
        request.encode(&mut out);
        prop_assert_eq!(ConnectRequest::decode(payload(&out), 1 << 20), Ok(request));
    }

    #[test]
    fn connect_responses(response in values::connect_response()) {
        let mut out = Vec::new();
        response.encode(&mut out);
        prop_assert_eq!(ConnectResponse::decode(payload(&out)), Ok(response));
    }

    #[test]
    fn requests(xid: i32, request in values::request()) {
        let mut out = BytesMut::new();
        put_request(xid, &request, &mut out).expect("it can be sent");
        let framed = out.freeze();
        // Copying and sharing decoders agree.
        for input in [&mut Decoder::new(payload(&framed), 1 << 20), &mut Decoder::shared(&framed, 1 << 20).inside(payload(&framed))] {
            let (header, found) = decode_request::<Tree>(input).expect("it has a header");
            let numbered = if request == ClientRequest::Ping { opcode::XID_PING } else { xid };
            prop_assert_eq!(header.xid, numbered);
            prop_assert_eq!(&found, &request);
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn multi_replies(xid: i32, zxid in values::zxid(), outcomes in values::outcomes()) {
        let mut out = Vec::new();
        put_reply::<Tree>(xid, zxid, &Answer::Outcome(&Outcome::Multi(outcomes.clone())), &mut out);
        let reply = Reply::decode(Decoder::stream(payload(&out))).expect("it has a header");
        prop_assert_eq!((reply.xid, reply.zxid, reply.error), (xid, zxid, 0));
        prop_assert_eq!(reply.response(opcode::MULTI), Ok(Response::Multi(outcomes)));
    }

    #[test]
    fn log_entries(zxid in values::zxid(), txn in values::txn()) {
        let mut out = Vec::new();
        log::put_entry(zxid, &txn, &mut out);
        let Entry::Body(body) = log::entry(&out).expect("an entry") else { panic!("padding") };
        prop_assert_eq!(body.len() + log::ENTRY_OVERHEAD_BYTES, out.len());
        prop_assert_eq!(log::decode_body(&mut Decoder::stream(body)), Ok((zxid, txn)));
    }

    #[test]
    fn packets(packet in values::packet(), sid: u64, config_version: u64, config in vec(any::<u8>(), 0..24)) {
        let mut out = Vec::new();
        let sender = Sender { sid: ServerId(sid), config: &config, config_version };
        peer::put_packet(&packet, sender, &mut out);
        prop_assert_eq!(peer::measure(&out), Ok(Some(out.len())));
        prop_assert_eq!(peer::measure(&out[..out.len() - 1]), Ok(None));
        let quorum_packet = QuorumPacket::decode(&mut Decoder::stream(&out)).expect("a packet");
        match peer::decode::<Tree>(&quorum_packet).expect("one of ours") {
            Received::Introduction { learner, packet: found } => {
                prop_assert_eq!((learner.sid, learner.config_version), (ServerId(sid), config_version));
                prop_assert_eq!(found, packet);
            }
            Received::Packet(found) => prop_assert_eq!(found, packet),
            Received::Snap { .. } => prop_assert!(false, "nobody said SNAP"),
        }
        let mut again = Vec::new();
        quorum_packet.encode(&mut again);
        prop_assert_eq!(again, out);
    }

    #[test]
    fn records_of_a_log_are_sent_as_they_stand_there(zxid in values::zxid(), txn in values::txn()) {
        let (mut entry, mut out, mut apart) = (Vec::new(), Vec::new(), Vec::new());
        log::put_entry(zxid, &txn, &mut entry);
        let Entry::Body(body) = log::entry(&entry).expect("an entry") else { panic!("padding") };
        peer::put_logged(zxid, body, &mut out);
        let mut input = Decoder::stream(&out);
        let sender = Sender { sid: ServerId(1), config: &[], config_version: 0 };
        for message in [Message::Proposal { zxid, txn }, Message::Commit { zxid }] {
            peer::put_message(&message, sender, &mut apart);
            let packet = QuorumPacket::decode(&mut input).expect("a packet");
            let Ok(Received::Packet(found)) = peer::decode::<Tree>(&packet) else { panic!("none of ours") };
            prop_assert_eq!(found, Packet::Zab(message));
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(out, apart, "what comes from memory is the same");
    }

    #[test]
    fn notifications(notification in values::notification(), config in vec(any::<u8>(), 0..40)) {
        let mut out = Vec::new();
        Notice::new(&notification, &config).encode(&mut out);
        let notice = Notice::decode(notification::frame(&out).expect("a frame").expect("a whole one")).expect("a notice");
        prop_assert_eq!(notice.notification(), Ok(notification));
        prop_assert_eq!(notice.config, config);
    }

    #[test]
    fn hellos(hello in values::hello()) {
        let mut out = Vec::new();
        hello.encode(&mut out);
        prop_assert_eq!(Hello::decode(&mut Decoder::stream(&out)), Ok(hello));
    }

    #[test]
    fn snapshots(pieces in pieces(), portion in 1..40_usize) {
        let out = encoded(&pieces);
        let mut reader = Reader::new();
        let mut found = Vec::new();
        let (mut start, mut end) = (0, 0);
        while found.last() != Some(&Piece::End) {
            let bytes = Bytes::copy_from_slice(&out[start..end]);
            let mut input = Decoder::shared(&bytes, 1 << 20);
            if let Some(piece) = reader.next(&mut input).expect("a piece") {
                found.push(piece);
            } else {
                prop_assert!(end < out.len(), "it does not end");
                end = (end + portion).min(out.len());
            }
            start += bytes.len() - input.rest().len();
        }
        prop_assert_eq!(start, out.len());
        prop_assert_eq!(found, pieces);
        prop_assert!(reader.next(&mut Decoder::stream(&[0; 64])).is_err());
    }

    #[test]
    fn trailers(
        before in vec(any::<u8>(), 0..100),
        digest in any::<Option<(u64, i64)>>(),
        last in any::<Option<u64>>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let digest = digest.map(|(zxid, tree)| SnapshotDigest { zxid: Zxid(zxid), version: 2, tree });
        let trailer = Trailer { digest, last_processed: last.map(Zxid) };
        let mut checksum = Checksum::new();
        checksum.update(&before);
        let mut out = Vec::new();
        trailer.encode(checksum.clone(), &mut out);
        let found = Trailer::decode(checksum.clone(), &out).expect("a trailer");
        prop_assert_eq!(found.last_processed, trailer.last_processed);
        prop_assert_eq!(found.digest.filter(|digest| digest.zxid != Zxid::ZERO || trailer.digest.is_some()), trailer.digest);
        // Every bit of a trailer is under a seal.
        let at = flip.index(out.len());
        out[at] ^= 1;
        prop_assert!(Trailer::decode(checksum, &out).is_err());
    }
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let sessions = vec(
        (values::session(), any::<i32>())
            .prop_map(|(session, timeout_ms)| Piece::Session { session, timeout_ms }),
        0..4,
    );
    let acls = vec((any::<i64>(), values::acl()).prop_map(|(key, acl)| Piece::Acl { key, acl }), 0..4);
    let path = values::text().prop_filter("a node has no such path", |path| *path != "/");
    let nodes = vec(
        (path, values::data(), any::<i64>(), values::stat_persisted())
            .prop_map(|(path, data, acl, stat)| Piece::Node { path, data, acl, stat }),
        0..6,
    );
    (sessions, acls, nodes)
        .prop_map(|(sessions, acls, nodes)| [sessions, acls, nodes, Vec::from([Piece::End])].concat())
}

fn encoded(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::new();
    let count = |is: fn(&Piece) -> bool| pieces.iter().filter(|piece| is(piece)).count();
    snapshot::put_count(count(|piece| matches!(piece, Piece::Session { .. })), &mut out);
    let mut acls_counted = false;
    for piece in pieces {
        if !acls_counted && !matches!(piece, Piece::Session { .. }) {
            snapshot::put_count(count(|piece| matches!(piece, Piece::Acl { .. })), &mut out);
            acls_counted = true;
        }
        match piece {
            Piece::Session { session, timeout_ms } => snapshot::put_session(*session, *timeout_ms, &mut out),
            Piece::Acl { key, acl } => snapshot::put_acl(*key, acl, &mut out),
            Piece::Node { path, data, acl, stat } => {
                snapshot::put_node(path.as_bytes(), data.as_deref(), *acl, stat, &mut out);
            }
            Piece::End => snapshot::put_end(&mut out),
        }
    }
    out
}

#[test]
fn what_is_not_utf8_is_replaced_and_not_refused() {
    let mut out = Vec::new();
    snapshot::put_node(b"/\xff", None, -1, &StatPersisted::default(), &mut out);
    let path = Decoder::stream(&out).text("path");
    assert_eq!(path, Ok(Text::from("/\u{fffd}")));
}

#[test]
fn whole_packets_are_measured_together_up_to_a_state_or_a_mistake() {
    let packets = |kinds: &[i32]| {
        let mut out = Vec::new();
        for kind in kinds {
            QuorumPacket { kind: *kind, zxid: 7, data: None, identities: None }.encode(&mut out);
        }
        out
    };
    let length = packets(&[peer::kind::ACK]).len();
    let three = packets(&[peer::kind::ACK, peer::kind::COMMIT, peer::kind::ACK]);
    assert_eq!(peer::measure_all(&three), Ok(3 * length));
    assert_eq!(peer::measure_all(&three[..three.len() - 1]), Ok(2 * length), "the last is not whole");
    assert_eq!(peer::measure_all(&[]), Ok(0));
    let state = packets(&[peer::kind::ACK, peer::kind::SNAP, peer::kind::ACK]);
    assert_eq!(peer::measure_all(&state), Ok(2 * length), "a state follows");
    let wrong = packets(&[peer::kind::ACK, 20]);
    assert_eq!(peer::measure_all(&wrong), Ok(length), "what is right comes first");
    assert!(peer::measure_all(&wrong[length..]).is_err());
}

#[test]
fn packets_of_reconfigurations_are_refused_by_name() {
    for (kind, name) in [
        (peer::kind::COMMITANDACTIVATE, "COMMITANDACTIVATE"),
        (peer::kind::INFORMANDACTIVATE, "INFORMANDACTIVATE"),
    ] {
        let packet = QuorumPacket { kind, zxid: 7, data: None, identities: None };
        let error = peer::decode::<Tree>(&packet).expect_err("it is not offered");
        assert_eq!(error.to_string(), format!("{name} is not supported"));
    }
    let mut unknown = Vec::new();
    QuorumPacket { kind: 20, zxid: 7, data: None, identities: None }.encode(&mut unknown);
    assert_eq!(
        peer::measure(&unknown).expect_err("no such type").to_string(),
        "quorum packet type 20 is unknown"
    );
}

#[test]
fn an_epoch_is_promised_in_four_bytes_unless_the_log_is_cut_off_below() {
    let length = |floor| {
        let message = Message::AckEpoch { current: Some(Epoch(3)), last: Zxid(9), floor };
        let mut out = Vec::new();
        let sender = Sender { sid: ServerId(1), config: &[], config_version: 0 };
        peer::put_packet::<Tree>(&Packet::Zab(message), sender, &mut out);
        out.len()
    };
    assert_eq!((length(Zxid::ZERO), length(Zxid(5))), (24, 32));
}
