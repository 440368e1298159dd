//! Why a request has no answer.

use spec::ErrorCode;
use thiserror::Error;

/// Why a request has no answer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Failure {
    /// The server says no, with this number.
    #[error("{}", code_words(*.0))]
    Server(i32),
    /// The connection ended before the answer, or there is none: whether the request was carried out is unknown.
    #[error("ConnectionLoss: {0}")]
    ConnectionLoss(String),
    /// No server was reached; nothing was asked.
    #[error("ConnectionLoss: {0}")]
    Unreachable(String),
    /// The session is over; its ephemerals and watches are gone.
    #[error("Session expired")]
    SessionExpired,
    /// The session was closed from this side.
    #[error("Session closed")]
    Closed,
    /// The one who asks was told not to wait.
    #[error("interrupted")]
    Interrupted,
    /// It is not proved to the server who this is, or to this client who the server is.
    #[error("AuthFailed: {0}")]
    Unproved(String),
    /// The answer is not what was asked for.
    #[error("the server's answer cannot be read: {0}")]
    Malformed(String),
}

impl Failure {
    /// Bytes that are no answer.
    pub(crate) fn malformed(error: &wire::Error) -> Self {
        Self::Malformed(error.to_string())
    }

    /// The server's code, if it is one that this version knows.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server(number) => ErrorCode::from_number(*number),
            Self::SessionExpired => Some(ErrorCode::SessionExpired),
            Self::Unproved(_) => Some(ErrorCode::AuthFailed),
            Self::ConnectionLoss(_)
            | Self::Unreachable(_)
            | Self::Closed
            | Self::Interrupted
            | Self::Malformed(_) => None,
        }
    }

    /// The name of this failure, as ZooKeeper's clients have it.
    pub fn name(&self) -> String {
        match self {
            Self::Server(number) => code_words(*number),
            Self::ConnectionLoss(_) | Self::Unreachable(_) => "ConnectionLoss".to_owned(),
            Self::SessionExpired => "Session expired".to_owned(),
            Self::Closed => "Session closed".to_owned(),
            Self::Interrupted => "Interrupted".to_owned(),
            Self::Unproved(_) => "AuthFailed".to_owned(),
            Self::Malformed(_) => "MarshallingError".to_owned(),
        }
    }
}

/// What ZooKeeper's clients call an error with this number.
///
/// Source: ZooKeeper `KeeperException.getCodeMessage`.
pub fn code_words(number: i32) -> String {
    let words = match number {
        -1 => "SystemError",
        -2 => "RuntimeInconsistency",
        -3 => "DataInconsistency",
        -4 => "ConnectionLoss",
        -5 => "MarshallingError",
        -6 => "Unimplemented",
        -7 => "OperationTimeout",
        -8 => "BadArguments",
        -13 => "NewConfigNoQuorum",
        -14 => "ReconfigInProgress",
        -100 => "APIError",
        -101 => "NoNode",
        -102 => "NoAuth",
        -103 => "BadVersion",
        -108 => "NoChildrenForEphemerals",
        -110 => "NodeExists",
        -111 => "Directory not empty",
        -112 => "Session expired",
        -114 => "InvalidACL",
        -115 => "AuthFailed",
        -118 => "Session moved",
        -119 => "Not a read-only call",
        -120 => "Ephemeral node on local session",
        -121 => "No such watcher",
        -123 => "Reconfig is disabled",
        -124 => "Session closed because client failed to authenticate",
        -125 => "Quota has exceeded",
        -127 => "Op throttled due to high load",
        other => return format!("Unknown error {other}"),
    };
    words.to_owned()
}
