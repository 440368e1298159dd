//! Clients that ask and do not listen.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Figures,
    place::{Memory, Place, await_true, join, make, ms, short, told, with_words},
    probe::Probe,
};
use crate::{
    client::{Client, Kind, Op},
    ensemble::Ensemble,
    jute::{Decoder, Encoder},
};

/// The node that is asked for, and how often.
const BIG_BYTES: usize = 1_000_000;
const GETS: usize = 500;
/// How long nobody reads.
const DEAF: Duration = Duration::from_secs(4);
/// What a client that does not read may cost: 1 MiB of replies, one more, and what buffers take beside.
const READER_GROWTH_MAX_KIB: u64 = 16 << 10;
/// What it may cost where the answers come all at once: what is unsent above 64 MiB closes it.
const BURST_GROWTH_MAX_KIB: u64 = 160 << 10;

/// How many clients ask at once and do not read, how many nodes each asks for in one request, and what they may cost
/// together: 1 GiB that is unsent, one more answer, and what buffers take beside.
const CROWD: usize = 24;
const CROWD_GETS: usize = 54;
const CROWD_GROWTH_MAX_KIB: u64 = (1024 + 160) << 10;

/// How long others may wait beside it, in microseconds: on a busy machine with a busy disk.
const OTHERS_MAX_US: u64 = 3_000_000;

fn get(xid: i32, path: &str) -> Vec<u8> {
    Encoder::new().int(xid).int(4).bytes(path.as_bytes()).bool(false).frame()
}

pub(super) fn deaf_reader(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| ask_and_not_listen(ensemble, address))
}

pub(super) fn deaf_crowd(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| crowd_and_not_listen(ensemble, address))
}

fn crowd_and_not_listen(ensemble: &mut Ensemble, address: SocketAddr) -> Result<Figures> {
    let mut reader = join(address)?;
    make(&mut reader, "/big", vec![7; BIG_BYTES], Kind::Persistent)?;
    let crowd = (0..CROWD).map(|_| join(address)).collect::<Result<Vec<_>>>()?;
    let alive = || told(address, "zk_num_alive_connections");
    let (memory, before) = (Memory::watch(ensemble, 1)?, alive()?);
    let before_kib = memory.now()?;
    for client in &crowd {
        client.stream().write_all(&get_many(CROWD_GETS, "/big"))?;
    }
    let beside = measure(address, DEAF)?;
    let (growth, dropped) = (memory.peak()?.saturating_sub(before_kib), before - alive()?);
    ensure!(growth < CROWD_GROWTH_MAX_KIB, "{CROWD} clients that do not read cost {growth} KiB");
    ensure!(beside.max < OTHERS_MAX_US, "others waited for {} us", beside.max);
    ensure!((1..=8).contains(&dropped), "{dropped} of {CROWD} clients that do not read were dropped");
    ensure!(reader.call(&Op::GetData("/big".to_owned()))?.code == 0, "somebody else's session is gone");
    Ok(vec![
        ("asked for", u64::try_from(CROWD * CROWD_GETS * BIG_BYTES)? >> 20, "MiB"),
        ("memory more at most", growth, "KiB"),
        ("of 24 clients dropped", dropped, ""),
        ("set and get of others: median", beside.p50, "us"),
        ("set and get of others: worst", beside.max, "us"),
    ])
}

/// A multiRead of one node, so often.
fn get_many(count: usize, path: &str) -> Vec<u8> {
    let head = Encoder::new().int(1).int(22);
    let part = |parts: Encoder, _| parts.int(4).bool(false).int(-1).bytes(path.as_bytes()).bool(false);
    (0..count).fold(head, part).int(-1).bool(true).int(-1).frame()
}

fn ask_and_not_listen(ensemble: &mut Ensemble, address: SocketAddr) -> Result<Figures> {
    let mut deaf = join(address)?;
    make(&mut deaf, "/big", vec![7; BIG_BYTES], Kind::Persistent)?;
    let quiet = measure(address, DEAF)?;
    let memory = Memory::watch(ensemble, 1)?;
    let before_kib = memory.now()?;
    let requests: Vec<u8> = (1..=GETS).flat_map(|xid| get(i32::try_from(xid).unwrap_or(0), "/big")).collect();
    let received = told(address, "zk_response_bytes")?;
    deaf.stream().write_all(&requests)?;
    let beside = measure(address, DEAF)?;
    let sent_mib = (told(address, "zk_response_bytes")? - received) >> 20;
    let growth = memory.peak()?.saturating_sub(before_kib);
    ensure!(growth < READER_GROWTH_MAX_KIB, "a client that does not read costs {growth} KiB");
    ensure!(beside.max < OTHERS_MAX_US, "others waited for {} us", beside.max);
    // It finds its ears again, and everything is there.
    deaf.stream().set_read_timeout(Some(Duration::from_secs(20)))?;
    for xid in 1..=GETS {
        let frame = next_frame(&mut deaf)?;
        let mut read = Decoder::new(&frame);
        let (found, _zxid, code) = (read.int()?, read.long()?, read.int()?);
        ensure!(
            usize::try_from(found) == Ok(xid) && code == 0,
            "reply {found} code {code} where {xid} was due"
        );
        ensure!(read.bytes()?.len() == BIG_BYTES, "a node came in part");
    }
    ensure!(deaf.call(&Op::Ping)?.code == 0, "the session is gone");
    let growth = growth.max(memory.peak()?.saturating_sub(before_kib));
    ensure!(growth < READER_GROWTH_MAX_KIB, "a client that reads late costs {growth} KiB");
    Ok(vec![
        ("asked for", u64::try_from(GETS * BIG_BYTES)? >> 20, "MiB"),
        ("answered while nobody read", sent_mib, "MiB"),
        ("memory more at most, read late included", growth, "KiB"),
        ("set and get of others before: median", quiet.p50, "us"),
        ("set and get of others before: worst", quiet.max, "us"),
        ("set and get of others beside it: median", beside.p50, "us"),
        ("set and get of others beside it: worst", beside.max, "us"),
    ])
}

pub(super) fn deaf_behind_a_write(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| ask_behind_a_write(ensemble, address))
}

fn ask_behind_a_write(ensemble: &mut Ensemble, address: SocketAddr) -> Result<Figures> {
    let mut deaf = join(address)?;
    make(&mut deaf, "/big", vec![7; BIG_BYTES], Kind::Persistent)?;
    let memory = Memory::watch(ensemble, 1)?;
    let before_kib = memory.now()?;
    let mut requests = Encoder::new().int(1).int(5).bytes(b"/big").bytes(&vec![8; BIG_BYTES]).int(-1).frame();
    for xid in 2..=GETS {
        requests.extend(get(i32::try_from(xid)?, "/big"));
    }
    deaf.stream().write_all(&requests)?;
    let beside = measure(address, DEAF)?;
    let growth = memory.peak()?.saturating_sub(before_kib);
    ensure!(growth < BURST_GROWTH_MAX_KIB, "a client that does not read costs {growth} KiB");
    ensure!(beside.max < OTHERS_MAX_US, "others waited for {} us", beside.max);
    // Whether it is closed or goes on late, what comes is in order.
    let mut answered = 0_u64;
    deaf.stream().set_read_timeout(Some(Duration::from_secs(5)))?;
    while usize::try_from(answered)? < GETS {
        let Ok(frame) = next_frame(&mut deaf) else { break };
        let mut read = Decoder::new(&frame);
        answered += 1;
        let (found, _zxid, code) = (read.int()?, read.long()?, read.int()?);
        ensure!(u64::try_from(found) == Ok(answered) && code == 0, "reply {found} where {answered} was due");
    }
    ensemble.check_alive()?;
    Ok(vec![
        ("asked for", u64::try_from(GETS * BIG_BYTES)? >> 20, "MiB"),
        ("memory more at most", growth, "KiB"),
        ("answers of 500 that came", answered, ""),
        ("set and get of others beside it: median", beside.p50, "us"),
        ("set and get of others beside it: worst", beside.max, "us"),
    ])
}

/// What a client of its own waits, over some time.
fn measure(address: SocketAddr, time: Duration) -> Result<super::probe::Waits> {
    let probe = Probe::start(address, "/probe")?;
    thread::sleep(time);
    probe.end()
}

fn next_frame(client: &mut Client) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    let mut stream = client.stream();
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length))?;
    ensure!(length <= BIG_BYTES + 1024, "a frame of {length} bytes");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// Nodes with long names: an event carries the name.
const NAME_BYTES: usize = 100_000;
/// Events that make 40 MB, and those that make 120 MB.
const FEW: usize = 400;
const MANY: usize = 1_200;
/// What a client may cost before it is closed: 64 MiB of events, in a buffer that doubles when it grows.
const WATCHER_GROWTH_MAX_KIB: u64 = 224 << 10;

fn long_name(number: usize) -> String {
    format!("/watched/{number:06}-{}", "x".repeat(NAME_BYTES - 16))
}

pub(super) fn deaf_watcher(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| storm_of_watches(ensemble, address))
}

fn storm_of_watches(ensemble: &mut Ensemble, address: SocketAddr) -> Result<Figures> {
    let mut writer = join(address)?;
    make(&mut writer, "/watched", Vec::new(), Kind::Persistent)?;
    for number in 0..MANY {
        make(&mut writer, &long_name(number), Vec::new(), Kind::Persistent)?;
    }
    // Below the bound: it is kept, and reads everything once it reads.
    let mut late = watch(address, FEW)?;
    fire(&mut writer, FEW)?;
    let mut events = 0_u64;
    for number in 0..FEW {
        let frame = next_frame(&mut late).context("a client with 40 MB of events was not kept")?;
        let event = &frame[16 + 8..];
        ensure!(Decoder::new(event).string()? == long_name(number), "an event is missing, or in no order");
        events += 1;
    }
    ensure!(late.call(&Op::Ping)?.code == 0, "the session is gone");
    // Above it.
    let mut deaf = watch(address, MANY)?;
    let connections = told(address, "zk_num_alive_connections")?;
    let memory = Memory::watch(ensemble, 1)?;
    let before_kib = memory.now()?;
    let probe = Probe::start(address, "/probe")?;
    let began = Instant::now();
    fire(&mut writer, MANY)?;
    let closed = || Ok(told(address, "zk_num_alive_connections")? <= connections);
    await_true("a client that does not read its events is closed", Duration::from_secs(10), closed)?;
    let took = began.elapsed();
    let waits = probe.end()?;
    let growth = memory.peak()?.saturating_sub(before_kib);
    ensure!(growth < WATCHER_GROWTH_MAX_KIB, "a client that does not read its events costs {growth} KiB");
    let left = read_out(&mut deaf)?;
    ensure!(left < MANY * NAME_BYTES, "the client got all its events: nothing was bounded");
    ensure!(waits.max < OTHERS_MAX_US, "others waited for {} us", waits.max);
    Ok(vec![
        ("events kept for a client below the bound", events, ""),
        ("events for the client above it", u64::try_from(MANY * NAME_BYTES)? >> 20, "MiB"),
        ("memory more at most", growth, "KiB"),
        ("until they were fired and it was closed", ms(took), "ms"),
        ("set and get of others: median", waits.p50, "us"),
        ("set and get of others: worst", waits.max, "us"),
    ])
}

/// A client that watches nodes and then reads nothing more.
fn watch(address: SocketAddr, count: usize) -> Result<Client> {
    let mut client = join(address)?;
    for number in 0..count {
        let path = long_name(number);
        let reply = client.call(&Op::WatchData(path.clone()))?;
        ensure!(reply.code == 0, "watching {} failed with {}", short(&path), reply.code);
    }
    Ok(client)
}

fn fire(writer: &mut Client, count: usize) -> Result<()> {
    for number in 0..count {
        let reply = writer.call(&Op::SetData { path: long_name(number), data: b"1".to_vec() })?;
        ensure!(reply.code == 0, "a set failed with {}", reply.code);
    }
    Ok(())
}

/// Reads to the end of a connection that was closed; returns how many bytes there were.
fn read_out(client: &mut Client) -> Result<usize> {
    let mut bytes = vec![0; 1 << 20];
    let mut total = 0;
    client.stream().set_read_timeout(Some(Duration::from_secs(5)))?;
    loop {
        match client.stream().read(&mut bytes) {
            Ok(0) => return Ok(total),
            Ok(count) => total += count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(total),
            Err(error) => return Err(error).context("the connection stands"),
        }
        ensure!(total <= 4 * MANY * NAME_BYTES, "more comes than was ever meant for it");
    }
}
