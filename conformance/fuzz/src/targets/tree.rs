//! What clients ask, carried out: a request that reads must be answered, whatever it asks.

use bytes::Bytes;
use protocol::peer::ClientRequest;
use spec::{
    ClientId, Machine, SessionId, Zxid,
    machine::{Author, Reader},
};
use tree::{Identity, Settings, Tree, Txn, Write};
use wire::{
    Decoder,
    client::decode_request,
    log::{decode_body, put_body},
    record::CLIENT_FRAME_BYTES_MAX,
};

use super::{client::frames, peer};

/// So many requests are carried out.
const REQUESTS_MAX: usize = 64;
/// Between two writes, in milliseconds.
const STEP_MS: i64 = 40_000;

/// A leader's tree and a follower's, which gets every transaction as bytes.
#[derive(Default)]
struct Pair {
    settings: Settings,
    leader: Tree,
    follower: Tree,
    outstanding: <Tree as Machine>::Outstanding,
    watches: [<Tree as Machine>::Watches; 2],
    identities: Vec<Identity>,
    last: u64,
    time: i64,
}

const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);
const CLIENT: ClientId = ClientId(1);

/// Frames of a client, behind a byte that chooses among settings.
pub(super) fn carry_out(bytes: &[u8]) {
    let Some((choice, stream)) = bytes.split_first() else { return };
    let mut pair = Pair { settings: settings(*choice), ..Pair::default() };
    pair.commit(|pair, author, zxid| {
        pair.leader.prepare_create_session(&mut pair.outstanding, author, zxid, 30_000)
    });
    for payload in frames(stream).take(REQUESTS_MAX) {
        let payload = Bytes::copy_from_slice(payload);
        let mut input = Decoder::shared(&payload, CLIENT_FRAME_BYTES_MAX);
        let Ok((_, request)) = decode_request::<Tree>(&mut input) else { break };
        pair.carry_out(request);
    }
    for write in pair.leader.due(&pair.settings, pair.time, 100) {
        pair.write(&write);
    }
    pair.compare();
}

fn settings(choice: u8) -> Settings {
    Settings {
        ttl_nodes: choice & 1 == 0,
        enforce_quota: choice & 2 == 0,
        skip_acl: choice & 4 == 0,
        ..Settings::default()
    }
}

impl Pair {
    fn carry_out(&mut self, request: ClientRequest<Tree>) {
        match request {
            ClientRequest::Write(write) => self.write(&write),
            ClientRequest::Read(read) => {
                let (settings, identities) = (&self.settings, &self.identities[..]);
                let reader = Reader { client: CLIENT, session: SESSION, identities, settings };
                let [of_leader, of_follower] = &mut self.watches;
                let answer = self.leader.read(&read, reader, of_leader, &mut |_, _| {});
                let same = self.follower.read(&read, reader, of_follower, &mut |_, _| {});
                assert_eq!(format!("{answer:?}"), format!("{same:?}"), "another answer");
            }
            ClientRequest::Authenticate(credential) => {
                if let Ok(proved) = Tree::authenticate(&self.settings, &self.identities, &credential) {
                    self.identities.extend(proved);
                }
            }
            ClientRequest::Close => self.commit(|pair, author, zxid| {
                pair.leader.prepare_close_session(&mut pair.outstanding, author, zxid)
            }),
            ClientRequest::Ping
            | ClientRequest::Sync(_)
            | ClientRequest::Exchange { .. }
            | ClientRequest::Refused { .. } => {}
        }
    }

    fn write(&mut self, write: &Write) {
        self.commit(|pair, author, zxid| {
            pair.leader.prepare(&pair.settings, &mut pair.outstanding, author, zxid, write)
        });
    }

    fn commit(&mut self, prepare: impl FnOnce(&mut Self, Author<'_, Identity>, Zxid) -> Txn) {
        self.last += 1;
        self.time += STEP_MS;
        let zxid = Zxid(0x1_0000_0000 + self.last);
        let identities = self.identities.clone();
        let author = Author { session: SESSION, xid: 1, identities: &identities, time: self.time };
        let txn = prepare(self, author, zxid);
        let mut body = Vec::new();
        put_body(zxid, &txn, &mut body);
        let read = decode_body(&mut Decoder::new(&body, usize::MAX)).expect("what is logged reads");
        assert_eq!(read, (zxid, txn), "another transaction");
        let [of_leader, of_follower] = &mut self.watches;
        let outcome = self.leader.apply(zxid, &read.1, of_leader, &mut |_, _| {});
        self.leader.settle(&mut self.outstanding, zxid);
        let same = self.follower.apply(zxid, &read.1, of_follower, &mut |_, _| {});
        assert_eq!(outcome, same, "another outcome");
    }

    fn compare(&mut self) {
        assert_eq!(self.leader, self.follower, "another tree");
        let loaded = peer::read(&peer::written(&mut self.leader)).expect("a snapshot loads");
        assert_eq!(loaded.digest(), self.follower.digest(), "another digest behind a snapshot");
        assert_eq!(loaded.sessions(), self.follower.sessions(), "other sessions behind a snapshot");
    }
}
