//! Log and snapshot files of Apache ZooKeeper, decoded and encoded again.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use differential::{FileRecording, V3_8, V3_9, golden, unhex};
use tree::{CreateKind, TxnBody};
use wire::{
    Decoder,
    log::{self, Entry},
    snapshot::{self, Checksum, Piece, Reader, Trailer},
};

#[test]
fn logs_are_encoded_to_the_same_bytes() -> Result<()> {
    all_logs(V3_9)?;
    all_logs(V3_8)
}

fn all_logs(version: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    for file in golden::<FileRecording>(version, "log")?.files {
        let bytes = unhex(&file.hex)?;
        let mut out = Vec::new();
        log::file_header(&mut Decoder::stream(&bytes))?;
        log::put_file_header(&mut out);
        while out.len() < bytes.len() {
            let Entry::Body(body) = log::entry(&bytes[out.len()..])? else { break };
            let (zxid, txn) = log::decode_body(&mut Decoder::stream(body))
                .with_context(|| format!("{} at {}", file.file, out.len()))?;
            seen.insert(name(&txn.body));
            // So has an error where preparation came upon what it did not expect.
            let changes = !matches!(txn.body, TxnBody::Error { .. });
            let has_digest = txn.digest.is_some_and(|digest| digest.version == 2);
            ensure!(has_digest || !changes, "{zxid}: {txn:?}");
            log::put_entry(zxid, &txn, &mut out);
        }
        ensure!(out == bytes, "{} changed", file.file);
    }
    // What the recording is known to hold: a recording without it would prove less than it seems to.
    let expected = [
        "close",
        "container",
        "create",
        "create2",
        "delete",
        "ephemeral",
        "error",
        "multi",
        "open",
        "setACL",
        "setData",
        "ttl",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    Ok(())
}

fn name(body: &TxnBody) -> &'static str {
    match body {
        TxnBody::Create(create) => match create.kind {
            CreateKind::Create { ephemeral: false } => "create",
            CreateKind::Create { ephemeral: true } | CreateKind::Create2 { ephemeral: true } => "ephemeral",
            CreateKind::Create2 { ephemeral: false } => "create2",
            CreateKind::Container => "container",
            CreateKind::Ttl { .. } => "ttl",
        },
        TxnBody::Delete { .. } => "delete",
        TxnBody::SetData { .. } => "setData",
        TxnBody::SetAcl { .. } => "setACL",
        TxnBody::Check { .. } => "check",
        TxnBody::Multi(_) => "multi",
        TxnBody::CreateSession { .. } => "open",
        TxnBody::CloseSession { .. } => "close",
        TxnBody::Error { .. } => "error",
    }
}

#[test]
fn snapshots_are_encoded_to_the_same_bytes() -> Result<()> {
    all_snapshots(V3_9)?;
    all_snapshots(V3_8)
}

fn all_snapshots(version: &str) -> Result<()> {
    let files = golden::<FileRecording>(version, "snapshot")?.files;
    ensure!(files.len() == 2, "one of an empty server, one of a used one");
    for file in files {
        let bytes = unhex(&file.hex)?;
        let mut input = Decoder::stream(&bytes);
        let mut out = Vec::new();
        snapshot::file_header(&mut input)?;
        snapshot::put_file_header(&mut out);
        let (nodes, sessions) = copy_body(&mut input, &mut out)?;
        let mut checksum = Checksum::new();
        checksum.update(&out);
        let trailer = Trailer::decode(checksum.clone(), input.rest())?;
        ensure!(
            trailer.digest.is_some() && trailer.last_processed.is_some() == (version == V3_9),
            "{} lacks sections",
            file.file
        );
        trailer.encode(checksum, &mut out);
        ensure!(out == bytes, "{} changed", file.file);
        ensure!(nodes >= 4 && (sessions > 0) == (file.file != "snapshot.0"), "{} is too small", file.file);
    }
    Ok(())
}

/// Copies the body through the codec piece by piece; yields how many nodes and sessions it has.
fn copy_body(input: &mut Decoder<'_>, out: &mut Vec<u8>) -> Result<(usize, usize)> {
    let (mut sessions, mut acls, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader::new();
    loop {
        match reader.next(input)?.context("it ends early")? {
            Piece::Session { session, timeout_ms } => sessions.push((session, timeout_ms)),
            Piece::Acl { key, acl } => acls.push((key, acl)),
            Piece::Node { path, data, acl, stat } => nodes.push((path, data, acl, stat)),
            Piece::End => break,
        }
    }
    snapshot::put_count(sessions.len(), out);
    for (session, timeout_ms) in &sessions {
        snapshot::put_session(*session, *timeout_ms, out);
    }
    snapshot::put_count(acls.len(), out);
    for (key, acl) in &acls {
        snapshot::put_acl(*key, acl, out);
    }
    for (path, data, acl, stat) in &nodes {
        snapshot::put_node(path.as_bytes(), data.as_deref(), *acl, stat, out);
    }
    snapshot::put_end(out);
    Ok((nodes.len(), sessions.len()))
}

#[test]
fn a_flipped_bit_is_noticed() -> Result<()> {
    let file = &golden::<FileRecording>(V3_9, "log")?.files[0];
    let bytes = unhex(&file.hex)?;
    let first = &bytes[log::FILE_HEADER_BYTES..];
    let Entry::Body(body) = log::entry(first)? else { anyhow::bail!("no entry") };
    let length = body.len() + log::ENTRY_OVERHEAD_BYTES;
    for at in 0..length {
        let mut broken = first.to_vec();
        broken[at] ^= 4;
        ensure!(!matches!(log::entry(&broken), Ok(Entry::Body(_))), "byte {at}");
    }
    for cut in 0..length {
        ensure!(log::entry(&first[..cut]).is_err_and(|error| error.is_short()), "cut at {cut}");
    }
    Ok(())
}
