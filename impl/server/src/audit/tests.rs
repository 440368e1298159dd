use super::*;
use bytes::Bytes;
use tree::{CreateKind, CreateRequest, CreateTxn, Credential, Stat};

const SESSION: SessionId = SessionId(0x1_0000_00ab);

fn who(more: &[(&'static str, &'static str)]) -> Who {
    let address: IpAddr = [10, 0, 0, 7].into();
    let mut who = Who::new(address, &[Identity::ip("10.0.0.7")]);
    let identity = |(scheme, id)| Identity { scheme: Text::from_static(scheme), id: Text::from_static(id) };
    who.proves(more.iter().copied().map(identity).collect());
    who
}

fn create(path: &'static str, flags: i32, request: CreateRequest) -> Write {
    Write::Create { path: path.into(), data: None, acl: vec![Acl::world(31)], flags, request }
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

/// The lines of a request that has come to this.
fn lines_of(asked: &Asked, fate: &Fate) -> Vec<Line> {
    let mut lines = Vec::new();
    asked.tell(SESSION, fate, &mut |line| lines.push(line));
    lines
}

/// Those of what is applied.
fn applied(audit: &mut Audit, last: Zxid) -> Vec<Line> {
    let mut lines = Vec::new();
    audit.tell(last, &mut |line| lines.push(line));
    lines
}

/// What is told of a write that is answered so.
fn told(write: Write, answer: &Answer<'_, Tree>) -> Vec<Line> {
    let request = ClientRequest::Write(write);
    let asked = who(&[]).hears(&Settings::default(), &request, 0).expect("worth a line");
    Fate::of_answer(answer).map(|fate| lines_of(&asked, &fate)).unwrap_or_default()
}

#[test]
fn each_change_has_its_line() {
    let stat = Stat::default();
    let list = vec![
        Acl { perms: 31, scheme: "world".into(), id: "anyone".into() },
        Acl { perms: 3, scheme: "digest".into(), id: "a:h".into() },
    ];
    let rows = [
        (
            create("/a", 0, CreateRequest::Create),
            Outcome::Create { path: "/a".into() },
            "create\tznode=/a\tznode_type=persistent",
        ),
        (
            create("/a-", 3, CreateRequest::Create2),
            Outcome::Create2 { path: "/a-0000000001".into(), stat },
            "create\tznode=/a-0000000001\tznode_type=ephemeral_sequential",
        ),
        (
            create("/c", 4, CreateRequest::Container),
            Outcome::Create2 { path: "/c".into(), stat },
            "create\tznode=/c\tznode_type=container",
        ),
        (
            create("/t", 6, CreateRequest::Ttl { ttl_ms: 1 }),
            Outcome::Create2 { path: "/t1".into(), stat },
            "create\tznode=/t1\tznode_type=persistent_sequential_with_ttl",
        ),
        (Write::Delete { path: "/a".into(), version: -1 }, Outcome::Delete, "delete\tznode=/a"),
        (
            Write::SetData { path: "/a".into(), data: None, version: -1 },
            Outcome::SetData(stat),
            "setData\tznode=/a",
        ),
        (
            Write::SetAcl { path: "/a".into(), acl: list, version: -1 },
            Outcome::SetAcl(stat),
            "setAcl\tznode=/a\tacl=world:anyone:cdrwadigest:a:h:rw",
        ),
    ];
    for (write, outcome, expected) in rows {
        let front = "session=0x1000000ab\tuser=10.0.0.7\tip=10.0.0.7\toperation=";
        let lines = told(write.clone(), &Answer::Outcome(&outcome));
        assert_eq!(texts(&lines), [format!("{front}{expected}\tresult=success")]);
        assert!(!lines[0].failed);
        // That it failed is told of the node that was asked for.
        let failed = told(write.clone(), &Answer::Outcome(&Outcome::Error { code: -101 }));
        assert!(failed[0].failed && failed[0].text.ends_with("\tresult=failure"), "{failed:?}");
        if let Write::Create { path, .. } = &write {
            assert!(failed[0].text.contains(&format!("\tznode={path}\tznode_type=")), "{failed:?}");
        }
        assert_eq!(told(write.clone(), &Answer::Error(ErrorCode::SessionExpired)), failed);
        // It was none yet.
        assert_eq!(told(write, &Answer::Error(ErrorCode::NotReadOnly)), []);
    }
}

#[test]
fn a_multi_is_told_part_by_part_or_as_one_that_failed() {
    let parts = vec![
        create("/a", 0, CreateRequest::Create),
        create("/s", 2, CreateRequest::Create),
        create("/t", 5, CreateRequest::Ttl { ttl_ms: 1 }),
        Write::Check { path: "/a".into(), version: 0 },
        Write::SetData { path: "/a".into(), data: None, version: 0 },
        Write::Delete { path: "/a".into(), version: 1 },
    ];
    let stat = Stat::default();
    let outcome = Outcome::Multi(vec![
        Outcome::Create { path: "/a".into() },
        Outcome::Create { path: "/s0".into() },
        Outcome::Create2 { path: "/t".into(), stat },
        Outcome::Check,
        Outcome::SetData(stat),
        Outcome::Delete,
    ]);
    let front = "session=0x1000000ab\tuser=10.0.0.7\tip=10.0.0.7\toperation=";
    let lines = told(Write::Multi(parts.clone()), &Answer::Outcome(&outcome));
    let expected = [
        "create\tznode=/a\tznode_type=persistent",
        "create\tznode=/s0",
        "create\tznode=/t",
        "setData\tznode=/a",
        "delete\tznode=/a",
    ];
    assert_eq!(texts(&lines), expected.map(|line| format!("{front}{line}\tresult=success")));
    let failed = Outcome::Multi(vec![Outcome::Error { code: 0 }, Outcome::Error { code: -101 }]);
    for answer in [Answer::Outcome(&failed), Answer::Error(ErrorCode::SessionMoved)] {
        let lines = told(Write::Multi(parts.clone()), &answer);
        assert_eq!(texts(&lines), [format!("{front}multiOperation\tresult=failure")]);
    }
    assert_eq!(told(Write::Multi(Vec::new()), &Answer::Outcome(&Outcome::Multi(Vec::new()))), []);
}

#[test]
fn reads_are_not_told_and_what_is_refused_is() {
    let mut client = who(&[]);
    let settings = Settings::default();
    for request in [ClientRequest::Ping, ClientRequest::Sync(b"/".to_vec()), ClientRequest::Close] {
        assert!(client.hears(&settings, &request, 0).is_none());
    }
    let refused = |code| ClientRequest::Refused { code, close: false };
    let asked = client.hears(&settings, &refused(ErrorCode::ReconfigDisabled), opcode::RECONFIG);
    let fate = Fate::of_answer(&Answer::Error(ErrorCode::ReconfigDisabled)).expect("it failed");
    let lines = lines_of(&asked.expect("worth a line"), &fate);
    assert!(lines[0].text.ends_with("\tip=10.0.0.7\toperation=reconfig\tresult=failure"), "{lines:?}");
    assert!(client.hears(&settings, &refused(ErrorCode::Throttled), opcode::CREATE).is_none());
    let unread = refused(ErrorCode::MarshallingError);
    assert!(client.hears(&settings, &unread, opcode::GET_DATA).is_none());
    let asked = client.hears(&settings, &unread, opcode::SET_DATA).expect("worth a line");
    let lines = lines_of(&asked, &Fate::Failed);
    assert!(lines[0].text.ends_with("\tip=10.0.0.7\toperation=setData\tresult=failure"), "{lines:?}");
}

#[test]
fn users_are_those_that_were_proved_in_order() {
    let certified = who(&[("x509", "CN=client,O=us"), ("super", "")]);
    assert_eq!(&*certified.users, "10.0.0.7,CN=client,O=us");
    let mut client = who(&[]);
    let settings = Settings::default();
    let prove = |scheme: &str, bytes: &'static [u8]| {
        ClientRequest::Authenticate(Credential {
            scheme: scheme.into(),
            bytes: Bytes::from_static(bytes),
            sealed: false,
        })
    };
    for request in
        [prove("digest", b"alice:secret"), prove("digest", b"alice:secret"), prove("world", b"anyone")]
    {
        assert!(client.hears(&settings, &request, 0).is_none());
    }
    let proves = vec![Identity { scheme: "sasl".into(), id: "bob".into() }];
    assert!(client.hears(&settings, &ClientRequest::Exchange { answer: None, proves }, 0).is_none());
    assert_eq!(&*client.users, "10.0.0.7,alice,bob");
}

#[test]
fn what_a_client_chooses_is_one_value() {
    let write = Write::Delete { path: "/a\tresult=success\nuser=root\\\u{1b}[2J\u{e9}".into(), version: -1 };
    let lines = told(write, &Answer::Outcome(&Outcome::Error { code: -8 }));
    let (_, told) = lines[0].text.split_once("znode=").expect("a node");
    assert_eq!(told, "/a\\tresult=success\\nuser=root\\\\\\u{1b}[2Jé\tresult=failure");
}

/// A client that has proved these names by digest, and then this one by SASL.
fn named(names: &[String]) -> Who {
    let mut client = who(&[]);
    for name in names {
        let credential =
            Credential { scheme: "digest".into(), bytes: format!("{name}:secret").into(), sealed: false };
        client.hears(&Settings::default(), &ClientRequest::Authenticate(credential), 0);
    }
    client.proves(vec![Identity { scheme: "sasl".into(), id: "bob".into() }]);
    client
}

#[test]
fn names_take_little_of_a_line_however_long_or_many_they_are() {
    let long = named(&["\u{1}".repeat(250_000), "é".repeat(1000), "alice".to_owned()]);
    let name = "\\u{1}".repeat(NAME_BYTES_MAX / 5);
    assert_eq!(&*long.users, format!("10.0.0.7,{name}…,{}…,alice,bob", "é".repeat(NAME_BYTES_MAX / 2)));
    // Those that anybody can prove do not crowd out the others.
    let many = named(&(0..800).map(|name| format!("n{name}")).collect::<Vec<_>>());
    assert!(many.users.starts_with("10.0.0.7,n0,n1,") && many.users.ends_with(",bob,…"), "{}", many.users);
    assert!((900..=USERS_BYTES_MAX + 4).contains(&many.users.len()), "{}", many.users.len());
}

#[test]
fn paths_and_lists_are_cut_where_they_are_long() {
    let whole = format!("/{}", "x".repeat(VALUE_BYTES_MAX - 1));
    let long = Text::from(whole.clone() + &"y".repeat(1_000_000));
    let delete = |path: Text| Write::Delete { path, version: -1 };
    let failed = Outcome::Error { code: -101 };
    for (path, expected) in [(Text::from(whole.clone()), whole.clone()), (long.clone(), whole.clone() + "…")]
    {
        let lines = told(delete(path), &Answer::Outcome(&failed));
        assert!(lines[0].text.ends_with(&format!("\tznode={expected}\tresult=failure")));
    }
    let entry = |id: Text| Acl { perms: 1, scheme: "digest".into(), id };
    let lists = [vec![entry(long.clone())], (0..50_000).map(|id| entry(id.to_string().into())).collect()];
    for acl in lists {
        let write = Write::SetAcl { path: long.clone(), acl, version: -1 };
        let asked = who(&[]).hears(&Settings::default(), &ClientRequest::Write(write), 0).expect("a line");
        assert!(asked.bytes() < 3 * VALUE_BYTES_MAX, "no more is kept either: {}", asked.bytes());
        let lines = lines_of(&asked, &Fate::Done(None));
        assert!(lines[0].text.ends_with("…\tresult=success") && lines[0].text.len() < 3 * VALUE_BYTES_MAX);
    }
    // The path that was made is that of the transaction, which is whole.
    let made =
        told(create("/a", 2, CreateRequest::Create), &Answer::Outcome(&Outcome::Create { path: long }));
    assert!(made[0].text.contains(&format!("\tznode={whole}…\tznode_type=")));
}

fn txn(cxid: i32, body: TxnBody) -> Txn {
    Txn { session: SESSION, cxid, time: 0, body, digest: None }
}

fn made(path: &'static str) -> TxnBody {
    TxnBody::Create(CreateTxn {
        kind: CreateKind::Create { ephemeral: true },
        path: path.into(),
        data: None,
        acl: Vec::new(),
        parent_cversion: 1,
    })
}

#[test]
fn who_hangs_up_is_told_of_all_the_same_and_once() {
    let mut audit = Audit::default();
    let leaves = |audit: &mut Audit, xid| {
        let request = ClientRequest::Write(create("/e", 1, CreateRequest::Create));
        let asked = who(&[]).hears(&Settings::default(), &request, 0).expect("worth a line");
        audit.left(SESSION, xid, asked);
    };
    audit.logged(Zxid(1), &txn(1, made("/e1")));
    audit.logged(Zxid(2), &txn(2, made("/e2")));
    leaves(&mut audit, 2);
    leaves(&mut audit, 3);
    audit.logged(Zxid(3), &txn(3, TxnBody::Error { code: -110 }));
    // Nothing is told that may still be cut.
    assert_eq!(applied(&mut audit, Zxid(0)), []);
    let front = "session=0x1000000ab\tuser=10.0.0.7\tip=10.0.0.7\toperation=create\tznode=";
    assert_eq!(
        texts(&applied(&mut audit, Zxid(2))),
        [format!("{front}/e2\tznode_type=ephemeral\tresult=success")],
        "the first was answered"
    );
    assert_eq!(
        texts(&applied(&mut audit, Zxid(9))),
        [format!("{front}/e\tznode_type=ephemeral\tresult=failure")]
    );
    assert_eq!(applied(&mut audit, Zxid(9)), []);
    leaves(&mut audit, 4);
    audit.logged(Zxid(10), &txn(4, made("/e4")));
    audit.cut(Zxid(9));
    assert_eq!(applied(&mut audit, Zxid(10)), [], "it was cut");
    audit.logged(Zxid(10), &txn(4, made("/e4")));
    audit.replaced();
    assert_eq!(applied(&mut audit, Zxid(10)), [], "it is not known what became of it");
}

#[test]
fn ephemerals_go_with_their_session() {
    let mut audit = Audit::default();
    let write = ClientRequest::Write(Write::Delete { path: "/e".into(), version: -1 });
    let asked = who(&[]).hears(&Settings::default(), &write, 0).expect("worth a line");
    audit.left(SESSION, 5, asked.clone());
    audit.left(SessionId(SESSION.0 + 1), 5, asked.clone());
    audit.left(SessionId(-1), 5, asked);
    let ephemerals = Some(vec!["/e1".into(), "/e2".into()]);
    audit.logged(Zxid(1), &txn(0, TxnBody::CloseSession { ephemerals }));
    let lines = applied(&mut audit, Zxid(1));
    assert_eq!(
        lines[0].text,
        "session=0x1000000ab\tuser=10.0.0.7\tip=10.0.0.7\toperation=delete\tznode=/e\tresult=invoked"
    );
    let line = |path: &str| {
        let user = operator();
        format!("session=0x1000000ab\tuser={user}\toperation={EPHEMERAL}\tznode={path}\tresult=success")
    };
    assert_eq!(texts(&lines[1..]), [line("/e1"), line("/e2")]);
    assert_eq!(audit.left.by_age.len(), 2, "those of other sessions");
    audit.logged(Zxid(2), &txn(0, TxnBody::CloseSession { ephemerals: None }));
    assert_eq!(applied(&mut audit, Zxid(2)), []);
}

/// Something that was asked.
fn asked_once() -> Asked {
    let write = ClientRequest::Write(Write::Delete { path: "/e".into(), version: -1 });
    *who(&[]).hears(&Settings::default(), &write, 0).expect("worth a line")
}

#[test]
fn two_requests_of_one_number_are_two() {
    let mut audit = Audit::default();
    let unread = Box::new(Asked { deed: Deed::Unread(CREATE), ..asked_once() });
    audit.left(SESSION, 5, unread);
    for path in ["/secret", "/x"] {
        let write = ClientRequest::Write(Write::Delete { path: path.into(), version: -1 });
        audit.left(SESSION, 5, who(&[]).hears(&Settings::default(), &write, 0).expect("worth a line"));
    }
    audit.logged(Zxid(1), &txn(5, TxnBody::Delete { path: "/secret".into(), sweep: false }));
    audit.logged(Zxid(2), &txn(5, TxnBody::Error { code: -101 }));
    let front = "session=0x1000000ab\tuser=10.0.0.7\tip=10.0.0.7\toperation=delete\tznode=";
    let told = applied(&mut audit, Zxid(2));
    assert_eq!(
        texts(&told),
        [format!("{front}/secret\tresult=success"), format!("{front}/x\tresult=failure")]
    );
}

#[test]
fn those_who_hang_up_are_not_remembered_without_end() {
    let mut audit = Audit::default();
    let write = ClientRequest::Write(Write::Delete { path: "/e".into(), version: -1 });
    let asked = who(&[]).hears(&Settings::default(), &write, 0).expect("worth a line");
    for xid in 0..10_000 {
        audit.left(SESSION, xid, asked.clone());
    }
    assert_eq!((audit.left.by_age.len(), audit.left.by_request.len()), (LEFT_MAX, LEFT_MAX));
    assert!(audit.left.take(SESSION, 10_000 - 1).is_some());
    assert!(audit.left.take(SESSION, 0).is_none(), "the oldest goes first");
}

#[test]
fn those_who_hang_up_behind_long_requests_are_fewer() {
    let mut audit = Audit::default();
    let path = Text::from(format!("/{}", "x".repeat(1000)));
    let parts = vec![Write::Delete { path, version: -1 }; 1000];
    let write = ClientRequest::Write(Write::Multi(parts));
    let asked = who(&[]).hears(&Settings::default(), &write, 0).expect("worth a line");
    for xid in 0..100 {
        audit.left(SESSION, xid, asked.clone());
        assert!(audit.left.bytes <= LEFT_BYTES_MAX, "{}", audit.left.bytes);
    }
    let kept = audit.left.by_age.len();
    assert!((10..=16).contains(&kept), "a megabyte each: {kept}");
    assert_eq!(audit.left.bytes, kept * asked.bytes());
    assert!(audit.left.take(SESSION, 99).is_some());
    assert_eq!(audit.left.take_all(SESSION).len(), kept - 1);
    assert_eq!(audit.left.bytes, 0);
}

#[test]
fn the_server_says_who_runs_it() {
    let name = operator();
    assert!(!name.is_empty() && !name.contains(':'), "{name}");
    let line = Line::new("", &[("user", Some(&name)), ("operation", Some("serverStop"))], "invoked");
    assert_eq!(
        (line.text, line.failed),
        (format!("user={name}\toperation=serverStop\tresult=invoked"), false)
    );
}
