//! Who a client is, proved by SASL before anything else is said on a connection.

use std::io::{self, ErrorKind, Write as _};

use sasl::{Answer, User};
use wire::{
    Buffer as _, Decoder, Sink as _,
    client::{Reply, opcode},
    record::CLIENT_FRAME_BYTES_MAX,
};

use crate::{failure::code_words, patience::Patience, stream::Stream};

/// Why a user is not proved.
#[derive(Debug)]
pub(crate) enum Unproved {
    /// The connection does not say.
    Lost(io::Error),
    /// The server does not believe it, or is not to be believed.
    Refused(String),
}

/// Proves to the server who this is, and has it prove that it knows the password too. Requests have these numbers.
pub(crate) fn prove(
    stream: &mut Stream,
    user: &User,
    xids: [i32; 2],
    patience: &Patience<'_>,
) -> Result<(), Unproved> {
    let challenge = exchange(stream, xids[0], b"", patience)?;
    let answer = Answer::to(&challenge, user, &sasl::nonce()).map_err(Unproved::Refused)?;
    let proof = exchange(stream, xids[1], answer.token(), patience)?;
    if answer.is_proved_by(&proof) {
        return Ok(());
    }
    Err(Unproved::Refused("the server has not proved that it knows the password".to_owned()))
}

/// A token for a token.
fn exchange(
    stream: &mut Stream,
    xid: i32,
    token: &[u8],
    patience: &Patience<'_>,
) -> Result<Vec<u8>, Unproved> {
    let mut frame = Vec::new();
    frame.put_sized(|out| {
        out.put_int(xid);
        out.put_int(opcode::SASL);
        out.put_optional(Some(token));
    });
    stream.write_all(&frame).map_err(Unproved::Lost)?;
    loop {
        patience.check().map_err(Unproved::Lost)?;
        let payload = read_frame(stream, patience).map_err(Unproved::Lost)?;
        let unread =
            |error: wire::Error| Unproved::Lost(io::Error::new(ErrorKind::InvalidData, error.to_string()));
        let mut reply = Reply::decode(Decoder::stream(&payload)).map_err(unread)?;
        // An event, or a ping.
        if reply.xid != xid {
            continue;
        }
        if reply.error != 0 {
            return Err(Unproved::Refused(format!("the server refuses it: {}", code_words(reply.error))));
        }
        let token = reply.body.buffer().map_err(unread)?;
        return token.map(<[u8]>::to_vec).ok_or_else(|| {
            let why = "the server has no SASL, forbids DIGEST-MD5 (its fips-mode), or refuses it";
            Unproved::Refused(why.to_owned())
        });
    }
}

fn read_frame(stream: &mut Stream, patience: &Patience<'_>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    patience.read(stream, &mut length)?;
    let found = i32::from_be_bytes(length);
    let length = usize::try_from(found).ok().filter(|length| *length <= CLIENT_FRAME_BYTES_MAX);
    let Some(length) = length else {
        let told = format!("a frame of {found} bytes, where there may be {CLIENT_FRAME_BYTES_MAX}");
        return Err(io::Error::new(ErrorKind::InvalidData, told));
    };
    let mut payload = vec![0; length];
    patience.read(stream, &mut payload)?;
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, TcpStream},
        sync::mpsc::channel,
        thread::{sleep, spawn},
        time::{Duration, Instant},
    };

    use spec::SessionId;
    use wire::client::{ConnectRequest, ConnectResponse};

    use crate::{Client, Connection, Failure, Options, Servers};

    use super::*;

    fn read(stream: &mut TcpStream) -> Vec<u8> {
        let mut head = [0; 4];
        stream.read_exact(&mut head).expect("it follows");
        let mut payload = vec![0; u32::from_be_bytes(head) as usize];
        stream.read_exact(&mut payload).expect("it follows");
        payload
    }

    /// Greets a client; which session it has offered.
    fn greeted(stream: &mut TcpStream) -> SessionId {
        let offered = ConnectRequest::decode(&read(stream), 1 << 10).expect("a request");
        let answer = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 60_000,
            session: SessionId(7),
            password: [0; 16],
            read_only: Some(false),
        };
        let mut out = Vec::new();
        answer.encode(&mut out);
        stream.write_all(&out).expect("there is room");
        offered.session
    }

    /// A reply to `xid` with this token.
    fn reply(xid: i32, token: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_sized(|out| {
            out.put_int(xid);
            out.put_long(0);
            out.put_int(0);
            out.put_optional(Some(token));
        });
        out
    }

    fn client(listener: &TcpListener) -> Client {
        let address = listener.local_addr().expect("it is bound");
        let servers = Servers::parse(&address.to_string()).expect("valid");
        let user = User { name: "bob".to_owned(), password: "secret".to_owned() };
        let timeout = Duration::from_secs(1);
        let options = Options {
            servers,
            timeout,
            read_only: false,
            tls: None,
            user: Some(user),
            credentials: Vec::new(),
            patient: false,
        };
        Client::start(options, |_| {})
    }

    #[test]
    fn a_server_that_speaks_of_other_things_is_left_with_the_session() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = client(&listener);
        let (told, offers) = channel();
        spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("it listens");
                told.send(greeted(&mut stream)).expect("somebody counts");
                // A client that listens for ever hangs at its end only so long.
                let end = Instant::now() + Duration::from_secs(25);
                while Instant::now() < end && stream.write_all(&reply(opcode::XID_PING, b"")).is_ok() {
                    sleep(Duration::from_millis(20));
                }
            }
        });
        let patience = Duration::from_secs(20);
        assert_eq!(offers.recv_timeout(patience), Ok(SessionId(0)));
        assert_eq!(offers.recv_timeout(patience), Ok(SessionId(7)), "it is offered again");
        let began = Instant::now();
        drop(client);
        assert!(began.elapsed() < Duration::from_millis(700), "closed only after {:?}", began.elapsed());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_not_believed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = client(&listener);
        spawn(move || {
            let (mut stream, _) = listener.accept().expect("it listens");
            greeted(&mut stream);
            for token in [&b"nonce=\"n\",realm=\"r\""[..], b"rspauth=0123456789abcdef0123456789abcdef"] {
                let asked = read(&mut stream);
                let xid = i32::from_be_bytes(asked[..4].try_into().expect("four bytes"));
                stream.write_all(&reply(xid, token)).expect("there is room");
            }
            // Whatever it says next would be what nobody may hear.
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "it goes on");
        })
        .join()
        .expect("the server's assertions hold");
        let failure = client.ready(Duration::from_secs(20)).expect_err("it is nobody");
        assert!(matches!(&failure, Failure::Unproved(why) if why.contains("has not proved")), "{failure:?}");
        assert_eq!(client.connection(), Connection::AuthFailed);
    }
}
