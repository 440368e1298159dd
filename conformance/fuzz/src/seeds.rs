//! What inputs are made from: recordings of Apache ZooKeeper's ports and files, and a few of ours where it has none.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use differential::{ClientRecording, FileRecording, Side, StreamRecording, V3_8, V3_9, golden, unhex};
use protocol::peer::{ClientRequest, Input, Packet, Request};
use recording::{Encoder, ring::MAGIC};
use spec::{ClientId, ServerId, SessionId, Zxid};
use tree::{Acl, CreateRequest, Read, Tree, WatchMode, Write};
use wire::{client::put_request, snapshot};

pub(crate) type Seeds = Result<Vec<Vec<u8>>>;

/// Every frame of one side of the client port, but for the handshakes or those alone.
fn client_frames(side: Side, handshakes: bool) -> Seeds {
    let recording: ClientRecording = golden(V3_9, "client")?;
    let frames = recording.connections.iter().flat_map(|connection| &connection.frames);
    let wanted = frames.filter(|frame| frame.from == side && frame.what.starts_with("Connect") == handshakes);
    wanted.map(|frame| unhex(&frame.hex)).collect()
}

pub(crate) fn requests() -> Seeds {
    let mut seeds = client_frames(Side::Client, false)?;
    seeds.extend(ours());
    Ok(seeds)
}

/// Requests that were not recorded.
fn ours() -> Vec<Vec<u8>> {
    let create = |path: &str, flags, request| Write::Create {
        path: path.into(),
        data: Some(Bytes::from_static(b"data")),
        acl: vec![Acl::world(31)],
        flags,
        request,
    };
    let set_watches = Read::SetWatches {
        relative: Zxid(1),
        data: vec!["/a".into()],
        exist: vec!["/b".into()],
        child: vec!["/a".into()],
        persistent: vec!["/a".into()],
        recursive: vec!["/".into()],
    };
    let writes = [
        create("/c", 4, CreateRequest::Container),
        create("/t", 5, CreateRequest::Ttl { ttl_ms: 10_000 }),
        create("/s-", 2, CreateRequest::Create2),
        create("/zookeeper/quota/a", 0, CreateRequest::Create),
        create("/zookeeper/quota/a/zookeeper_limits", 0, CreateRequest::Create),
        Write::SetData {
            path: "/zookeeper/quota/a/zookeeper_limits".into(),
            data: Some(Bytes::from_static(b"count=2,bytes=9,byteHardLimit=12,countHardLimit=3")),
            version: -1,
        },
        Write::SetAcl { path: "/a".into(), acl: vec![Acl::world(1)], version: -1 },
        Write::Multi(vec![
            Write::Check { path: "/a".into(), version: 0 },
            create("/a/b", 1, CreateRequest::Create),
            Write::Delete { path: "/a/b".into(), version: -1 },
        ]),
    ];
    let reads = [set_watches, Read::AddWatch { path: "/a".into(), mode: WatchMode::Recursive }];
    let writes = writes.into_iter().map(ClientRequest::<Tree>::Write);
    let all = writes.chain(reads.into_iter().map(ClientRequest::Read)).chain([ClientRequest::Close]);
    let frame = |request| {
        let mut frame = Vec::new();
        put_request(7, &request, &mut frame).ok().map(|()| frame)
    };
    all.filter_map(frame).collect()
}

pub(crate) fn connects() -> Seeds {
    Ok([client_frames(Side::Client, true)?, client_frames(Side::Server, true)?].concat())
}

pub(crate) fn replies() -> Seeds {
    client_frames(Side::Server, false)
}

/// Runs of requests behind a byte of settings.
pub(crate) fn tree() -> Seeds {
    let (recorded, ours) = (client_frames(Side::Client, false)?, ours());
    let run = |frames: &[Vec<u8>], choice: u8| [vec![choice], frames.concat()].concat();
    let mut seeds: Vec<_> = recorded.chunks(12).map(|frames| run(frames, 0)).collect();
    let opening = recorded.first().cloned().unwrap_or_default();
    seeds.extend(ours.iter().map(|frame| run(&[opening.clone(), frame.clone()], 4)));
    seeds.push(run(&[vec![opening], ours].concat(), 0));
    Ok(seeds)
}

/// Both sides of every connection of these recordings.
fn streams(name: &str) -> Seeds {
    let mut seeds = Vec::new();
    for version in [V3_8, V3_9] {
        for connection in golden::<StreamRecording>(version, name)?.connections {
            seeds.extend([unhex(&connection.dialler)?, unhex(&connection.listener)?]);
        }
    }
    seeds.retain(|seed| !seed.is_empty());
    Ok(seeds)
}

pub(crate) fn packets() -> Seeds {
    streams("quorum")
}

pub(crate) fn election() -> Seeds {
    streams("election")
}

/// Every recorded file whose name the function takes, with what is to stand before it.
fn files(name: &str, before: impl Fn(&str) -> Option<u8>) -> Seeds {
    let mut seeds = Vec::new();
    for version in [V3_8, V3_9] {
        for file in golden::<FileRecording>(version, name)?.files {
            if let Some(first) = before(&file.file) {
                seeds.push([vec![first], unhex(&file.hex)?].concat());
            }
        }
    }
    Ok(seeds)
}

pub(crate) fn log() -> Seeds {
    let mut seeds = files("log", |_| Some(0))?;
    seeds.extend(files("log", |_| Some(1))?);
    Ok(seeds)
}

pub(crate) fn snapshot() -> Seeds {
    let mut seeds = files("snapshot", |_| Some(0))?;
    seeds.extend(files("snapshot", |_| Some(1))?);
    seeds.extend(files("packed", |name| match name.rsplit('.').next() {
        Some("gz") => Some(2),
        Some("snappy") => Some(3),
        _ => Some(1),
    })?);
    Ok(seeds)
}

/// What stands in a snapshot behind its header.
pub(crate) fn state() -> Seeds {
    let mut header = Vec::new();
    snapshot::put_file_header(&mut header);
    let mut seeds = files("snapshot", |_| Some(128))?;
    for seed in &mut seeds {
        seed.drain(1..=header.len());
    }
    Ok(seeds)
}

#[expect(clippy::unnecessary_wraps, reason = "the seeds of other targets are read from files")]
pub(crate) fn config() -> Seeds {
    let texts: [&[u8]; 5] = [
        b"tickTime=2000\ndataDir=/d\nclientPort=2181\n",
        b"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/d\ndataLogDir=/l\nclientPort=2181\n\
          server.1=zk1:2888:3888\nserver.2=zk2:2888:3888:participant;0.0.0.0:2181\n\
          server.3=[::1]:2888:3888:observer\n\0zookeeper.snapCount=1000\njute.maxbuffer=4096\n\x001\n",
        b"# groups\ndataDir=/d\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2\n\
          group.2=3\nweight.1=2\nweight.3=0\npeerType=participant\nstandaloneEnabled=false\n\0\x002",
        b"dataDir : C\\:\\\\zk\\u0041\\\n  next\nclientPortAddress=127.0.0.1\nclientPort=0\nmaxClientCnxns=60\n\
          minSessionTimeout=4000\nmaxSessionTimeout=40000\nautopurge.snapRetainCount=3\n\
          4lw.commands.whitelist=stat, ruok\nadmin.serverPort=8080\nadmin.commandURL=/commands\n\
          metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
          metricsProvider.httpPort=7000\nsnapCount=10\npreAllocSize=64\nskipACL=yes\nglobalOutstandingLimit=9\n",
        b"dataDir=/d\nclientPort=2181\nserver.1=zk1:2888:3888:participant|zk2:1:2\nsecureClientPort=1\n\
          reconfigEnabled=true\ntickTiem=1\nquorumListenOnAllIPs=true\nzookeeper.forceSync=no\n",
    ];
    Ok(texts.map(<[u8]>::to_vec).to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "the seeds of other targets are read from files")]
pub(crate) fn sasl() -> Seeds {
    let answer = "\0username=\"bob\",realm=\"zk-sasl-md5\",nonce=\"NONCE\",nc=00000001,cnonce=\"c\\\"\",\
        digest-uri=\"zookeeper/zk-sasl-md5\",response=d388dad90d4bbd760a152321f2143af7,qop=auth,charset=utf-8,authzid=\"x\"";
    Ok(vec![answer.as_bytes().to_vec(), b"\0\0username=bob".to_vec()])
}

#[expect(clippy::unnecessary_wraps, reason = "the seeds of other targets are read from files")]
pub(crate) fn jaas() -> Seeds {
    let text = "/* users */ Server { // of ours\n org.apache.zookeeper.server.auth.DigestLoginModule required\n\
        user_super=\"a\\\"b\" user_bob=bob;\n};\n# more\nClient { x.Y optional a=b; };";
    Ok(vec![text.as_bytes().to_vec()])
}

/// Stores that tools have made; they lie with the crate that reads them.
fn of_tools(endings: &[&str]) -> Seeds {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../impl/tls/tests/stores");
    let mut paths = std::fs::read_dir(dir)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| endings.iter().any(|ending| path.extension().is_some_and(|found| found == *ending)));
    paths.sort();
    paths.into_iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

pub(crate) fn stores() -> Seeds {
    of_tools(&["pem", "p12", "jks"])
}

/// The certificates of stores.
pub(crate) fn certificates() -> Seeds {
    let certificates = of_tools(&["pem"])?.into_iter().flat_map(|pem| tls::certificates(&pem));
    Ok(certificates.collect())
}

/// A file of a ring, which begins so, behind a byte that is even; and its records behind one that is odd.
pub(crate) fn recording() -> Seeds {
    let mut encoder = Encoder::default();
    encoder.turn(1_700_000_000_000_000);
    let set =
        |length| Write::SetData { path: "/a".into(), data: Some(Bytes::from(vec![7; length])), version: -1 };
    let writes = [set(3), set(5000), Write::Multi(vec![set(10), set(2000), set(90_000)])];
    for (xid, write) in (1..).zip(writes) {
        let request = ClientRequest::Write(write.clone());
        let asked = Input::<Tree>::ClientRequest { client: ClientId(4), xid, request, time: 1000 };
        encoder.input(&asked, false);
        let op = protocol::peer::Op::Write(write);
        let request = Request { session: SessionId(9), xid, identities: Vec::new(), op };
        let packet = Packet::Request(request);
        encoder.input(&Input::Packet { from: ServerId(2), packet, time: 1000 }, false);
    }
    for ticket in 1..5 {
        encoder.input(&Input::Done(protocol::Ticket(ticket)), false);
    }
    encoder.adorn(true, b"server.1=a:1:2", 5);
    encoder.told(7);
    encoder.state(Zxid(4), -3);
    encoder.end();
    let records = encoder.take(Vec::new()).unwrap_or_default();
    let header = [
        u32::try_from(records.len())?.to_le_bytes().to_vec(),
        0_u64.to_le_bytes().to_vec(),
        crc32fast::hash(&records).to_le_bytes().to_vec(),
    ];
    let file = [vec![0], MAGIC.to_vec(), header.concat(), records.clone()].concat();
    Ok(vec![file, [vec![1], records].concat(), claims()])
}

/// A chunk with a multi each part of which says that 256 MiB of its data were left out.
fn claims() -> Vec<u8> {
    let part = [3, 2, b'/', b'a', 1, 0x81, 0x80, 0x80, 0x80, 0x01];
    let head = [1, 15, 2, 2, 2, 6, 20];
    [&head[..], &part.repeat(20)].concat()
}

#[cfg(test)]
mod tests {
    use crate::TARGETS;

    #[test]
    fn every_target_has_seeds_and_takes_them() {
        for target in TARGETS {
            let seeds = (target.seeds)().expect(target.name);
            assert!(!seeds.is_empty(), "{} has no seed", target.name);
            for seed in seeds {
                (target.run)(&seed);
            }
        }
    }
}
