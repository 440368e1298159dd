//! The error codes that a client may see.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// Why a request failed, as the client's protocol numbers it. Success is no error and has no code here.
        ///
        /// Source: ZooKeeper `KeeperException.Code`.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum ErrorCode { $($(#[$doc])* $name = $value,)* }

        impl ErrorCode {
            /// The code with this number, if there is one.
            pub fn from_number(number: i32) -> Option<Self> {
                match number { $($value => Some(Self::$name),)* _ => None }
            }

            /// The number on the wire, always negative.
            pub fn number(self) -> i32 {
                self as i32
            }
        }
    };
}

codes! {
    /// A server fault without a better name; never sent deliberately.
    SystemError = -1,
    /// A slot of a failed multi behind the one that failed.
    RuntimeInconsistency = -2,
    /// A request body that does not decode.
    MarshallingError = -5,
    /// An operation that this server does not offer.
    Unimplemented = -6,
    /// An argument that is out of its allowed range, such as a malformed path.
    BadArguments = -8,
    /// The node, or the parent of a node to create, does not exist.
    NoNode = -101,
    /// The access control list does not allow it.
    NoAuth = -102,
    /// The version given is not the current one.
    BadVersion = -103,
    /// An ephemeral node cannot have children.
    NoChildrenForEphemerals = -108,
    /// The node to create exists.
    NodeExists = -110,
    /// The node to delete has children.
    NotEmpty = -111,
    /// The session is closed, or about to be.
    SessionExpired = -112,
    /// The access control list to set is not valid.
    InvalidAcl = -114,
    /// The credentials were refused.
    AuthFailed = -115,
    /// The session has moved to another server.
    SessionMoved = -118,
    /// A write reached a read-only server.
    NotReadOnly = -119,
    /// No such watch is registered.
    NoWatcher = -121,
    /// The list of servers is not to be changed by a request.
    ReconfigDisabled = -123,
    /// The operator demands that connections prove an identity, and this one has not, or could not.
    SessionClosedRequireAuth = -124,
    /// The quota of a subtree is used up.
    QuotaExceeded = -125,
    /// The request waited too long behind others, and was not carried out.
    Throttled = -127,
}
