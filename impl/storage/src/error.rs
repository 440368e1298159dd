//! What goes wrong with files.

use std::{
    io,
    path::{Path, PathBuf},
};

use protocol::recovery::Refusal;
use thiserror::Error;

/// What went wrong with a file. After an error of the log the process has to end: what is on disk is known again only
/// to the next start (rule D-15).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused an operation.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file system is full. Nothing that was reported as durable is affected.
    #[error("no space left to {doing} {path}; make space and start the server again")]
    OutOfSpace {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// A sync failed: what was written before may be lost, and the system may say otherwise when asked again.
    #[error(
        "cannot sync {path}, which may have lost what was written: {source}; the server has to start again"
    )]
    Sync {
        /// What was to be synced.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An operation on a log that has failed before.
    #[error("the log has failed before")]
    Failed,
    /// Another process uses the folder.
    #[error("{path} is in use by another server; stop that one first")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is missing that is not to be made.
    #[error(
        "{path} is missing, and zookeeper.datadir.autocreate is false: mount or make it, or let it be made by leaving \
         that out"
    )]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Files stand in the folder of others: the setting of one of the two was changed, and they were left behind.
    #[error(
        "{path} holds {found}, which belongs to {belongs}: dataDir and dataLogDir are not what they were; move the files \
         of the log to dataLogDir/version-2, and snapshots to dataDir/version-2"
    )]
    Misplaced {
        /// The folder.
        path: PathBuf,
        /// A file in it.
        found: String,
        /// Where such files stand.
        belongs: PathBuf,
    },
    /// The files do not allow a safe start.
    #[error("cannot start on {path}: {refusal}{}", told(.notes))]
    Refused {
        /// The folder.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
        /// What else was found on the way there, a line each.
        notes: Vec<String>,
    },
    /// The log reads without a gap, and does not make the state that its transactions tell of (rule D-17).
    #[error(
        "cannot start on {path}: from transaction {at} on the state that snapshot and log make is not the one that the log \
         tells of, so files are missing or were altered; restore them from a copy; if the other servers are well, move \
         this server's version-2 folders away and let it start empty: it is brought up to date by its leader; with \
         digest.enabled=false it starts on what there is"
    )]
    Diverged {
        /// The folder.
        path: PathBuf,
        /// The first transaction behind which it shows.
        at: spec::Zxid,
    },
    /// There is nothing to start from, but files that may be meant for it.
    #[error(
        "{path} holds {found}, which is no name of a snapshot or a file of the log, and nothing else to start from: give \
         it the name that it was written under (snapshot.1a, snapshot.1a.gz, log.1b), or move it away if this server is new"
    )]
    Misnamed {
        /// The folder.
        path: PathBuf,
        /// The file.
        found: String,
    },
    /// The folder of the log is missing, and the epochs say that there was one.
    #[error(
        "{path} is missing, and {epochs} is not: is the file system of dataLogDir mounted? Make the folder if the log is \
         lost and the snapshots are to be all there is"
    )]
    NoLogs {
        /// The folder of the log.
        path: PathBuf,
        /// A file that says that this server has worked here.
        epochs: PathBuf,
    },
    /// A record or snapshot whose checksum is right holds what this version does not know, or cannot be.
    #[error("{path} cannot be read at offset {at}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// About where, in bytes.
        at: u64,
        /// What is wrong.
        source: wire::Error,
    },
    /// A small text file that does not hold what it should.
    #[error("{path} holds {found:?}, not {wanted}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What it holds, shortened.
        found: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The log does not hold a transaction that was asked for.
    #[error(
        "the log in {path} has no transaction behind {after}, though one through {through} was asked for"
    )]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The last that was found.
        after: spec::Zxid,
        /// The last that was asked for.
        through: spec::Zxid,
    },
}

impl Error {
    /// Whether a start may go well later although nobody looks after the files: another process has them, the disk is
    /// full, or the system failed where it does not say that the folder is wrong.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::OutOfSpace { .. } | Self::Sync { .. } | Self::Failed | Self::Locked { .. } => true,
            Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
            ),
            Self::NoFolder { .. }
            | Self::Misplaced { .. }
            | Self::Refused { .. }
            | Self::Diverged { .. }
            | Self::Misnamed { .. }
            | Self::NoLogs { .. }
            | Self::Unreadable { .. }
            | Self::Text { .. }
            | Self::Missing { .. } => false,
        }
    }
}

/// Notes behind a sentence.
fn told(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) }
}

/// Says what was tried on which file.
pub(crate) trait Context<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, Error>;
    /// For a sync, which is never tried again.
    fn synced(self, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| {
            let path = path.into();
            if is_full(&source) {
                Error::OutOfSpace { doing, path }
            } else {
                Error::Io { doing, path, source }
            }
        })
    }

    fn synced(self, path: &Path) -> Result<T, Error> {
        // Also of a full disk: what was written before may be lost all the same.
        self.map_err(|source| Error::Sync { path: path.into(), source })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
