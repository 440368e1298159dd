//! What holds clients back: too many connections at once, too many requests, and too many large ones.
//!
//! Requests wait in the buffers of their connections, in front of the peer, and a connection that waits is not read from.
//! So the state's thread has nothing to sort out, and whoever hangs up takes along what waits.
//!
//! Sources: ZooKeeper `BlueThrottle`, `RequestThrottler`, `ZooKeeperServer` (large requests).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use protocol::{Peer, peer::ClientRequest};
use spec::{ClientId, ErrorCode, SessionId};
use tree::Tree;
use wire::{Decoder, client::RequestHeader, client::opcode, record};

use crate::{
    config::{MILLION, Tokens},
    core::{Core, Shell},
    measure::micros,
    net,
    view::Mode,
};

/// How many bytes of writes clients of this server may have under way. Beyond it nobody is read from who has something
/// under way, and large requests wait. So a burst of large writes waits with the clients, and not between servers, where
/// a link with too much unsent breaks.
pub(crate) const WRITES_BYTES_MAX: usize = 8 << 20;
/// A request of so many bytes does not wait for those.
const LITTLE: usize = 4 << 10;
/// The same while too much is under way of which the clients have hung up: hardly a write.
const HARDLY_ANYTHING: usize = 64;
/// What a request has that is nothing but its header: its client lives, or leaves, whoever it has proved to be.
const HEADER_BYTES: usize = 8;

/// Why a connection ends that asks too much beside others.
pub(crate) const TOO_LARGE: wire::Error = wire::Error::Invalid {
    what: "a large request beside others that are under way: together they have more than largeRequestMaxBytes; send it again later",
};

/// Writes that are under way and whose connections are gone, in the order in which those went: they count, as long as the
/// peer keeps them, or hanging up behind each would let a client have as many under way as it likes.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Session, number, bytes.
    writes: VecDeque<(SessionId, i32, usize)>,
    bytes: usize,
}

impl Orphans {
    /// A write of a connection that goes.
    pub(crate) fn add(&mut self, session: SessionId, xid: i32, bytes: usize) {
        self.writes.push_back((session, xid, bytes));
        self.bytes += bytes;
    }

    /// Leaves out those in front that are over: what is behind one that is not has hardly waited for less long.
    fn settle(&mut self, peer: &Peer<Tree>) {
        while let Some((_, _, bytes)) =
            self.writes.pop_front_if(|(session, xid, _)| !peer.keeps(*session, *xid))
        {
            self.bytes -= bytes;
        }
    }
}

impl Shell {
    /// Whether a frame begins here that is a large request, for which there is no room now.
    pub(crate) fn is_too_large(&self, bytes: &[u8]) -> bool {
        let throttles = &self.config.throttles;
        throttles.large_over.is_some_and(|over| {
            let announced = bytes.first_chunk().map(|length| u32::from_be_bytes(*length));
            let length = announced.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
            length > over && self.clients.large_bytes.saturating_add(length) > throttles.large_bytes_max
        })
    }

    /// Notes a request of so many bytes. How many they are, if it is a large one.
    pub(crate) fn large_bytes(&mut self, bytes: usize) -> u32 {
        if self.config.throttles.large_over.is_none_or(|over| bytes <= over) {
            return 0;
        }
        self.clients.large_bytes += bytes;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Notes a request of so many bytes. How many they are, if it writes.
    pub(crate) fn writes_bytes(&mut self, id: ClientId, request: &ClientRequest<Tree>, bytes: usize) -> u32 {
        if !matches!(request, ClientRequest::Write(_)) {
            return 0;
        }
        let Some(client) = self.clients.get(id) else { return 0 };
        let bytes = u32::try_from(bytes + client.proofs.weight()).unwrap_or(u32::MAX);
        self.clients.writes_bytes += usize::try_from(bytes).unwrap_or(usize::MAX);
        bytes
    }

    /// Whether clients have writes of so many bytes under way that all of them have to wait.
    pub(crate) fn too_much_written(&self) -> bool {
        self.clients.writes_bytes + self.clients.orphans.bytes > WRITES_BYTES_MAX || self.too_many_orphans()
    }

    /// Whether so much is under way of clients who have hung up that a new connection may add next to nothing.
    fn too_many_orphans(&self) -> bool {
        let orphans = &self.clients.orphans;
        orphans.bytes > WRITES_BYTES_MAX || orphans.writes.len() > self.config.outstanding_max
    }

    /// Requests that are under way, also of clients who have hung up.
    pub(crate) fn requests_under_way(&self, peer: &Peer<Tree>) -> usize {
        peer.outstanding_requests() + self.clients.orphans.writes.len()
    }

    /// Whether so many are that all have to wait.
    pub(crate) fn too_many_requests(&self, peer: &Peer<Tree>) -> bool {
        self.requests_under_way(peer) > self.config.outstanding_max
    }

    /// Looks which writes are over that nobody waits for.
    pub(crate) fn settle_orphans(&mut self, peer: &Peer<Tree>) {
        self.clients.orphans.settle(peer);
    }

    /// Whether a connection may ask for a session: for a new one, if it names none.
    pub(crate) fn admits(&mut self, session: SessionId, now: Instant) -> bool {
        if !self.config.throttles.leader_serves && self.mode() == Mode::Leader {
            return false;
        }
        let admitted = self.bucket.admits(session == SessionId(0), now);
        if admitted {
            self.stats.renewals += u64::from(session != SessionId(0));
            if let Some(deficit) = self.bucket.deficit() {
                self.stats.throttled.deficit.record(u64::from(deficit));
            }
        } else {
            self.stats.connections_refused += 1;
            if let Some(refused) = self.seldom.throttled.count(now) {
                tracing::warn!(
                    refused,
                    "connections were turned away: connection_throttle_tokens are used up"
                );
            }
        }
        admitted
    }

    /// What the peer is to make of a request, where requests may have to wait: what waited too long is refused in its
    /// turn.
    pub(crate) fn waited(
        &mut self,
        id: ClientId,
        request: ClientRequest<Tree>,
        now: Instant,
    ) -> ClientRequest<Tree> {
        let throttles = &self.config.throttles;
        let since = self.clients.get(id).and_then(|client| client.throttled);
        let waited = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.stats.throttled.waited.record(micros(waited));
        let too_long = throttles.wait_max_ms > 0 && waited.as_millis() > u128::from(throttles.wait_max_ms);
        let refusable = match &request {
            ClientRequest::Read(_) | ClientRequest::Write(_) | ClientRequest::Sync(_) => true,
            ClientRequest::Ping
            | ClientRequest::Close
            | ClientRequest::Authenticate(_)
            | ClientRequest::Exchange { .. }
            | ClientRequest::Refused { .. } => false,
        };
        if !too_long || !refusable {
            return request;
        }
        self.stats.throttled.operations += 1;
        ClientRequest::Refused { code: ErrorCode::Throttled, close: false }
    }
}

impl Core {
    /// Whether a request of so many bytes has to wait until less is written, while too much is.
    pub(crate) fn holds_much(&mut self, id: ClientId, bytes: usize) -> bool {
        let little = if self.shell.too_many_orphans() { HARDLY_ANYTHING } else { LITTLE };
        let Some(client) = self.shell.clients.get(id) else { return false };
        client.holds_much = bytes > HEADER_BYTES && bytes + client.proofs.weight() > little;
        client.stalled |= client.holds_much;
        client.holds_much
    }

    /// Whether what a connection asks has to wait until fewer requests are under way.
    pub(crate) fn holds(&mut self, id: ClientId, now: Instant) -> bool {
        let max = self.shell.config.throttles.requests_max;
        if max == 0 {
            return false;
        }
        let full = self.shell.requests_under_way(&self.peer) >= max;
        let held = self.shell.clients.hold(id, full, now);
        self.shell.stats.throttled.waits += u64::from(held == Some(true));
        held.is_some()
    }

    /// Lets as many connections go on as there is room for, of those whose requests wait for others.
    pub(crate) fn grant_throttled(&mut self) {
        if self.shell.clients.any_throttled() {
            let max = self.shell.config.throttles.requests_max;
            let under_way = self.shell.requests_under_way(&self.peer);
            self.shell.clients.grant(max.saturating_sub(under_way));
        }
    }

    /// Whether what waits on a connection is of no use any more, and the connection was dropped for it. The connection
    /// itself is what would be told of one request that is left out, so it goes with it.
    pub(crate) fn drops_stale(&mut self, id: ClientId) -> bool {
        let stale = self.shell.config.throttles.stale;
        let now = self.shell.clock_now().now;
        let Some(client) = self.shell.clients.get(id).filter(|client| client.throttled.is_some()) else {
            return false;
        };
        let closed = stale.when_closed && net::is_hung_up(client.writer.tcp());
        if !(closed || stale.when_late && client.is_late(now)) || closes_first(&client.partial) {
            return false;
        }
        let requests = whole_frames(&client.partial, self.shell.config.frame_bytes_max);
        let throttled = &mut self.shell.stats.throttled;
        if stale.dropped {
            throttled.stale_dropped += requests;
            self.shell.drop_client(id);
            self.settle();
        } else {
            throttled.stale += requests;
        }
        stale.dropped
    }

    /// Once in a while: what waits, and is of no use any more.
    pub(crate) fn drop_late(&mut self) {
        let stale = self.shell.config.throttles.stale;
        if stale.dropped && stale.when_late && self.shell.clients.any_throttled() {
            for id in self.shell.clients.late(self.shell.clock_now().now) {
                self.drops_stale(id);
            }
        }
        self.grant_throttled();
    }
}

/// Whether the first that waits here closes the session, which has to be done whoever still listens.
fn closes_first(bytes: &[u8]) -> bool {
    let header = bytes.get(4..).map(|bytes| RequestHeader::decode(&mut Decoder::new(bytes, bytes.len())));
    matches!(header, Some(Ok(header)) if header.operation == opcode::CLOSE_SESSION)
}

fn whole_frames(mut bytes: &[u8], max: usize) -> u64 {
    let mut frames = 0;
    while let Ok(Some(payload)) = record::frame(bytes, max) {
        frames += 1;
        bytes = &bytes[4 + payload.len()..];
    }
    frames
}

/// A bucket of tokens that connections take from before they have a session, and the chance that one is turned away
/// although there are tokens. A burst of connections empties it, and whoever comes then is to try another server. Where
/// a chance is set up, the longer the bucket is empty the more are turned away.
#[derive(Debug)]
pub(crate) struct Bucket {
    tokens: Tokens,
    left: u32,
    filled: Instant,
    frozen: Instant,
    /// In millionths.
    chance: u32,
    dice: u64,
}

impl Bucket {
    /// A full one; `seed` is what its dice start from.
    pub(crate) fn new(tokens: Tokens, now: Instant, seed: u64) -> Self {
        Self { tokens, left: tokens.max, filled: now, frozen: now, chance: 0, dice: seed | 1 }
    }

    /// Whether a connection may have a session, which takes some tokens: one that is new, or one to go on with.
    pub(crate) fn admits(&mut self, new: bool, now: Instant) -> bool {
        let need = if new { self.tokens.of_new } else { self.tokens.of_renewed };
        if self.tokens.max == 0 {
            return true;
        }
        self.fill(now);
        if let Some(freeze) = self.tokens.freeze_ms
            && self.turns_away(Duration::from_millis(u64::from(freeze)), now)
        {
            return false;
        }
        let enough = self.left >= need;
        if enough {
            self.left -= need;
        }
        enough
    }

    /// The tokens that are missing; nothing where there is no bucket.
    pub(crate) fn deficit(&self) -> Option<u32> {
        (self.tokens.max > 0).then(|| self.tokens.max - self.left)
    }

    /// The chance that a connection is turned away although there are tokens, in millionths.
    pub(crate) fn chance(&self) -> u32 {
        self.chance
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_millis();
        let every = u128::from(self.tokens.fill_ms);
        if since > every {
            let more = since * u128::from(self.tokens.fill) / every;
            let left = u128::from(self.left).saturating_add(more).min(u128::from(self.tokens.max));
            self.left = u32::try_from(left).unwrap_or(self.tokens.max);
            self.filled = now;
        }
    }

    fn turns_away(&mut self, freeze: Duration, now: Instant) -> bool {
        let (used, max) = (self.tokens.max - self.left, self.tokens.max);
        let calm =
            (u64::from(max) * u64::from(self.tokens.ratio) + u64::from(MILLION / 2)) / u64::from(MILLION);
        if now.saturating_duration_since(self.frozen) > freeze {
            if used == max {
                self.chance = (self.chance + self.tokens.increase).min(MILLION);
            } else if u64::from(used) <= calm {
                self.chance = self.chance.saturating_sub(self.tokens.decrease);
            }
            self.frozen = now;
        }
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % u64::from(MILLION) < u64::from(self.chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Tokens = Tokens {
        max: 0,
        fill_ms: 1,
        fill: 1,
        freeze_ms: None,
        increase: 20_000,
        decrease: 2_000,
        ratio: 0,
        of_new: 1,
        of_renewed: 1,
    };

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_is_cut_and_time_brings_tokens_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Tokens { max: 3, fill_ms: 100, fill: 2, ..OFF }, start, 7);
        let burst = (0..10).filter(|_| bucket.admits(true, start)).count();
        assert_eq!((burst, bucket.deficit()), (3, Some(3)));
        assert!(!bucket.admits(true, after(start, 100)), "not before more than one filling time is over");
        assert!(bucket.admits(true, after(start, 101)) && bucket.admits(true, after(start, 101)));
        assert!(!bucket.admits(true, after(start, 101)), "two tokens came");
        let later = (0..10).filter(|_| bucket.admits(true, after(start, 10_000))).count();
        assert_eq!(later, 3, "no more than the bucket holds");
    }

    #[test]
    fn a_session_that_is_new_takes_more_than_one_that_goes_on() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Tokens { max: 7, fill: 0, of_new: 3, of_renewed: 2, ..OFF }, start, 7);
        assert!(bucket.admits(true, start) && bucket.admits(false, start) && bucket.admits(false, start));
        assert!(!bucket.admits(true, start), "nothing is left");
    }

    #[test]
    fn without_tokens_everybody_is_admitted() {
        let start = Instant::now();
        let mut bucket = Bucket::new(OFF, start, 7);
        assert!((0..1000).all(|_| bucket.admits(true, start)));
        assert_eq!(bucket.deficit(), None);
    }

    #[test]
    fn the_chance_grows_while_the_bucket_is_empty_and_falls_while_it_is_full() {
        let start = Instant::now();
        let tokens =
            Tokens { max: 1, fill: 0, freeze_ms: Some(10), increase: 400_000, decrease: 100_000, ..OFF };
        let mut bucket = Bucket::new(tokens, start, 7);
        assert!(bucket.admits(true, start));
        for (ms, chance) in [(5, 0), (11, 400_000), (15, 400_000), (22, 800_000), (33, 1_000_000)] {
            assert!(!bucket.admits(true, after(start, ms)));
            assert_eq!(bucket.chance(), chance, "after {ms} ms");
        }
        // Tokens are back, and the chance turns everybody away until it has fallen.
        bucket.left = 1;
        assert!(!bucket.admits(true, after(start, 40)), "the chance is 1");
        bucket.admits(true, after(start, 44));
        assert_eq!(bucket.chance(), 900_000);
    }
}
