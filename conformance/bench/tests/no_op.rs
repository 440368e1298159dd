//! A server that answers everything and does nothing is fast, and must not be taken for a good one.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bench::{
    load::{self, Load},
    prepare,
    workload::Kind,
};

/// How a fake server answers.
#[derive(Clone, Copy)]
enum Fake {
    /// With "well done" and nothing else.
    Empty,
    /// With the answer of another request.
    OutOfOrder,
    /// With bytes of the right length, and the wrong content.
    Zeros,
}

fn serve(mut stream: TcpStream, fake: Fake) -> std::io::Result<()> {
    let mut connected = false;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(0)];
        stream.read_exact(&mut request)?;
        let mut reply = Vec::new();
        if connected {
            let xid = i32::from_be_bytes(request[..4].try_into().unwrap_or_default());
            let xid = if matches!(fake, Fake::OutOfOrder) { xid + 1 } else { xid };
            reply.extend_from_slice(&xid.to_be_bytes());
            reply.extend_from_slice(&[0; 12]);
            if matches!(fake, Fake::Zeros) {
                reply.extend_from_slice(&100_i32.to_be_bytes());
                reply.extend_from_slice(&[0; 168]);
            }
        } else {
            connected = true;
            for part in [&[0; 4][..], &40_000_i32.to_be_bytes(), &7_i64.to_be_bytes(), &16_i32.to_be_bytes()]
            {
                reply.extend_from_slice(part);
            }
            reply.extend_from_slice(&[0; 17]);
        }
        let length = u32::try_from(reply.len()).unwrap_or(0);
        stream.write_all(&[&length.to_be_bytes()[..], &reply].concat())?;
    }
}

fn fake(how: Fake) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, how));
        }
    });
    address
}

fn fault(how: Fake, kind: Kind) -> String {
    let load = Load {
        kind,
        connections: 4,
        outstanding: 4,
        threads: 1,
        warm: Duration::ZERO,
        window: Duration::from_millis(300),
    };
    let outcome = load::run(&load, &[fake(how)], || {}, || {});
    format!("{:#}", outcome.expect_err("a wrong server passes"))
}

#[test]
fn empty_answers_are_wrong_answers() {
    let kinds = [Kind::Get, Kind::Mixed, Kind::CreateDelete, Kind::SyncGet, Kind::Children];
    for kind in kinds {
        let told = fault(Fake::Empty, kind);
        assert!(told.contains("a wrong answer to"), "{kind:?}: {told}");
    }
    // These look at their nodes first.
    for kind in [Kind::Set, Kind::Multi] {
        let told = fault(Fake::Empty, kind);
        assert!(told.contains("cannot be read"), "{kind:?}: {told}");
    }
    let told = prepare::small(&[fake(Fake::Empty)]).expect_err("nothing is made").to_string();
    assert!(told.contains("the create of /bench is answered with"), "{told}");
}

#[test]
fn answers_of_others_are_wrong_answers() {
    let told = fault(Fake::OutOfOrder, Kind::Get);
    assert!(told.contains("is answered as"), "{told}");
}

#[test]
fn values_that_nobody_wrote_are_wrong_answers() {
    let told = fault(Fake::Zeros, Kind::Get);
    assert!(told.contains("a wrong value"), "{told}");
}
