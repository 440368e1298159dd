//! The whole state, to who may see all of it: the command `snapshot`.
//!
//! It is written to the data folder as any other snapshot, at the end of the transactions that were applied by then, and
//! goes out from there. Who asks has to prove an identity that may do everything to `/`, and the server gives it once in
//! a while only: writing it keeps the disk busy.
//!
//! Source: ZooKeeper `Commands.SnapshotCommand`.

use std::{
    io::{self, Read},
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Frame, SizeHint},
    header::AUTHORIZATION,
};
use spec::{Machine, Zxid};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};
use tree::{Acl, Credential, Identity, auth};

use super::Progress;
use crate::{
    core::{Core, Shared},
    net::java_ip,
    snapshots::Saving,
    view::Mode,
};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that may wait for their connection.
const PIECES_QUEUED: usize = 2;
/// How often is looked whether another snapshot has come to its end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a command is not carried out.
pub(super) type Refusal = (StatusCode, &'static str);

/// Whether who sends this may do everything to `/`: the header names a scheme, and what proves an identity in it.
pub(super) fn authorize(core: &Core, headers: &HeaderMap, from: IpAddr) -> Result<(), Refusal> {
    let missing = (StatusCode::UNAUTHORIZED, "Auth info is missing for the command");
    let unknown = (StatusCode::UNAUTHORIZED, "Not authenticated");
    let settings = &core.shell.config.settings;
    let header = headers.get(AUTHORIZATION).ok_or(missing)?;
    let words: Vec<_> = header.as_bytes().split(|byte| *byte == b' ').collect();
    let identities = match words[..] {
        [b"ip"] | [b"ip", _] => vec![Identity::ip(&java_ip(from))],
        [scheme, bytes] => {
            let scheme = String::from_utf8_lossy(scheme);
            let credential =
                Credential { scheme: (&*scheme).into(), bytes: bytes.to_vec().into(), sealed: false };
            // Who says nothing but which ensemble it looks for is nobody.
            auth::authenticate(settings, &[], &credential)
                .ok()
                .filter(|proved| !proved.is_empty())
                .ok_or(unknown)?
        }
        _ => return Err(unknown),
    };
    let list: &[Acl] = core.tree.acl("/").unwrap_or_default();
    let may = |bit: i32| auth::permits(list, 1 << bit, &identities);
    if settings.skip_acl || (0..5).all(may) { Ok(()) } else { Err((StatusCode::FORBIDDEN, "Not authorized")) }
}

/// A snapshot that stands in the data folder.
#[derive(Debug)]
pub(super) struct Whole {
    /// The last transaction in it.
    pub(super) last: Zxid,
    /// Its length in bytes.
    pub(super) size: u64,
    path: PathBuf,
}

impl Core {
    /// Whether a snapshot may be given out now; notes that it is.
    pub(super) fn may_give(&mut self) -> Result<(), Refusal> {
        let Some(admin) = self.shell.config.admin.as_ref().filter(|admin| admin.snapshots) else {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "snapshots are not given out: admin.snapshot.enabled=true turns that on",
            ));
        };
        if self.shell.mode() == Mode::ReadOnly {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "this server has no quorum: its state may hold what comes to nothing; ask one that serves writes",
            ));
        }
        let every = Duration::from_millis(u64::from(admin.snapshots_every_ms));
        let now = Instant::now();
        if self.shell.snapshots.given.is_some_and(|last| now.saturating_duration_since(last) < every) {
            self.shell.stats.snapshots_limited += 1;
            return Err((
                StatusCode::TOO_MANY_REQUESTS,
                "a snapshot was given out a short time ago: admin.rateLimiterIntervalInMS says how often that is done",
            ));
        }
        self.shell.snapshots.given = Some(now);
        Ok(())
    }

    /// Whether connections may be shed.
    pub(super) fn may_shed(&self) -> Result<(), Refusal> {
        let is_on = self.shell.config.admin.as_ref().is_some_and(|admin| admin.sheds);
        is_on.then_some(()).ok_or((
            StatusCode::SERVICE_UNAVAILABLE,
            "connections are not shed: zabkeeper.shedConnections=true turns that on",
        ))
    }

    /// Begins to write the state. None while another snapshot is being written.
    fn begin_whole(&mut self) -> Option<(Zxid, oneshot::Receiver<Option<u64>>)> {
        if self.shell.snapshots.is_busy() {
            return None;
        }
        let last = self.tree.last_processed();
        self.shell.begin_save(Saving::Asked, last, &mut self.tree);
        Some((last, self.shell.snapshots.awaited()))
    }
}

/// Has the state written, and waits until it is. `None` if that failed.
pub(super) async fn write(core: &Shared, progress: &Progress) -> Option<Whole> {
    let (last, mut saved) = loop {
        progress.goes_on();
        let serves = !matches!(core.borrow().shell.mode(), Mode::NotServing | Mode::ReadOnly);
        if !serves {
            // The state may hold what is about to be cut off the log.
            core.borrow_mut().shell.stats.snapshots_failed += 1;
            warn!("a snapshot that was asked for is not written: this server has no quorum any longer");
            return None;
        }
        if let Some(begun) = core.borrow_mut().begin_whole() {
            break begun;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let size = loop {
        tokio::select! {
            size = &mut saved => break size.ok().flatten(),
            () = tokio::time::sleep(Duration::from_millis(500)) => progress.goes_on(),
        }
    };
    let shell = &mut core.borrow_mut().shell;
    let Some(size) = size else {
        shell.stats.snapshots_failed += 1;
        warn!(
            "a snapshot that was asked for came to nothing: it could not be written, the log was cut, or the server changed its part"
        );
        return None;
    };
    info!(zxid = %last, bytes = size, "a snapshot was asked for, and is written");
    let path = storage::Layout::new(&shell.config.data_dir, None).snapshot(last, shell.config.files.packing);
    Some(Whole { last, size, path })
}

impl Whole {
    /// What is in it, to be sent.
    pub(super) fn body(self, progress: Progress) -> FileBody {
        let (sink, pieces) = mpsc::channel(PIECES_QUEUED);
        tokio::task::spawn_blocking(move || {
            let sent = read(&self.path, &sink);
            if let Err(error) = sent {
                let _ = sink.blocking_send(Err(error));
            }
        });
        FileBody { pieces, left: self.size, progress }
    }
}

fn read(path: &std::path::Path, sink: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let count = file.read(&mut piece)?;
        piece.truncate(count);
        // Nobody is there to take it any more.
        if count == 0 || sink.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
}

/// The bytes of a file, as they are read.
#[derive(Debug)]
pub(super) struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    progress: Progress,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.progress.goes_on();
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        if let Some(Ok(bytes)) = &piece {
            self.left = self.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
