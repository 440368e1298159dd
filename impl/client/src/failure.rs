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

    /// The name of this failure for programs, which stays: that of ZooKeeper's exception, without "Exception", where
    /// there is one.
    pub fn code_name(&self) -> &'static str {
        match self {
            Self::Server(number) => {
                CODES.iter().find(|(of, _, _)| of == number).map_or("Unknown", |(_, name, _)| *name)
            }
            Self::ConnectionLoss(_) | Self::Unreachable(_) => CONNECTION_LOSS,
            Self::SessionExpired => SESSION_EXPIRED,
            Self::Closed => "SessionClosed",
            Self::Interrupted => "Interrupted",
            Self::Unproved(_) => AUTH_FAILED,
            Self::Malformed(_) => MARSHALLING_ERROR,
        }
    }

    /// The name of this failure in messages, as ZooKeeper's clients have it.
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

/// Every error of a server's: its number, its stable name, and what ZooKeeper's clients call it in their messages.
///
/// Source: ZooKeeper's exceptions of `KeeperException`, and its `getCodeMessage`.
const CODES: &[(i32, &str, &str)] = &[
    (-1, "SystemError", "SystemError"),
    (-2, "RuntimeInconsistency", "RuntimeInconsistency"),
    (-3, "DataInconsistency", "DataInconsistency"),
    (-4, CONNECTION_LOSS, "ConnectionLoss"),
    (-5, MARSHALLING_ERROR, "MarshallingError"),
    (-6, "Unimplemented", "Unimplemented"),
    (-7, "OperationTimeout", "OperationTimeout"),
    (-8, "BadArguments", "BadArguments"),
    (-13, "NewConfigNoQuorum", "NewConfigNoQuorum"),
    (-14, "ReconfigInProgress", "ReconfigInProgress"),
    (-100, "APIError", "APIError"),
    (-101, "NoNode", "NoNode"),
    (-102, "NoAuth", "NoAuth"),
    (-103, "BadVersion", "BadVersion"),
    (-108, "NoChildrenForEphemerals", "NoChildrenForEphemerals"),
    (-110, "NodeExists", "NodeExists"),
    (-111, "NotEmpty", "Directory not empty"),
    (-112, SESSION_EXPIRED, "Session expired"),
    (-114, "InvalidACL", "InvalidACL"),
    (-115, AUTH_FAILED, "AuthFailed"),
    (-118, "SessionMoved", "Session moved"),
    (-119, "NotReadOnly", "Not a read-only call"),
    (-120, "EphemeralOnLocalSession", "Ephemeral node on local session"),
    (-121, "NoWatcher", "No such watcher"),
    (-123, "ReconfigDisabled", "Reconfig is disabled"),
    (-124, "SessionClosedRequireAuth", "Session closed because client failed to authenticate"),
    (-125, "QuotaExceeded", "Quota has exceeded"),
    (-127, "ThrottledOp", "Op throttled due to high load"),
];

/// Names that failures without an answer share with a server's errors.
const CONNECTION_LOSS: &str = "ConnectionLoss";
const MARSHALLING_ERROR: &str = "MarshallingError";
const SESSION_EXPIRED: &str = "SessionExpired";
const AUTH_FAILED: &str = "AuthFailed";

/// What ZooKeeper's clients call an error with this number.
///
/// Source: ZooKeeper `KeeperException.getCodeMessage`.
pub fn code_words(number: i32) -> String {
    let known = CODES.iter().find(|(of, _, _)| *of == number);
    known.map_or_else(|| format!("Unknown error {number}"), |(_, _, words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_one_word() {
        let names: BTreeSet<_> = CODES.iter().map(|(_, name, _)| *name).collect();
        assert_eq!(names.len(), CODES.len(), "none stands for two");
        for name in names {
            assert!(name.chars().all(|letter| letter.is_ascii_alphabetic()), "{name}");
        }
        for code in (-200..0).filter_map(ErrorCode::from_number) {
            assert_ne!(Failure::Server(code.number()).code_name(), "Unknown", "{code:?}");
        }
        assert_eq!(Failure::Server(-99).code_name(), "Unknown");
        assert_eq!(code_words(-99), "Unknown error -99");
    }

    #[test]
    fn a_failure_is_called_as_the_code_that_says_the_same() {
        let rows = [
            (Failure::SessionExpired, -112),
            (Failure::ConnectionLoss("x".to_owned()), -4),
            (Failure::Unreachable("x".to_owned()), -4),
            (Failure::Unproved("x".to_owned()), -115),
            (Failure::Malformed("x".to_owned()), -5),
        ];
        for (failure, number) in rows {
            assert_eq!(failure.code_name(), Failure::Server(number).code_name());
        }
    }
}
