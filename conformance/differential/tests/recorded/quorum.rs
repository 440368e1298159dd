//! The quorum port of Apache ZooKeeper, decoded and encoded again.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use differential::{StreamRecording, V3_8, V3_9, golden, unhex};
use protocol::{
    Message,
    peer::{Op, Packet},
};
use spec::{ServerId, Zxid};
use tree::{CreateRequest, Tree, Txn, TxnBody, Write};
use wire::{
    Decoder,
    peer::{QuorumPacket, Received, Sender, decode, kind, measure, put_packet, put_snap},
    snapshot::{self, Piece, Reader},
};

/// One direction of one connection, taken apart.
struct Side {
    name: String,
    packets: Vec<QuorumPacket>,
}

/// Every direction of every connection; each is encoded again packet by packet on the way.
fn sides(version: &str) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    for stream in golden::<StreamRecording>(version, "quorum")?.connections {
        for (who, hex) in [("dialler", &stream.dialler), ("listener", &stream.listener)] {
            let name = format!("{}, {who}", stream.name);
            let bytes = Bytes::from(unhex(hex)?);
            let packets = take_apart(&bytes).with_context(|| name.clone())?;
            sides.push(Side { name, packets });
        }
    }
    Ok(sides)
}

fn take_apart(bytes: &Bytes) -> Result<Vec<QuorumPacket>> {
    let mut packets = Vec::new();
    let mut at = 0;
    // A recording may end inside a packet, for its server was stopped.
    while let Some(length) = measure(&bytes[at..])? {
        for short in 0..length {
            ensure!(measure(&bytes[at..at + short])?.is_none(), "whole before its end");
        }
        let one = bytes.slice(at..at + length);
        let packet = QuorumPacket::decode(&mut Decoder::shared(&one, usize::MAX))?;
        let mut out = Vec::new();
        packet.encode(&mut out);
        ensure!(out == one, "{packet:?} changed");
        at += length;
        if packet.kind == kind::SNAP {
            at += state(&bytes[at..])?;
        }
        packets.push(packet);
    }
    Ok(packets)
}

/// How many bytes the state behind a SNAP packet takes; it is read in small portions, as a network may have it.
fn state(bytes: &[u8]) -> Result<usize> {
    let mut reader = Reader::new();
    let (mut start, mut end, mut nodes) = (0, 0, 0);
    loop {
        let mut input = Decoder::stream(&bytes[start..end]);
        let piece = reader.next(&mut input)?;
        start = end - input.rest().len();
        match piece {
            Some(Piece::End) => break,
            Some(Piece::Node { .. }) => nodes += 1,
            Some(_) => {}
            None => end = (end + 7).min(bytes.len()),
        }
    }
    ensure!(nodes >= 4, "{nodes} nodes");
    let mut input = Decoder::stream(&bytes[start..]);
    snapshot::signature(&mut input)?;
    Ok(bytes.len() - input.rest().len())
}

#[test]
fn packets_are_encoded_to_the_same_bytes_by_way_of_our_words() -> Result<()> {
    all_packets(V3_9)?;
    all_packets(V3_8)
}

fn all_packets(version: &str) -> Result<()> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut operations: BTreeMap<&str, usize> = BTreeMap::new();
    for side in sides(version)? {
        for packet in side.packets {
            *seen.entry(packet.name()).or_default() += 1;
            let text = format!("{}: {packet:?}", side.name);
            let received = decode::<Tree>(&packet).context(text.clone())?;
            check(&packet, received, &mut operations).context(text)?;
        }
    }
    for name in [
        "REQUEST",
        "PROPOSAL",
        "ACK",
        "COMMIT",
        "PING",
        "REVALIDATE",
        "SYNC",
        "INFORM",
        "NEWLEADER",
        "FOLLOWERINFO",
        "UPTODATE",
        "DIFF",
        "TRUNC",
        "SNAP",
        "OBSERVERINFO",
        "LEADERINFO",
        "ACKEPOCH",
    ] {
        ensure!(seen.contains_key(name), "no {name} in the recording: {seen:?}");
    }
    for name in
        ["create", "create2", "multi", "setACL", "setData", "delete", "open", "sync", "createContainer"]
    {
        ensure!(operations.contains_key(name), "no {name} was forwarded: {operations:?}");
    }
    Ok(())
}

fn check(
    packet: &QuorumPacket,
    received: Received<Tree>,
    operations: &mut BTreeMap<&str, usize>,
) -> Result<()> {
    let mut out = Vec::new();
    let mut sender = Sender { sid: ServerId(0), config: &[], config_version: 0 };
    let ours = match received {
        Received::Snap { last } => {
            put_snap(last, &mut out);
            return same(packet, &out);
        }
        Received::Introduction { learner, packet } => {
            (sender.sid, sender.config_version) = (learner.sid, learner.config_version);
            packet
        }
        Received::Packet(packet) => packet,
    };
    if packet.kind == kind::NEWLEADER {
        sender.config = packet.data.as_deref().unwrap_or_default();
    }
    put_packet(&ours, sender, &mut out);
    match &ours {
        // A leader that has applied a failed multi sends its parts as errors that still hold the old bytes.
        Packet::Zab(Message::Proposal { txn, .. }) if is_failed_multi(txn) => {
            let again = QuorumPacket::decode(&mut Decoder::stream(&out))?;
            let again = decode::<Tree>(&again)?;
            ensure!(matches!(&again, Received::Packet(again) if *again == ours), "became {again:?}");
            Ok(())
        }
        // A leader's ping has no data at Apache, and empty data here: learners do not look.
        Packet::Ping { .. } if packet.data.is_none() => {
            same(&QuorumPacket { data: Some(Bytes::new()), ..packet.clone() }, &out)
        }
        Packet::Request(request) => {
            let name = match &request.op {
                Op::Write(Write::Create { request: CreateRequest::Create, .. }) => "create",
                Op::Write(Write::Create { request: CreateRequest::Create2, .. }) => "create2",
                Op::Write(Write::Create { request: CreateRequest::Container, .. }) => "createContainer",
                Op::Write(Write::Create { request: CreateRequest::Ttl { .. }, .. }) => "createTTL",
                Op::Write(Write::Sweep { .. }) => bail!("a learner that sweeps"),
                Op::Write(Write::Delete { .. }) => "delete",
                Op::Write(Write::SetData { .. }) => "setData",
                Op::Write(Write::SetAcl { .. }) => "setACL",
                Op::Write(Write::Multi(_)) => "multi",
                Op::Write(Write::Check { .. }) => bail!("a check alone"),
                Op::CreateSession { .. } => "open",
                Op::CloseSession => "close",
                // A leader needs neither the path of a sync nor the bytes of what it refuses.
                Op::Sync | Op::Refused(_) => {
                    let name = if matches!(request.op, Op::Sync) { "sync" } else { "refused" };
                    *operations.entry(name).or_default() += 1;
                    return Ok(());
                }
            };
            *operations.entry(name).or_default() += 1;
            same(packet, &out)
        }
        Packet::Zab(_)
        | Packet::Ping { .. }
        | Packet::Sync
        | Packet::Revalidate { .. }
        | Packet::Revalidated { .. } => same(packet, &out),
    }
}

fn is_failed_multi(txn: &Txn) -> bool {
    let is_error = |part: &TxnBody| matches!(part, TxnBody::Error { .. });
    matches!(&txn.body, TxnBody::Multi(parts) if parts.iter().any(is_error))
}

fn same(packet: &QuorumPacket, encoded: &[u8]) -> Result<()> {
    let again = QuorumPacket::decode(&mut Decoder::stream(encoded))?;
    ensure!(again == *packet, "became {again:?}");
    Ok(())
}

#[test]
fn a_learner_that_comes_back_is_sent_what_it_lacks() -> Result<()> {
    // The order of packets in the recording: what a synchronisation looks like.
    let sides = sides(V3_9)?;
    let side = |name: &str| {
        sides.iter().find(|side| side.name == name).with_context(|| format!("no recording of {name}"))
    };
    let kinds = |side: &Side| side.packets.iter().map(|packet| packet.kind).collect::<Vec<_>>();
    let cut = kinds(side("a follower to be cut, listener")?);
    ensure!(cut.starts_with(&[kind::LEADERINFO, kind::TRUNC, kind::NEWLEADER]), "{cut:?}");
    let rest = side("a follower to be given the rest, listener")?;
    ensure!(kinds(rest).starts_with(&[kind::LEADERINFO, kind::DIFF, kind::PROPOSAL, kind::COMMIT]));
    let places: Vec<_> = rest
        .packets
        .iter()
        .filter(|packet| packet.kind == kind::PROPOSAL)
        .map(|packet| Zxid(packet.zxid.cast_unsigned()))
        .collect();
    ensure!(places.windows(2).all(|pair| pair[1].follows(pair[0])), "{places:?}");
    Ok(())
}
