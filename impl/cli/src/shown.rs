//! What a command has to show, before it is text or JSON.

use bytes::Bytes;
use tree::{Acl, Identity, Stat};

use tree::quota::Figures;

use crate::command::Form;

/// One thing to show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    /// The names of children.
    Children { names: Vec<String>, stat: Option<Stat> },
    /// A node below, of ls -R.
    Path(String),
    /// What a node holds.
    Data { data: Option<Bytes>, form: Form, stat: Option<Stat> },
    /// A Stat alone.
    Stat(Stat),
    /// Who may do what.
    Acl { list: Vec<Acl>, stat: Option<Stat> },
    /// A node was created.
    Created(String),
    /// sync is through.
    Synced,
    /// How many nodes there are.
    Count(i32),
    /// Ephemerals of the session.
    Ephemerals(Vec<String>),
    /// Whom the server takes the client for.
    Identities(Vec<Identity>),
    /// A quota's limits, or with `used` what is used of them.
    Quota { path: String, figures: Figures, used: bool },
    /// A configuration that was committed.
    Committed { data: Option<Bytes>, stat: Option<Stat> },
    /// Whether events are printed.
    PrintWatches(bool),
    /// The last commands.
    History(Vec<(usize, String)>),
    /// The version of this client.
    Version(String),
    /// Help, or another text for a reader.
    Text(String),
    /// Something on the side, which goes to standard error.
    Aside(String),
}
