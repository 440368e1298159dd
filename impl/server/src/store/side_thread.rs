//! Epoch files, snapshots, the log for learners, purging.

use std::{
    sync::mpsc::{Receiver, Sender},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use spec::Zxid;
use storage::{Disk, Error, Store};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};
use wire::peer::put_logged;

use super::{DiskEvent, LogJob, LogPiece, SideJob, SnapshotJob, StreamJob};

/// Bytes of the log that are read for a learner at once.
const PIECE_BYTES: usize = 256 << 10;

/// An epoch that takes longer to store is worth a warning.
const EPOCH_SLOW: Duration = Duration::from_millis(50);

/// Carries orders out until the loop is gone, or one fails.
pub(super) fn run<D: Disk>(
    store: &Store<D>,
    queue: &Receiver<SideJob>,
    events: &UnboundedSender<DiskEvent>,
    log: &Sender<LogJob>,
) {
    let done = |ticket| DiskEvent::Done { tickets: vec![ticket], flushed: None };
    let failed = |error| DiskEvent::Failed { error, snapshot: false };
    let mut streams = Vec::new();
    while let Ok(job) = queue.recv() {
        let event = match job {
            SideJob::SaveAccepted(ticket, epoch) => {
                let saved = timed("accepted", || store.save_accepted(epoch));
                Some(saved.map_or_else(failed, |()| done(ticket)))
            }
            SideJob::SaveCurrent(ticket, epoch) => {
                let saved = timed("current", || store.save_current(epoch));
                Some(saved.map_or_else(failed, |()| done(ticket)))
            }
            SideJob::Locate(ticket, zxid) => {
                let at = store.locate(zxid).unwrap_or_else(|error| {
                    warn!(%error, "the log cannot be searched; the learner gets the whole state");
                    None
                });
                Some(DiskEvent::Located { ticket, at })
            }
            SideJob::Snapshot(job) => Some(snapshot(store, job, log)),
            SideJob::Stream(job) => {
                streams.retain(|stream: &JoinHandle<()>| !stream.is_finished());
                streams.extend(begin_stream(store, job));
                None
            }
            SideJob::Purge { retain } => {
                match store.purge(retain) {
                    Ok(purged) => {
                        info!(snapshots = purged.snapshots, logs = purged.logs, "purged");
                        None
                    }
                    // The folders are those of what was acknowledged (rule D-15).
                    Err(error @ Error::Sync { .. }) => Some(failed(error)),
                    Err(error) => {
                        warn!(%error, "cannot purge");
                        None
                    }
                }
            }
        };
        if event.is_some_and(|event| events.send(event).is_err()) {
            break;
        }
    }
    for stream in streams {
        // Nobody takes its pieces any more. A thread that panicked has said why.
        let _ = stream.join();
    }
}

/// Stores an epoch. Four of these follow one another before a new leader serves, so a slow disk shows here first.
fn timed<T>(which: &str, save: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let saved = save();
    let took = started.elapsed();
    if took > EPOCH_SLOW {
        warn!(which, ms = took.as_millis(), "storing an epoch took long");
    }
    saved
}

/// Writes a snapshot as its pieces come. One that breaks off leaves nothing.
fn snapshot<D: Disk>(store: &Store<D>, job: SnapshotJob, log: &Sender<LogJob>) -> DiskEvent {
    let started = Instant::now();
    let SnapshotJob { gentle, ticket, label, digest, number, chunks } = job;
    let asked = ticket.is_none() && !gentle;
    let size = match write(store, label, digest, (ticket.is_some(), gentle), chunks) {
        Ok(size) => size,
        // Who has asked hears of it, and nothing else depends on it; but a failed sync ends the server (rule D-15).
        Err(error) if asked && !matches!(error, Error::Sync { .. }) => {
            warn!(%error, "a snapshot that was asked for cannot be written");
            store.snapshots().discard();
            None
        }
        Err(error) => return DiskEvent::Failed { error, snapshot: true },
    };
    if let (Some(ticket), Some(_)) = (ticket, size) {
        // Until it stands in the place of the old state, the log cannot go on behind it.
        let _ = log.send(LogJob::Install { ticket, label });
    }
    DiskEvent::Saved { number, size, took: started.elapsed() }
}

fn write<D: Disk>(
    store: &Store<D>,
    label: Zxid,
    digest: i64,
    (received, gentle): (bool, bool),
    mut chunks: tokio::sync::mpsc::Receiver<super::SnapshotChunk>,
) -> Result<Option<u64>, Error> {
    let mut file = store.snapshots().begin(label)?;
    if gentle {
        file = file.gently();
    }
    while let Some(chunk) = chunks.blocking_recv() {
        file.write(&chunk.bytes)?;
        if chunk.last {
            let digest = Some(digest);
            return if received { file.commit_received(digest).map(Some) } else { file.commit(digest) };
        }
    }
    Ok(None)
}

/// Reads the log for a learner on a thread of its own: one with a slow link is not to hold up others, of which a quorum
/// may be waiting.
fn begin_stream<D: Disk>(store: &Store<D>, job: StreamJob) -> Option<JoinHandle<()>> {
    let store = store.clone();
    let begun = std::thread::Builder::new().name("stream".to_owned()).spawn(move || stream(&store, &job));
    // Without a thread there is no last piece, and the learner comes again.
    begun.inspect_err(|error| warn!(%error, "no thread to read the log for a learner")).ok()
}

/// Reads a part of the log for a learner, as fast as its link takes it.
fn stream<D: Disk>(store: &Store<D>, job: &StreamJob) {
    let StreamJob { after, through, pieces } = job;
    let mut range = match store.read(*after, *through) {
        Ok(range) => range,
        Err(error) => {
            let _ = pieces.blocking_send(Err(error));
            return;
        }
    };
    let mut piece = BytesMut::new();
    loop {
        match range.next() {
            Ok(Some((zxid, body))) => put_logged(zxid, body, &mut piece),
            Ok(None) => {
                let _ = pieces.blocking_send(Ok(LogPiece { packets: piece, last: true }));
                return;
            }
            Err(error) => {
                let _ = pieces.blocking_send(Err(error));
                return;
            }
        }
        if piece.len() >= PIECE_BYTES {
            let packets = std::mem::take(&mut piece);
            if pieces.blocking_send(Ok(LogPiece { packets, last: false })).is_err() {
                return;
            }
        }
    }
}
