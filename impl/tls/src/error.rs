//! What may be wrong with stores and settings.

use std::path::PathBuf;

use thiserror::Error;

/// Why there can be no TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A store is none, or does not have what it is there for.
    #[error("{}: {source}", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: StoreError,
    },
    /// The library does not take a key, a certificate or a choice.
    #[error("{what}: {source}")]
    Refused {
        /// What was tried.
        what: String,
        /// What it says.
        source: rustls::Error,
    },
    /// A store that is needed is not named.
    #[error("{0}")]
    Missing(&'static str),
}

/// What is wrong with a store.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// It is cut off, or was never one.
    #[error("{what} cannot be read: the file is cut off or damaged")]
    Malformed {
        /// What was being read.
        what: &'static str,
    },
    /// The password is wrong, or one is needed.
    #[error("the password does not open it, or the file is damaged")]
    Password,
    /// It is made in a way that is not read here.
    #[error("{what} is not read here; {advice}")]
    Unsupported {
        /// In which.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// Something that has to be there is not.
    #[error("{what}; {advice}")]
    Lacks {
        /// What.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
}
