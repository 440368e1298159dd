//! The tasks of links: dialling, accepting, and taking packets off the stream.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    rc::Weak,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use protocol::{
    Message, Timer,
    peer::{Input, Packet},
};
use spec::{ServerId, Zxid};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::yield_now,
};
use tracing::{debug, info, warn};
use tree::{Tree, TreeBuilder};
use wire::{
    Decoder, complete,
    peer::{QuorumPacket, Received, decode, measure, measure_all},
    snapshot::{self, Piece},
};

use super::{Port, refuse_stranger};
use crate::{
    Config,
    core::{Core, Shared},
    net,
    secure::Door,
    stream::{Reader, Stream},
};

/// Bytes that one read takes at most.
const READ_BYTES: usize = 256 << 10;
/// Bytes at once of which a link has more, in all likelihood.
const SHARE_BYTES: usize = 32 << 10;
/// Pieces of a snapshot that are taken in before others have their turn.
const PIECES_AT_ONCE: usize = 2000;

/// So many packets of a leader wait in memory for a cut of the log, or a state to be stored.
const KEPT_ASIDE_MAX: usize = 1000;
/// How often it is looked whether they still do.
const BEHIND: Duration = Duration::from_millis(5);

/// The longest first packet of a learner, before it is known as one.
const FIRST_BYTES_MAX: usize = 64 << 10;

/// Why a link ends over which a state comes that nobody waits for.
const UNASKED: &str = "it sends a whole state, which is not what comes next";

/// Why a link ends.
type Broken = Box<dyn std::error::Error>;

/// Dials a server until it answers, then reads from it.
pub(super) async fn dial(me: Weak<RefCell<Core>>, config: Rc<Config>, to: ServerId, incarnation: u64) {
    let Some(address) = config.servers.get(&to) else {
        return;
    };
    let mut told = false;
    if incarnation > 1 && !config.quorum.is_voter(config.me) {
        // It has lost a leader, and so have all observers of that one: they are not to come back at once.
        let wait = net::random_below(u64::from(config.throttles.reconnect_delay_max_ms));
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    loop {
        let Some(core) = me.upgrade() else { return };
        let wait = core.borrow_mut().shell.links.wait_before(to, Instant::now());
        drop(core);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            let Some(core) = me.upgrade() else { return };
            core.borrow_mut().give_up_dialling(to, incarnation);
        }
        match call(&me, &config, &address.host, address.quorum_port).await {
            Ok(stream) => {
                let Some(core) = me.upgrade() else { return };
                let (reader, writer) = stream.into_split();
                if core.borrow_mut().link_connected(to, incarnation, writer) {
                    drop(core);
                    return read(&me, reader, BytesMut::new(), to, incarnation).await;
                }
                return;
            }
            Err(error) if told => debug!(peer = %to, %error, "cannot reach the leader"),
            Err(error) => {
                told = true;
                warn!(peer = %to, %error, "cannot reach the leader; trying on");
            }
        }
    }
}

/// Dials a port between servers, and shakes hands where servers speak TLS.
pub(crate) async fn call(
    me: &Weak<RefCell<Core>>,
    config: &Config,
    host: &str,
    port: u16,
) -> io::Result<Stream> {
    let wait_max = Duration::from_millis(u64::from(config.connect_timeout_ms));
    let tcp = net::dial(host, port, wait_max).await?;
    super::prepare(&tcp, config, false)?;
    let tls = me.upgrade().and_then(|core| core.borrow().shell.tls.dials.clone());
    let Some(tls) = tls else { return Ok(Stream::Plain(tcp)) };
    match tokio::time::timeout(wait_max, tls.greet(tcp, host)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(io::Error::new(error.kind(), format!("no TLS with {host}:{port}: {error}"))),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Lets somebody in who has dialled a port between servers; or says why not.
pub(crate) async fn answer(door: &Door, tcp: TcpStream, config: &Config) -> Result<Stream, String> {
    let wait_max = Duration::from_millis(u64::from(config.connect_timeout_ms));
    let address = tcp.peer_addr().map_err(|error| error.to_string())?;
    let stream = match tokio::time::timeout(wait_max, door.open(tcp)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("no TLS with {address}: {error}")),
        Err(_) => return Err(format!("no TLS with {address}: no hands were shaken in time")),
    };
    let hosts = config.servers.values().map(|server| server.host.as_str());
    if door.refuses(stream.certificate().as_ref(), net::plain_ip(address), hosts) {
        return Err(format!(
            "the certificate of {address} is for no host of the server list; \
             ssl.quorum.clientHostnameVerification=false lets it pass"
        ));
    }
    Ok(stream)
}

/// Takes the links of learners.
pub(crate) async fn accept(core: Shared, listener: TcpListener, config: Rc<Config>) {
    let door = core.borrow().shell.tls.servers.clone();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if net::is_crowded(&stream, net::FILES_BESIDE_LINKS) => {
                core.borrow_mut().shell.out_of_files();
            }
            Ok((stream, _)) => {
                let me = Rc::downgrade(&core);
                tokio::task::spawn_local(greet(me, stream, Rc::clone(&config), door.clone()));
            }
            Err(error) => {
                debug!(%error, "cannot accept a learner");
                if net::is_out_of_files(&error) {
                    core.borrow_mut().shell.out_of_files();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Reads a learner's first packet, which says who it is.
async fn greet(me: Weak<RefCell<Core>>, stream: TcpStream, config: Rc<Config>, door: Door) {
    if super::prepare(&stream, &config, true).is_err() {
        return;
    }
    let stream = match answer(&door, stream, &config).await {
        Ok(stream) => stream,
        Err(why) => return refuse_stranger(&me, Port::Quorum, &why),
    };
    let wait_max = Duration::from_millis(u64::from(config.tick_ms) * u64::from(config.init_limit));
    let (mut reader, writer) = stream.into_split();
    let mut input = BytesMut::new();
    let first = tokio::time::timeout(wait_max, next_packet(&mut reader, &mut input)).await;
    let packet = match first {
        Ok(Ok(packet)) => packet,
        Ok(Err(error)) if error.is::<io::Error>() => {
            return debug!(%error, "a learner did not say who it is");
        }
        Ok(Err(error)) => return refuse_stranger(&me, Port::Quorum, &error.to_string()),
        Err(_) => return refuse_stranger(&me, Port::Quorum, "it did not say who it is"),
    };
    let (learner, packet) = match decode::<Tree>(&packet) {
        Ok(Received::Introduction { learner, packet }) => (learner, packet),
        Ok(Received::Snap { .. } | Received::Packet(_)) => {
            return refuse_stranger(&me, Port::Quorum, "it did not begin with FOLLOWERINFO or OBSERVERINFO");
        }
        Err(error) => return refuse_stranger(&me, Port::Quorum, &error.to_string()),
    };
    let from = learner.sid;
    if !config.servers.contains_key(&from) || from == config.me {
        return refuse_stranger(&me, Port::Quorum, &format!("server {from} is none of the ensemble"));
    }
    let Some(core) = me.upgrade() else { return };
    let incarnation = {
        let mut core = core.borrow_mut();
        let Some(incarnation) = core.link_accepted(from, writer) else { return };
        let time = core.shell.touch().wall;
        core.step(Input::Packet { from, packet, time });
        incarnation
    };
    let task = tokio::task::spawn_local({
        let me = me.clone();
        async move { read(&me, reader, input, from, incarnation).await }
    });
    core.borrow_mut().link_task(from, incarnation, task.abort_handle());
}

/// Takes packets off a link until it breaks.
async fn read(
    me: &Weak<RefCell<Core>>,
    mut reader: Reader,
    mut input: BytesMut,
    peer: ServerId,
    incarnation: u64,
) {
    let mut heard = false;
    let broken = loop {
        match packets(me, &mut input, peer, incarnation) {
            Ok(Taken::All) => {}
            Ok(Taken::Gone) => return,
            Ok(Taken::Snapshot(last)) => match take_snapshot(me, &mut reader, &mut input, last).await {
                Ok(Some(tree)) => match me.upgrade() {
                    // NEWLEADER may have come with the end of the state.
                    Some(core) if core.borrow_mut().snapshot_taken(peer, incarnation, tree, last) => continue,
                    Some(_) => break UNASKED.into(),
                    None => return,
                },
                Ok(None) => return,
                Err(error) => break error,
            },
            Err(error) => break error,
        }
        while is_behind(me, peer) {
            tokio::time::sleep(BEHIND).await;
        }
        match fill(&mut reader, &mut input).await {
            Ok(count) => {
                heard = true;
                if let Some(core) = me.upgrade() {
                    core.borrow_mut().comes_from(peer);
                }
                // As long as there is more, others have their turn between: the answers to this among them.
                if count >= SHARE_BYTES {
                    yield_now().await;
                }
            }
            Err(error) => break error.into(),
        }
    };
    if heard {
        warn!(%peer, error = %broken, "a link between servers broke");
    } else {
        // A server that does not lead turns learners away without a word.
        debug!(%peer, error = %broken, "a server did not let this one in");
    }
    if let Some(core) = me.upgrade() {
        core.borrow_mut().link_lost(peer, incarnation);
    }
}

/// Whether there is enough of what this leader says in memory, since this server is cutting its log or storing a state, or
/// its disk is slower than what comes: the rest may wait at the leader, which counts it, and gives up a learner that has
/// too much of it. A disk that stands still for longer than syncLimit costs the link.
fn is_behind(me: &Weak<RefCell<Core>>, leader: ServerId) -> bool {
    me.upgrade().is_some_and(|core| {
        let core = core.borrow();
        let kept = core.peer.zab().kept_aside() >= KEPT_ASIDE_MAX || core.shell.store.is_behind();
        kept && core.shell.links.is_dialled(leader)
    })
}

/// What became of the packets at hand.
enum Taken {
    /// They are all told of.
    All,
    /// A snapshot follows.
    Snapshot(Zxid),
    /// The link was closed meanwhile.
    Gone,
}

/// Tells the peer of every whole packet at hand.
fn packets(
    me: &Weak<RefCell<Core>>,
    input: &mut BytesMut,
    peer: ServerId,
    incarnation: u64,
) -> Result<Taken, Broken> {
    let Some(core) = me.upgrade() else {
        return Ok(Taken::Gone);
    };
    let mut core = core.borrow_mut();
    let time = core.shell.touch().wall;
    loop {
        let bytes = input.split_to(measure_all(input)?).freeze();
        if bytes.is_empty() {
            break;
        }
        let mut rest = Decoder::shared(&bytes, wire::record::STREAM_FIELD_BYTES_MAX);
        while !rest.is_empty() {
            if !core.shell.links.is_current(peer, incarnation) {
                return Ok(Taken::Gone);
            }
            match decode::<Tree>(&QuorumPacket::decode(&mut rest)?)? {
                Received::Packet(packet) | Received::Introduction { packet, .. } => {
                    tell_sync(peer, &packet);
                    let serves = core.shell.part.serving;
                    core.shell.stats.pipeline.received(peer, &packet, serves, time);
                    let asks = matches!(packet, Packet::Request { .. } | Packet::Sync);
                    core.shell.links.came(peer, asks);
                    core.step(Input::Packet { from: peer, packet, time });
                }
                Received::Snap { last } => {
                    if !core.peer.takes_snapshot(peer, last) {
                        return Err(UNASKED.into());
                    }
                    info!(%peer, zxid = %last, how = "Snap", "being brought up to date");
                    return Ok(Taken::Snapshot(last));
                }
            }
        }
    }
    Ok(if core.shell.links.is_current(peer, incarnation) { Taken::All } else { Taken::Gone })
}

/// Says how a leader brings this server up to date; the leader says the same of its learner.
fn tell_sync(peer: ServerId, packet: &Packet<Tree>) {
    let (how, last) = if let Packet::Zab(Message::Diff { last }) = packet {
        ("Diff", last)
    } else if let Packet::Zab(Message::Trunc { last }) = packet {
        ("Trunc", last)
    } else {
        return;
    };
    info!(%peer, zxid = %last, how, "being brought up to date");
}

/// The first packet of a learner.
async fn next_packet(reader: &mut Reader, input: &mut BytesMut) -> Result<QuorumPacket, Broken> {
    loop {
        if let Some(length) = measure(input)? {
            let bytes = input.split_to(length).freeze();
            return Ok(QuorumPacket::decode(&mut Decoder::shared(
                &bytes,
                wire::record::STREAM_FIELD_BYTES_MAX,
            ))?);
        }
        if input.len() > FIRST_BYTES_MAX {
            return Err("its first packet is too long".into());
        }
        fill(reader, input).await?;
    }
}

/// Reads once. What is split off the buffer is not copied, and the buffer grows with what has come, never with what
/// a length promises.
async fn fill(reader: &mut Reader, input: &mut BytesMut) -> io::Result<usize> {
    input.reserve(READ_BYTES / 4);
    let mut limited = reader.take(READ_BYTES as u64);
    match limited.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// Builds the state that follows a SNAP packet, a slice at a time. `None` if the server is ending.
async fn take_snapshot(
    me: &Weak<RefCell<Core>>,
    reader: &mut Reader,
    input: &mut BytesMut,
    last: Zxid,
) -> Result<Option<Tree>, Broken> {
    let mut pieces = snapshot::Reader::new();
    let mut builder = TreeBuilder::new();
    loop {
        match take_pieces(&mut pieces, &mut builder, input)? {
            Pieces::More => {
                fill(reader, input).await?;
            }
            Pieces::Slice => yield_now().await,
            Pieces::End => break,
        }
        match me.upgrade() {
            Some(core) => core.borrow_mut().shell.comes_on(Timer::Establish),
            None => return Ok(None),
        }
    }
    loop {
        let mut decoder = Decoder::stream(input);
        if complete(snapshot::signature(&mut decoder))?.is_some() {
            let taken = input.len() - decoder.rest().len();
            input.advance(taken);
            return Ok(Some(builder.finish(last)?));
        }
        fill(reader, input).await?;
    }
}

enum Pieces {
    /// What is at hand is taken.
    More,
    /// A slice is taken.
    Slice,
    /// The state is whole.
    End,
}

fn take_pieces(
    pieces: &mut snapshot::Reader,
    builder: &mut TreeBuilder,
    input: &mut BytesMut,
) -> Result<Pieces, Broken> {
    let mut decoder = Decoder::stream(input);
    let mut outcome = Pieces::Slice;
    for _ in 0..PIECES_AT_ONCE {
        match pieces.next(&mut decoder)? {
            None => {
                outcome = Pieces::More;
                break;
            }
            Some(Piece::Session { session, timeout_ms }) => builder.session(session, timeout_ms),
            Some(Piece::Acl { key, acl }) => builder.acl(key, &acl),
            Some(Piece::Node { path, data, acl, stat }) => {
                builder.node(path.as_str(), data.as_deref(), acl, stat)?;
            }
            Some(Piece::End) => {
                outcome = Pieces::End;
                break;
            }
        }
    }
    let taken = input.len() - decoder.rest().len();
    input.advance(taken);
    if matches!(outcome, Pieces::More) && input.len() > wire::peer::PACKET_BYTES_MAX {
        return Err("a piece of a snapshot is too large".into());
    }
    Ok(outcome)
}

impl Core {
    /// A server that is dialled says something: as long as a leader does, it is bringing this one up to date.
    fn comes_from(&mut self, peer: ServerId) {
        if self.shell.links.is_dialled(peer) {
            self.shell.comes_on(Timer::Establish);
        }
    }

    /// A whole state has come. Whether it is what the peer waits for, or nobody does any more: nothing else may take
    /// the place of the state that this server has.
    fn snapshot_taken(&mut self, from: ServerId, incarnation: u64, tree: Tree, zxid: Zxid) -> bool {
        if !self.shell.links.is_current(from, incarnation) {
            return true;
        }
        let taken = self.peer.takes_snapshot(from, zxid);
        if taken {
            self.replace_tree(tree);
            self.step(Input::Snapshot { from, zxid });
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use spec::{Epoch, Machine, SessionId, Zxid};
    use storage::snapshot::{put_head, put_node};
    use tree::{Acl, CreateKind, CreateTxn, Text, Tree, Txn, TxnBody, Walk, Watches};
    use wire::snapshot::put_end;

    use super::{Pieces, snapshot, take_pieces};

    fn apply(tree: &mut Tree, counter: u32, body: TxnBody) {
        let txn = Txn { session: SessionId(7), cxid: 1, time: 5, body, digest: None };
        tree.apply(Zxid::new(Epoch(1), counter), &txn, &mut Watches::default(), &mut |_, _| {});
    }

    fn tree() -> Tree {
        let mut tree = Tree::new();
        apply(&mut tree, 1, TxnBody::CreateSession { timeout_ms: 4000 });
        for counter in 2..40 {
            let create = CreateTxn {
                kind: CreateKind::Create { ephemeral: counter % 3 == 0 },
                path: Text::from(format!("/node-{counter}")),
                data: Some(Bytes::from(vec![1; counter as usize])),
                acl: vec![Acl::world(if counter % 2 == 0 { 31 } else { 1 })],
                parent_cversion: i32::try_from(counter).expect("small"),
            };
            apply(&mut tree, counter, TxnBody::Create(create));
        }
        tree
    }

    #[test]
    fn a_state_arrives_as_it_was_sent_however_it_is_cut() {
        let mut sent = tree();
        let mut walk = Walk::start(&mut sent);
        let mut stream = BytesMut::new();
        put_head(&walk, &mut stream);
        walk.next(&mut sent, usize::MAX, &mut |node| put_node(node, &mut stream))
            .expect("the tree that is walked");
        put_end(&mut stream);
        for step in [1, 7, 100, stream.len()] {
            let (mut pieces, mut builder) = (snapshot::Reader::new(), tree::TreeBuilder::new());
            let mut input = BytesMut::new();
            let mut ended = false;
            for part in stream.chunks(step) {
                input.extend_from_slice(part);
                ended =
                    matches!(take_pieces(&mut pieces, &mut builder, &mut input).expect("valid"), Pieces::End);
            }
            assert!(ended && input.is_empty(), "in steps of {step}");
            assert_eq!(builder.finish(sent.last_processed()).expect("a tree"), sent, "in steps of {step}");
        }
    }

    #[test]
    fn a_stream_that_is_no_state_is_refused() {
        let mut input = BytesMut::from(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe][..]);
        let mut builder = tree::TreeBuilder::new();
        assert!(take_pieces(&mut snapshot::Reader::new(), &mut builder, &mut input).is_err());
    }
}
