//! What can be asked for, read out of words.

use bytes::Bytes;
use tree::{Acl, WatchChoice, WatchMode};

use crate::quota::Limits;

/// One command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// ls.
    List { path: String, stat: bool, watch: bool, recursive: bool },
    /// get.
    Get { path: String, stat: bool, watch: bool, form: Form },
    /// set.
    Set { path: String, data: Bytes, version: i32, stat: bool },
    /// create.
    Create { path: String, data: Option<Bytes>, acl: Vec<Acl>, how: client::Created },
    /// delete.
    Delete { path: String, version: i32 },
    /// deleteall.
    DeleteAll { path: String, batch: usize },
    /// stat.
    Stat { path: String, watch: bool },
    /// getAcl.
    GetAcl { path: String, stat: bool },
    /// setAcl.
    SetAcl { path: String, acl: Vec<Acl>, version: i32, stat: bool, recursive: bool },
    /// addauth.
    AddAuth { scheme: String, proof: Secret },
    /// sync.
    Sync { path: String },
    /// addWatch.
    AddWatch { path: String, mode: WatchMode },
    /// removewatches.
    RemoveWatches { path: String, which: WatchChoice, local: bool },
    /// printwatches.
    PrintWatches(Option<bool>),
    /// listquota.
    ListQuota { path: String },
    /// setquota.
    SetQuota { path: String, limits: Limits },
    /// delquota: of this kind, or all of it.
    DelQuota { path: String, which: Option<Limits> },
    /// getAllChildrenNumber.
    CountBelow { path: String },
    /// getEphemerals.
    Ephemerals { prefix: String },
    /// whoami.
    WhoAmI,
    /// config.
    Config { stat: bool, watch: bool, clients: bool },
    /// reconfig.
    Reconfig { change: client::Change, stat: bool },
    /// watch, ours.
    Watch { path: String, mode: WatchMode },
    /// version.
    Version,
    /// history.
    History,
    /// redo.
    Redo(usize),
    /// connect: to these servers, or to those of before.
    Connect(Option<client::Servers>),
    /// close.
    Close,
    /// quit.
    Quit,
    /// help: about one verb, or all.
    Help(Option<String>),
}

/// In which form data is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// As text.
    Plain,
    /// As base64.
    Base64,
    /// As rows of hexadecimal bytes.
    Hex,
}

/// What must not be printed.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret(pub(crate) Bytes);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A command, and what is to be said of how it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) command: Command,
    pub(crate) warnings: Vec<String>,
}

impl Command {
    /// Whether it changes something that stays.
    pub(crate) fn changes_nodes(&self) -> bool {
        matches!(
            self,
            Self::Set { .. }
                | Self::Create { .. }
                | Self::Delete { .. }
                | Self::DeleteAll { .. }
                | Self::SetAcl { .. }
                | Self::SetQuota { .. }
                | Self::DelQuota { .. }
                | Self::Reconfig { .. }
        )
    }

    /// Whether it needs a session.
    pub(crate) fn asks_a_server(&self) -> bool {
        !matches!(
            self,
            Self::Version
                | Self::Help(_)
                | Self::History
                | Self::Redo(_)
                | Self::PrintWatches(_)
                | Self::Close
                | Self::Quit
        )
    }
}
