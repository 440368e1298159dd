//! The audit log of a server, as it is logged. What is traced goes to one place in a process, so there is one test.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use crate::alone::{Client, Server, create, frame, request, wait_until};

/// Where lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines of the audit log from this one on: level and message.
    fn audit(&self, from: usize) -> Vec<(String, String)> {
        let text = String::from_utf8(self.0.lock().expect("unpoisoned").clone()).expect("text");
        let line = |line: &str| {
            let (front, message) = line.split_once(" audit: ")?;
            Some((front.rsplit(' ').next()?.to_owned(), message.to_owned()))
        };
        text.lines().filter_map(line).skip(from).collect()
    }
}

fn any_version() -> [u8; 4] {
    (-1_i32).to_be_bytes()
}

/// Anybody may prove a name by digest, and one request may take many lines.
fn a_long_name_takes_little_of_many_lines(server: &Server, lines: &Lines) {
    const PARTS: usize = 300;
    let from = lines.audit(0).len();
    let mut client = Client::connect(server).expect("a session");
    let proof = ["\u{1}".repeat(250_000).as_bytes(), b":p"].concat();
    client.send(&request(-4, 100, &[&[0; 4][..], &frame(b"digest"), &frame(&proof)].concat()));
    assert_eq!(client.answer(), Some((-4, 0)));
    let header = |operation: i32, done| [&operation.to_be_bytes()[..], &[done], &any_version()].concat();
    let open =
        [&1_i32.to_be_bytes()[..], &31_i32.to_be_bytes(), &frame(b"world"), &frame(b"anyone")].concat();
    let part = |number: usize| {
        let path = frame(format!("/{number:x}").as_bytes());
        [&header(1, 0)[..], &path, &frame(b""), &open, &[0; 4]].concat()
    };
    let parts: Vec<u8> = (0..PARTS).flat_map(part).chain(header(-1, 1)).collect();
    client.send(&request(1, 14, &parts));
    assert_eq!(client.answer(), Some((1, 0)));
    wait_until("all parts are told", || lines.audit(from).len() >= PARTS);
    let told = lines.audit(from);
    assert_eq!(told.len(), PARTS);
    let bytes: usize = told.iter().map(|(_, line)| line.len()).sum();
    assert!(bytes < PARTS * 1024, "{bytes} bytes of lines came of a request of {}", parts.len());
    assert!(told[0].1.contains("\\u{1}…\tip=127.0.0.1\toperation=create\tznode=/0\t"), "{}", told[0].1);
}

#[test]
fn changes_are_logged_with_who_made_them() {
    let lines = Lines::default();
    let sink = lines.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).init();

    // Off, as by default.
    let server = Server::start("");
    let mut client = Client::connect(&server).expect("a session");
    client.send(&create(1, "/silent", b""));
    assert_eq!(client.answer(), Some((1, 0)));
    drop((client, server));
    assert_eq!(lines.audit(0), []);

    let server = Server::start("audit.enable=true\n");
    let started = lines.audit(0);
    assert!(matches!(&started[..], [(level, line)] if level == "INFO"
            && line.starts_with("user=") && line.ends_with("\toperation=serverStart\tresult=success")));
    let mut client = Client::connect(&server).expect("a session");
    client.send(&request(-4, 100, &[&[0; 4][..], &frame(b"digest"), &frame(b"alice:secret")].concat()));
    assert_eq!(client.answer(), Some((-4, 0)));
    let path = |path: &str| frame(path.as_bytes());
    let acl = [
        &1_i32.to_be_bytes()[..],
        &17_i32.to_be_bytes(),
        &frame(b"world"),
        &frame(b"anyone"),
        &any_version(),
    ]
    .concat();
    let asked = [
        (create(1, "/a", b"1"), 0),
        (create(2, "/a", b"1"), -110),
        (request(3, 5, &[&path("/a")[..], &frame(b"2"), &any_version()].concat()), 0),
        (request(4, 4, &[&path("/a")[..], &[0]].concat()), 0),
        (request(5, 7, &[&path("/a")[..], &acl].concat()), 0),
        (request(6, 16, b""), -123),
        (request(7, 2, &[&path("/a")[..], &any_version()].concat()), 0),
    ];
    for (xid, (bytes, expected)) in (1..).zip(&asked) {
        client.send(bytes);
        assert_eq!(client.answer(), Some((xid, *expected)));
    }
    let expected = [
        ("INFO", "create\tznode=/a\tznode_type=persistent\tresult=success"),
        ("ERROR", "create\tznode=/a\tznode_type=persistent\tresult=failure"),
        ("INFO", "setData\tznode=/a\tresult=success"),
        ("INFO", "setAcl\tznode=/a\tacl=world:anyone:ra\tresult=success"),
        ("ERROR", "reconfig\tresult=failure"),
        ("INFO", "delete\tznode=/a\tresult=success"),
    ];
    wait_until("all is told", || lines.audit(1).len() >= expected.len());
    let told = lines.audit(1);
    assert_eq!(told.len(), expected.len(), "{told:?}");
    let session = told[0].1.split('\t').next().expect("a pair").to_owned();
    assert!(session.starts_with("session=0x"), "{session}");
    for ((level, line), (expected_level, operation)) in told.iter().zip(expected) {
        let whole = format!("{session}\tuser=127.0.0.1,alice\tip=127.0.0.1\toperation={operation}");
        assert_eq!((level.as_str(), line), (expected_level, &whole));
    }

    // Its ephemeral goes with the session, and who hangs up behind a request is told of too.
    let from = lines.audit(0).len();
    let open =
        [&1_i32.to_be_bytes()[..], &31_i32.to_be_bytes(), &frame(b"world"), &frame(b"anyone")].concat();
    let ephemeral = [&path("/e")[..], &frame(b""), &open, &1_i32.to_be_bytes()].concat();
    client.send(&[request(8, 1, &ephemeral), request(9, -11, b"")].concat());
    drop(client);
    wait_until("the session is closed", || lines.audit(from).len() >= 2);
    let told = lines.audit(from);
    assert_eq!(told.len(), 2, "{told:?}");
    let (_, created) = told[0].1.split_once("\toperation=").expect("an operation");
    assert_eq!(created, "create\tznode=/e\tznode_type=ephemeral\tresult=success");
    let operation = "\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/e\tresult=success";
    assert!(told[1].1.starts_with(&session) && told[1].1.ends_with(operation), "{told:?}");

    a_long_name_takes_little_of_many_lines(&server, &lines);

    drop(server);
    let last = lines.audit(0).pop().expect("a line");
    assert!(last.1.ends_with("\toperation=serverStop\tresult=invoked"), "{last:?}");
}
