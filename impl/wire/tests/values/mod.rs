//! Arbitrary values of everything that has bytes.

#![allow(dead_code, reason = "each test uses its part")]

use bytes::Bytes;
use proptest::{array, collection::vec, option, prelude::*};
use protocol::{
    Message, Notification, ServerState, Vote,
    peer::{ClientRequest, Op, Packet, Request},
};
use spec::{Epoch, ServerId, SessionId, Zxid};
use tree::{
    Acl, CreateKind, CreateRequest, CreateTxn, Credential, Identity, Outcome, Read, Stat, StatPersisted,
    Text, Tree, Txn, TxnBody, TxnDigest, WatchChoice, WatchMode, Write,
};
use wire::{
    client::{ConnectRequest, ConnectResponse},
    notification::Hello,
};

pub(crate) fn text() -> impl Strategy<Value = Text> {
    ".{0,12}".prop_map(Text::from)
}

pub(crate) fn data() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..24).prop_map(Bytes::from))
}

pub(crate) fn zxid() -> impl Strategy<Value = Zxid> {
    any::<u64>().prop_map(Zxid)
}

pub(crate) fn epoch() -> impl Strategy<Value = Epoch> {
    // The last one would read as −1, which says that there is none.
    (0..u32::MAX).prop_map(Epoch)
}

pub(crate) fn session() -> impl Strategy<Value = SessionId> {
    any::<i64>().prop_map(SessionId)
}

pub(crate) fn acl() -> impl Strategy<Value = Vec<Acl>> {
    vec((any::<i32>(), text(), text()).prop_map(|(perms, scheme, id)| Acl { perms, scheme, id }), 0..4)
}

pub(crate) fn identities() -> impl Strategy<Value = Vec<Identity>> {
    vec((text(), text()).prop_map(|(scheme, id)| Identity { scheme, id }), 0..4)
}

pub(crate) fn stat() -> impl Strategy<Value = Stat> {
    (any::<[i64; 6]>(), any::<[i32; 5]>()).prop_map(|(long, int)| Stat {
        czxid: long[0],
        mzxid: long[1],
        ctime: long[2],
        mtime: long[3],
        version: int[0],
        cversion: int[1],
        aversion: int[2],
        ephemeral_owner: long[4],
        data_length: int[3],
        num_children: int[4],
        pzxid: long[5],
    })
}

pub(crate) fn stat_persisted() -> impl Strategy<Value = StatPersisted> {
    (any::<[i64; 6]>(), any::<[i32; 3]>()).prop_map(|(long, int)| StatPersisted {
        czxid: long[0],
        mzxid: long[1],
        ctime: long[2],
        mtime: long[3],
        version: int[0],
        cversion: int[1],
        aversion: int[2],
        ephemeral_owner: long[4],
        pzxid: long[5],
    })
}

fn create_request() -> impl Strategy<Value = CreateRequest> {
    prop_oneof![
        Just(CreateRequest::Create),
        Just(CreateRequest::Create2),
        Just(CreateRequest::Container),
        any::<i64>().prop_map(|ttl_ms| CreateRequest::Ttl { ttl_ms }),
    ]
}

/// What may be part of a multi.
fn part() -> impl Strategy<Value = Write> {
    prop_oneof![
        (text(), data(), acl(), any::<i32>(), create_request())
            .prop_map(|(path, data, acl, flags, request)| Write::Create { path, data, acl, flags, request }),
        (text(), any::<i32>()).prop_map(|(path, version)| Write::Delete { path, version }),
        (text(), data(), any::<i32>()).prop_map(|(path, data, version)| Write::SetData {
            path,
            data,
            version
        }),
    ]
}

pub(crate) fn write() -> impl Strategy<Value = Write> {
    let check = (text(), any::<i32>()).prop_map(|(path, version)| Write::Check { path, version });
    prop_oneof![
        3 => part(),
        1 => (text(), acl(), any::<i32>()).prop_map(|(path, acl, version)| Write::SetAcl { path, acl, version }),
        1 => vec(prop_oneof![3 => part(), 1 => check], 0..4).prop_map(Write::Multi),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    let named = |make: fn(Text, bool) -> Read| {
        (text(), any::<bool>()).prop_map(move |(path, watch)| make(path, watch))
    };
    prop_oneof![
        named(|path, watch| Read::GetData { path, watch }),
        named(|path, watch| Read::Exists { path, watch }),
        named(|path, watch| Read::GetChildren { path, watch }),
        named(|path, watch| Read::GetChildren2 { path, watch }),
        text().prop_map(|path| Read::GetAcl { path }),
        text().prop_map(|prefix| Read::GetEphemerals { prefix }),
        text().prop_map(|path| Read::GetAllChildrenNumber { path }),
        Just(Read::WhoAmI),
        vec(read_of_many(), 0..4).prop_map(Read::Multi),
        (text(), 0..2).prop_map(|(path, mode)| {
            Read::AddWatch { path, mode: WatchMode::from_number(mode).expect("there are two") }
        }),
        (text(), choice()).prop_map(|(path, which)| Read::CheckWatches { path, which }),
        (text(), choice()).prop_map(|(path, which)| Read::RemoveWatches { path, which }),
        (zxid(), array::uniform5(vec(text(), 0..3))).prop_map(
            |(relative, [data, exist, child, persistent, recursive])| Read::SetWatches {
                relative,
                data,
                exist,
                child,
                persistent,
                recursive,
            }
        ),
    ]
}

fn read_of_many() -> impl Strategy<Value = Read> {
    prop_oneof![
        text().prop_map(|path| Read::GetData { path, watch: false }),
        text().prop_map(|path| Read::GetChildren { path, watch: false }),
    ]
}

fn choice() -> impl Strategy<Value = WatchChoice> {
    (1..=5).prop_map(|number| WatchChoice::from_number(number).expect("there are five"))
}

pub(crate) fn request() -> impl Strategy<Value = ClientRequest<Tree>> {
    prop_oneof![
        1 => Just(ClientRequest::Ping),
        1 => Just(ClientRequest::Close),
        1 => text().prop_map(|path| ClientRequest::Sync(path.as_bytes().to_vec())),
        1 => (text(), vec(any::<u8>(), 0..24)).prop_map(|(scheme, bytes)| {
            ClientRequest::Authenticate(Credential { scheme, bytes: Bytes::from(bytes), sealed: false })
        }),
        4 => read().prop_map(ClientRequest::Read),
        4 => write().prop_map(ClientRequest::Write),
    ]
}

pub(crate) fn connect_request() -> impl Strategy<Value = ConnectRequest> {
    // Below 0 it stands for none.
    let seen = zxid().prop_map(|zxid| Zxid(zxid.0 >> 1));
    (any::<i32>(), seen, any::<i32>(), session(), any::<[u8; 16]>(), any::<Option<bool>>()).prop_map(
        |(protocol_version, last_seen, timeout_ms, session, password, read_only)| ConnectRequest {
            protocol_version,
            last_seen,
            timeout_ms,
            session,
            password,
            read_only,
        },
    )
}

pub(crate) fn connect_response() -> impl Strategy<Value = ConnectResponse> {
    (any::<i32>(), any::<i32>(), session(), any::<[u8; 16]>(), any::<Option<bool>>()).prop_map(
        |(protocol_version, timeout_ms, session, password, read_only)| ConnectResponse {
            protocol_version,
            timeout_ms,
            session,
            password,
            read_only,
        },
    )
}

/// The results of a multi, of parts that may be in one.
pub(crate) fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    let one = prop_oneof![
        text().prop_map(|path| Outcome::Create { path }),
        (text(), stat()).prop_map(|(path, stat)| Outcome::Create2 { path, stat }),
        Just(Outcome::Delete),
        Just(Outcome::Check),
        stat().prop_map(Outcome::SetData),
        any::<i32>().prop_map(|code| Outcome::Error { code }),
    ];
    vec(one, 0..5)
}

fn create() -> impl Strategy<Value = CreateTxn> {
    let kind = prop_oneof![
        any::<bool>().prop_map(|ephemeral| CreateKind::Create { ephemeral }),
        any::<bool>().prop_map(|ephemeral| CreateKind::Create2 { ephemeral }),
        Just(CreateKind::Container),
        any::<i64>().prop_map(|ttl_ms| CreateKind::Ttl { ttl_ms }),
    ];
    (kind, text(), data(), acl(), any::<i32>()).prop_map(|(kind, path, data, acl, parent_cversion)| {
        CreateTxn { kind, path, data, acl, parent_cversion }
    })
}

fn single_body() -> impl Strategy<Value = TxnBody> {
    prop_oneof![
        create().prop_map(TxnBody::Create),
        (text(), any::<bool>()).prop_map(|(path, sweep)| TxnBody::Delete { path, sweep }),
        (text(), data(), any::<i32>(), any::<bool>())
            .prop_map(|(path, data, version, reconfig)| TxnBody::SetData { path, data, version, reconfig }),
        (text(), acl(), any::<i32>()).prop_map(|(path, acl, version)| TxnBody::SetAcl { path, acl, version }),
        (text(), any::<i32>()).prop_map(|(path, version)| TxnBody::Check { path, version }),
        any::<i32>().prop_map(|code| TxnBody::Error { code }),
    ]
}

pub(crate) fn txn() -> impl Strategy<Value = Txn> {
    let body = prop_oneof![
        4 => single_body(),
        1 => vec(single_body(), 0..4).prop_map(TxnBody::Multi),
        1 => any::<i32>().prop_map(|timeout_ms| TxnBody::CreateSession { timeout_ms }),
        1 => option::of(vec(text(), 0..4)).prop_map(|ephemerals| TxnBody::CloseSession { ephemerals }),
    ];
    // A digest of 0 behind a closing without paths would read as two empty paths, as it does in Apache ZooKeeper.
    let digest = any::<i64>().prop_map(|tree| TxnDigest { version: 2, tree: tree | 1 });
    (session(), any::<i32>(), any::<i64>(), body, option::of(digest))
        .prop_map(|(session, cxid, time, body, digest)| Txn { session, cxid, time, body, digest })
}

fn message() -> impl Strategy<Value = Message<Txn>> {
    prop_oneof![
        (epoch(), any::<bool>())
            .prop_map(|(accepted, extended)| Message::FollowerInfo { accepted, extended }),
        (epoch(), any::<bool>())
            .prop_map(|(accepted, extended)| Message::ObserverInfo { accepted, extended }),
        (epoch(), any::<bool>()).prop_map(|(epoch, extended)| Message::LeaderInfo { epoch, extended }),
        (option::of(epoch()), zxid(), zxid()).prop_map(|(current, last, floor)| Message::AckEpoch {
            current,
            last,
            floor
        }),
        zxid().prop_map(|last| Message::Diff { last }),
        zxid().prop_map(|last| Message::Trunc { last }),
        (zxid(), txn()).prop_map(|(zxid, txn)| Message::Proposal { zxid, txn }),
        zxid().prop_map(|zxid| Message::Commit { zxid }),
        (zxid(), txn()).prop_map(|(zxid, txn)| Message::Inform { zxid, txn }),
        epoch().prop_map(|epoch| Message::NewLeader { epoch }),
        zxid().prop_map(|zxid| Message::Ack { zxid }),
        Just(Message::UpToDate),
    ]
}

pub(crate) fn packet() -> impl Strategy<Value = Packet<Tree>> {
    let op = prop_oneof![
        write().prop_map(Op::Write),
        any::<i32>().prop_map(|timeout_ms| Op::CreateSession { timeout_ms }),
        Just(Op::CloseSession),
        Just(Op::Sync),
    ];
    prop_oneof![
        4 => message().prop_map(Packet::Zab),
        1 => (zxid(), vec((session(), any::<i32>()), 0..4)).prop_map(|(last, touched)| Packet::Ping { last, touched }),
        2 => (session(), any::<i32>(), identities(), op)
            .prop_map(|(session, xid, identities, op)| Packet::Request(Request { session, xid, identities, op })),
        1 => Just(Packet::Sync),
        1 => (session(), any::<i32>()).prop_map(|(session, timeout_ms)| Packet::Revalidate { session, timeout_ms }),
        1 => (session(), any::<bool>()).prop_map(|(session, valid)| Packet::Revalidated { session, valid }),
    ]
}

pub(crate) fn notification() -> impl Strategy<Value = Notification> {
    let state = prop_oneof![
        Just(ServerState::Looking),
        Just(ServerState::Following),
        Just(ServerState::Leading),
        Just(ServerState::Observing),
    ];
    let long = 0..i64::MAX.cast_unsigned();
    let zxid = option::of(long.clone().prop_map(Zxid));
    (state, any::<u32>(), zxid, any::<u64>(), long).prop_map(|(state, epoch, zxid, leader, round)| {
        Notification { state, vote: Vote { epoch: Epoch(epoch), zxid, leader: ServerId(leader) }, round }
    })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    (0..i64::MAX.cast_unsigned(), vec("[a-z0-9:]{1,20}", 0..4))
        .prop_map(|(sid, addresses)| Hello { sid: ServerId(sid), addresses })
}
