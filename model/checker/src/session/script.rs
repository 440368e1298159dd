//! What clients do: a thing worth watching, and a look at what came of it.

use bytes::Bytes;
use protocol::peer::ClientRequest;
use serde::{Deserialize, Serialize};
use tree::{Acl, CreateRequest, Identity, Read, Text, Tree, Write, acl::ALL};

/// The node that everything is about.
pub(super) const NODE: &str = "/n";
/// The one below it that ephemerals and multis both want.
const WANTED: &str = "/n/e";

/// The scheme of what is proved.
pub(super) const SCHEME: &str = "sasl";
/// What is told to somebody who has proved who it is.
pub(super) const TOKEN: &[u8] = b"proved";

/// The containers, if there are any.
pub(super) const CONTAINERS: [&str; 2] = ["/b", "/c"];

/// Creates the node, whatever its parent.
const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;
const CONTAINER: i32 = 4;

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
    /// Creates the ephemeral that the other client may create and give up with its session.
    Succeed,
    /// Creates a node in a container of its own, and looks there.
    Shelter,
    /// Sets the node's data twice: the order of the two is what counts.
    SetTwice,
    /// Syncs twice, the second time while the first may be under way.
    SyncTwice,
    /// Syncs, and sets the node's data behind that, which waits for the sync at its server.
    SyncSet,
    /// Proves an identity, which is demanded of everybody then, and sets the node's data.
    Prove,
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
            Self::Shelter => {
                let container = CONTAINERS[usize::from(client) - 1];
                return vec![
                    write(create(&format!("{container}/x"), 0, client)),
                    ClientRequest::Read(Read::GetChildren { path: container.into(), watch: false }),
                ];
            }
            Self::Sync => vec![sync()],
            Self::SyncTwice => vec![sync(), sync()],
            Self::SyncSet => vec![sync(), write(set(client))],
            Self::Prove => vec![proof(client), write(set(client))],
            Self::Succeed => vec![write(create(&own(3 - client), EPHEMERAL, client))],
            Self::Close => return vec![write(create(&own(client), EPHEMERAL, client)), ClientRequest::Close],
        };
        requests.push(ClientRequest::Read(Read::GetData { path: NODE.into(), watch: false }));
        requests
    }
}

/// The ephemeral of a client that closes.
fn own(client: u8) -> String {
    format!("/n/o{client}")
}

fn write(write: Write) -> ClientRequest<Tree> {
    ClientRequest::Write(write)
}

/// The last step of a mechanism, as a server's shell hands it on.
fn proof(client: u8) -> ClientRequest<Tree> {
    let id = Text::from(format!("user{client}"));
    let proves = vec![Identity { scheme: Text::from_static(SCHEME), id }];
    ClientRequest::Exchange { answer: Some(TOKEN.to_vec()), proves }
}

fn sync() -> ClientRequest<Tree> {
    ClientRequest::Sync(NODE.as_bytes().to_vec())
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
        request: CreateRequest::Create,
    }
}

/// What makes the containers, each of which has had a child.
pub(super) fn containers() -> impl Iterator<Item = Write> {
    CONTAINERS.iter().flat_map(|at| {
        let container = Write::Create {
            path: Text::from_static(at),
            data: None,
            acl: vec![Acl::world(ALL)],
            flags: CONTAINER,
            request: CreateRequest::Container,
        };
        let child = format!("{at}/0");
        [container, create(&child, 0, 0), Write::Delete { path: Text::from(child), version: -1 }]
    })
}
