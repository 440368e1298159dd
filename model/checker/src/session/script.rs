//! What clients do: a thing worth watching, and a look at what came of it.

use bytes::Bytes;
use protocol::peer::ClientRequest;
use serde::{Deserialize, Serialize};
use tree::{Acl, Read, Text, Tree, Write, acl::ALL};

/// The node that everything is about.
pub(super) const NODE: &str = "/n";
/// The one below it that ephemerals and multis both want.
const WANTED: &str = "/n/e";

/// Creates the node, whatever its parent.
const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// What a client does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Creates an ephemeral that the other client may have created.
    Create,
    /// Sets the node's data.
    Set,
    /// Reads the node's data and its children, leaves a watch on both, and sets the data.
    Watch,
    /// Sets the node's data, creates a sequential node and the node that ephemerals want too, or none of these.
    Multi,
    /// Syncs.
    Sync,
    /// Creates an ephemeral of its own, and closes the session behind it.
    Close,
    /// Sets the node's data twice: the order of the two is what counts.
    SetTwice,
}

/// The deeds of which each pair is searched.
pub const DEEDS: [Deed; 6] = [Deed::Create, Deed::Set, Deed::Watch, Deed::Multi, Deed::Sync, Deed::Close];

impl Deed {
    /// The requests, in order; the last one looks at the node's data, unless the session is closed.
    pub fn requests(self, client: u8) -> Vec<ClientRequest<Tree>> {
        let mut requests = match self {
            Self::Create => vec![write(create(WANTED, EPHEMERAL, client))],
            Self::Set => vec![write(set(client))],
            Self::SetTwice => vec![write(set(client)), write(set(client))],
            Self::Watch => vec![
                ClientRequest::Read(Read::GetData { path: NODE.into(), watch: true }),
                ClientRequest::Read(Read::GetChildren { path: NODE.into(), watch: true }),
                write(set(client)),
            ],
            Self::Multi => vec![write(Write::Multi(vec![
                set(client),
                create("/n/s-", SEQUENTIAL, client),
                create(WANTED, 0, client),
            ]))],
            Self::Sync => vec![ClientRequest::Sync(NODE.as_bytes().to_vec())],
            Self::Close => {
                let own = create(&format!("/n/o{client}"), EPHEMERAL, client);
                return vec![write(own), ClientRequest::Close];
            }
        };
        requests.push(ClientRequest::Read(Read::GetData { path: NODE.into(), watch: false }));
        requests
    }
}

fn write(write: Write) -> ClientRequest<Tree> {
    ClientRequest::Write(write)
}

fn data(client: u8) -> Bytes {
    Bytes::from(vec![b'0' + client])
}

fn set(client: u8) -> Write {
    Write::SetData { path: NODE.into(), data: Some(data(client)), version: -1 }
}

/// Creates a node with this data.
pub(super) fn create(path: &str, flags: i32, client: u8) -> Write {
    Write::Create {
        path: Text::from(path),
        data: Some(data(client)),
        acl: vec![Acl::world(ALL)],
        flags,
        stat: false,
    }
}
