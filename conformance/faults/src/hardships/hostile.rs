//! Clients that mean harm, one at a time or a few: frames cut anywhere, bytes that come one a second, requests at the
//! wrong time, and values that no library sends. What is wrong is refused with a code or by hanging up, nothing else
//! happens, and others do not notice.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Figures,
    place::{Memory, Place, await_true, join, make, ms, with_words},
    probe::Probe,
};
use crate::{
    client::{Client, Kind, Op},
    ensemble::Ensemble,
    jute::{Decoder, Encoder},
};

/// How long others may wait beside it, in microseconds: on a busy machine with a busy disk.
pub(super) const OTHERS_MAX_US: u64 = 3_000_000;
/// How long a server may take to answer or hang up.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What clients of one case may cost, if they do not come by the thousand.
const GROWTH_MAX_KIB: u64 = 32 << 10;

/// Carries out a hardship for a server alone while another client works; with what that client had to wait and what
/// memory it took, which is to stay below `growth_max_kib`.
pub(super) fn beside(
    ensemble: &mut Ensemble,
    address: SocketAddr,
    growth_max_kib: u64,
    hurt: impl FnOnce(&mut Ensemble, Memory) -> Result<Figures>,
) -> Result<Figures> {
    let memory = Memory::watch(ensemble, 1)?;
    let before = memory.now()?;
    let probe = Probe::start(address, "/probe")?;
    let mut figures = hurt(ensemble, memory)?;
    let waits = probe.end()?;
    ensemble.check_alive()?;
    ensure!(!ensemble.output(1)?.contains("panicked"), "the server panicked");
    let (after, most) = (memory.now()?, memory.peak()?);
    let growth = most.saturating_sub(before);
    ensure!(growth < growth_max_kib, "it costs {growth} KiB, and {growth_max_kib} are allowed");
    ensure!(waits.max < OTHERS_MAX_US, "others waited for {} us", waits.max);
    figures.extend([
        ("resident before", before >> 10, "MiB"),
        ("resident at most", most >> 10, "MiB"),
        ("resident after", after >> 10, "MiB"),
        ("set and get of others: median", waits.p50, "us"),
        ("set and get of others: worst", waits.max, "us"),
    ]);
    Ok(figures)
}

pub(super) fn dial(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, ANSWER_MAX).context("no connection")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

/// A handshake for a session with this timeout.
pub(super) fn handshake(timeout_ms: i32) -> Vec<u8> {
    Encoder::new().int(0).long(0).int(timeout_ms).long(0).bytes(&[0; 16]).bool(false).frame()
}

fn get(xid: i32, path: &[u8]) -> Vec<u8> {
    Encoder::new().int(xid).int(4).bytes(path).bool(false).frame()
}

/// The next frame; `None` if the server has hung up.
pub(super) fn frame(mut stream: &TcpStream) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let gone =
        |kind| matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if gone(error.kind()) => return Ok(None),
        Err(error) => return Err(error).context("neither an answer nor an end"),
    }
    let length = usize::try_from(i32::from_be_bytes(length))?;
    ensure!(length <= 2 << 20, "a frame of {length} bytes");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// The header of a reply: xid and code.
fn header(frame: &[u8]) -> Result<(i32, i32)> {
    let mut read = Decoder::new(frame);
    let (xid, _zxid, code) = (read.int()?, read.long()?, read.int()?);
    Ok((xid, code))
}

pub(super) fn cut(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| {
        beside(ensemble, address, GROWTH_MAX_KIB, |_, _| cut_everywhere(address))
    })
}

/// Handshakes and requests that end behind any of their bytes.
fn cut_everywhere(address: SocketAddr) -> Result<Figures> {
    let hello = handshake(10_000);
    let mut connections = 0_u64;
    for at in 0..=hello.len() {
        let mut stream = dial(address)?;
        stream.write_all(&hello[..at])?;
        connections += 1;
    }
    let request = Encoder::new().int(1).int(1).bytes(b"/cut").bytes(b"data").int(-1).int(0).frame();
    for at in 0..request.len() {
        let mut stream = dial(address)?;
        stream.write_all(&hello)?;
        frame(&stream)?.context("no session")?;
        stream.write_all(&request[..at])?;
        connections += 1;
    }
    // Of a request that was cut, nothing may have been done.
    let mut client = join(address)?;
    ensure!(client.call(&Op::GetData("/cut".to_owned()))?.code == -101, "half a request was carried out");
    Ok(vec![("connections cut behind each byte", connections, "")])
}

/// Connections that are slow, of each kind.
const SLOW: usize = 40;
/// How long they are: longer than a connection may stay without a session.
const SLOW_LASTS: Duration = Duration::from_secs(13);

pub(super) fn slow(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| beside(ensemble, address, GROWTH_MAX_KIB, |_, _| be_slow(address)))
}

/// A byte a second: of handshakes, and of requests of sessions that end meanwhile; and frames that stop halfway.
fn be_slow(address: SocketAddr) -> Result<Figures> {
    let hello = handshake(4_000);
    let long = get(1, &[b'/'; 4_000]);
    let (mut strangers, mut sessions, mut halves) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLOW {
        strangers.push(dial(address)?);
        let mut stream = dial(address)?;
        stream.write_all(&hello)?;
        frame(&stream)?.context("no session")?;
        sessions.push(stream);
        let mut stream = dial(address)?;
        stream.write_all(&hello)?;
        frame(&stream)?.context("no session")?;
        // Half of the longest frame that is taken.
        stream.write_all(&0xf_ffff_i32.to_be_bytes())?;
        stream.write_all(&vec![0; 256 << 10])?;
        halves.push(stream);
    }
    let began = Instant::now();
    let mut at = 0;
    while began.elapsed() < SLOW_LASTS {
        for (stream, bytes) in
            strangers.iter_mut().map(|stream| (stream, &hello)).chain(sessions.iter_mut().map(|s| (s, &long)))
        {
            // It may be closed by now.
            let _ = stream.write_all(&bytes[at..=at]);
        }
        at += 1;
        thread::sleep(Duration::from_secs(1));
    }
    for (what, streams) in [("handshake", &strangers), ("request", &sessions), ("half frame", &halves)] {
        for stream in streams {
            ensure!(frame(stream)?.is_none(), "a {what} of a byte a second is answered");
        }
    }
    Ok(vec![
        ("slow connections, all closed", u64::try_from(3 * SLOW)?, ""),
        ("all of them gone within", ms(began.elapsed()), "ms"),
    ])
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// It is answered with this code, and the connection stays.
    Code(i32),
    /// It is answered with this code, and then the server hangs up.
    CodeAndEnd(i32),
    /// The server hangs up.
    End,
}

const MARSHALLING_ERROR: i32 = -5;
const UNIMPLEMENTED: i32 = -6;
const BAD_ARGUMENTS: i32 = -8;
const NO_NODE: i32 = -101;
const INVALID_ACL: i32 = -114;

pub(super) fn wrong(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| {
        beside(ensemble, address, 2 * GROWTH_MAX_KIB, |ensemble, _| be_wrong(ensemble, address))
    })
}

fn be_wrong(ensemble: &Ensemble, address: SocketAddr) -> Result<Figures> {
    let (mut refused, mut longest, mut others) = (0, Duration::ZERO, Vec::new());
    for (what, request, fate) in wrong_requests() {
        let asked = Instant::now();
        let found = fate_of(address, &request).with_context(|| what.to_owned())?;
        longest = longest.max(asked.elapsed());
        if found != fate {
            others.push(format!("{what}: {found:?} where {fate:?} was due"));
        }
        refused += 1;
    }
    ensure!(others.is_empty(), "{}", others.join("; "));
    for (what, bytes) in first_words() {
        let mut stream = dial(address)?;
        stream.write_all(&bytes)?;
        ensure!(frame(&stream).with_context(|| what.to_owned())?.is_none(), "{what} is answered");
        refused += 1;
    }
    let numbered = disorder(address)?;
    let words = "connections of clients were closed: what came is wrong";
    await_true(words, ANSWER_MAX, || Ok(ensemble.output(1)?.contains(words)))?;
    Ok(vec![
        ("wrong requests and first words, each refused", refused, ""),
        ("longest until it was", ms(longest), "ms"),
        ("requests with xids in no order, all answered in theirs", numbered, ""),
    ])
}

/// What a server does with a request that comes first behind the handshake.
fn fate_of(address: SocketAddr, request: &[u8]) -> Result<Fate> {
    let client = join(address)?;
    let mut stream = client.stream().try_clone()?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // It may hang up before all is written.
    let _ = stream.write_all(request);
    let Some(answer) = frame(&stream)? else { return Ok(Fate::End) };
    let (_, code) = header(&answer)?;
    let ping = Encoder::new().int(-2).int(11).frame();
    let stays = stream.write_all(&ping).is_ok() && frame(&stream)?.is_some();
    Ok(if stays { Fate::Code(code) } else { Fate::CodeAndEnd(code) })
}

/// Requests that no library sends, and what becomes of each.
fn wrong_requests() -> Vec<(&'static str, Vec<u8>, Fate)> {
    let head = |op| Encoder::new().int(1).int(op);
    let null = |body: Encoder| body.int(-1);
    let open_acl = |body: Encoder| body.int(1).int(31).bytes(b"world").bytes(b"anyone");
    let length = |length: i32| length.to_be_bytes().to_vec();
    let deep = b"/a".repeat(300_000);
    let part = |path: &[u8]| Encoder::new().int(13).bool(false).int(-1).bytes(path).int(-1).body();
    let mut many_parts = head(14).body();
    for _ in 0..40_000 {
        many_parts.extend(part(b"/"));
    }
    many_parts.extend(Encoder::new().int(-1).bool(true).int(-1).body());
    let mut endless = head(14).body();
    endless.extend(part(b"/"));
    vec![
        ("a negative length", length(-2), Fate::End),
        ("a length of 2 GiB", length(i32::MAX), Fate::End),
        ("a frame of nothing", length(0), Fate::End),
        ("a header that is cut", Encoder::new().int(1).frame(), Fate::End),
        ("a second handshake", handshake(10_000), Fate::CodeAndEnd(UNIMPLEMENTED)),
        ("an operation of nobody", head(77).frame(), Fate::CodeAndEnd(UNIMPLEMENTED)),
        ("a null path", null(head(4)).bool(false).frame(), Fate::Code(MARSHALLING_ERROR)),
        ("a list of null", open_acl(null(head(1).bytes(b"/n"))).int(0).frame(), Fate::Code(0)),
        (
            "a null list of access rights",
            null(head(1).bytes(b"/l").bytes(b"")).int(0).frame(),
            Fate::Code(INVALID_ACL),
        ),
        ("null lists of watches", null(null(null(head(101).long(0)))).frame(), Fate::Code(MARSHALLING_ERROR)),
        (
            "a list of 2 billion watches",
            head(101).long(0).int(i32::MAX).frame(),
            Fate::Code(MARSHALLING_ERROR),
        ),
        ("a string of 2 GiB", head(4).int(i32::MAX).frame(), Fate::Code(MARSHALLING_ERROR)),
        ("a path of 300,000 steps", get(1, &deep), Fate::Code(NO_NODE)),
        (
            "a node of 300,000 steps",
            open_acl(head(1).bytes(&deep).bytes(b"")).int(0).frame(),
            Fate::Code(NO_NODE),
        ),
        ("a path of slashes", get(1, &vec![b'/'; 500_000]), Fate::Code(NO_NODE)),
        (
            "a node of slashes",
            open_acl(head(1).bytes(&vec![b'/'; 500_000]).bytes(b"")).int(0).frame(),
            Fate::Code(NO_NODE),
        ),
        (
            "a node that is the one above",
            open_acl(head(1).bytes(b"/..").bytes(b"")).int(0).frame(),
            Fate::Code(BAD_ARGUMENTS),
        ),
        ("a multi without an end", Encoder::new().bytes(&endless).body(), Fate::Code(MARSHALLING_ERROR)),
        ("a multi of 40,000 checks", Encoder::new().bytes(&many_parts).body(), Fate::Code(0)),
        ("a multi above the longest frame", Encoder::new().bytes(&vec![0; 0x10_0000]).body(), Fate::End),
    ]
}

/// What is no handshake, at the beginning of a connection.
fn first_words() -> Vec<(&'static str, Vec<u8>)> {
    let create = Encoder::new().int(1).int(1).bytes(b"/early").bytes(b"").int(-1).int(0);
    vec![
        ("a ping before the handshake", Encoder::new().int(-2).int(11).frame()),
        ("a read before the handshake", get(1, b"/")),
        ("a write before the handshake", create.frame()),
        ("a long write before the handshake", Encoder::new().int(1).int(5).bytes(&[b'/'; 80_000]).frame()),
        ("a first frame of -1 bytes", (-1_i32).to_be_bytes().to_vec()),
        ("a first frame of 2 GiB", i32::MAX.to_be_bytes().to_vec()),
    ]
}

/// Numbers of requests that go down, come again, and are those of nothing a client counts.
fn disorder(address: SocketAddr) -> Result<u64> {
    let mut client = join(address)?;
    make(&mut client, "/order", Vec::new(), Kind::Persistent)?;
    let xids: Vec<i32> =
        [9, 8, 8, 1, 0, i32::MAX, i32::MIN, -3, -100, 7, 7].into_iter().cycle().take(2_200).collect();
    let mut requests = Vec::new();
    for (number, xid) in xids.iter().enumerate() {
        requests.extend(if number % 3 == 0 {
            Encoder::new().int(*xid).int(5).bytes(b"/order").bytes(b"x").int(-1).frame()
        } else {
            get(*xid, b"/order")
        });
    }
    let mut stream = client.stream().try_clone()?;
    let writer = thread::spawn(move || stream.write_all(&requests));
    for xid in &xids {
        let answer = frame(client.stream())?.context("it hangs up on an xid")?;
        ensure!(header(&answer)? == (*xid, 0), "{:?} where xid {xid} was due", header(&answer)?);
    }
    writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    last_words(&mut client)?;
    Ok(u64::try_from(xids.len())?)
}

/// More credentials than a connection may offer, by far.
const CREDENTIALS: usize = 60_000;

pub(super) fn identities(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| {
        beside(ensemble, address, GROWTH_MAX_KIB, |ensemble, _| prove_all(ensemble, address))
    })
}

/// One identity after the other, each proved, until the server has had enough.
fn prove_all(ensemble: &Ensemble, address: SocketAddr) -> Result<Figures> {
    let client = join(address)?;
    let mut stream = client.stream().try_clone()?;
    let offer = |number: usize| {
        let secret = format!("user{number}:password");
        Encoder::new().int(-4).int(100).int(0).bytes(b"digest").bytes(secret.as_bytes()).frame()
    };
    let offers: Vec<u8> = (0..CREDENTIALS).flat_map(offer).collect();
    let began = Instant::now();
    // It hangs up before all is written.
    let writer = thread::spawn(move || stream.write_all(&offers).is_ok());
    let mut proved = 0_u64;
    while let Some(answer) = frame(client.stream())? {
        ensure!(header(&answer)? == (-4, 0), "{:?} where an identity was proved", header(&answer)?);
        proved += 1;
    }
    let took = began.elapsed();
    writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
    await_true("a word in the log about credentials", ANSWER_MAX, || {
        Ok(ensemble.output(1)?.contains("credentials"))
    })?;
    Ok(vec![("answers that came before the end", proved, ""), ("until it was closed", ms(took), "ms")])
}

/// The session ends in order.
fn last_words(client: &mut Client) -> Result<()> {
    ensure!(client.call(&Op::Close)?.code == 0, "a session does not close");
    Ok(())
}
