//! The election port: who dials, and the notifications of FastLeaderElection.
//!
//! A connection opens with one [`Hello`] of the side that dialled. Then each side sends frames, each a
//! [`Notice`].

use protocol::{Notification, ServerState, Vote};
use spec::{Epoch, ServerId, Zxid};

use crate::{Buffer, Decoder, Error, record};

/// The greatest frame on the election port, in bytes.
pub const FRAME_BYTES_MAX: usize = 512 << 10;

/// The longest address text in a [`Hello`], in bytes.
pub const ADDRESS_BYTES_MAX: usize = 2048;

/// The version of [`Hello`] with one address.
const HELLO_ONE: i64 = -65536;
/// The version of [`Hello`] with several, separated by `|`.
const HELLO_MANY: i64 = -65535;
/// The version of [`Notice`] that carries a configuration.
const VERSION: i32 = 2;
/// Java writes this for "no leader" and "no zxid".
const NOTHING: i64 = i64::MIN;

/// What the dialling side says first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Who dials.
    pub sid: ServerId,
    /// Its own election addresses as it knows them, each `host:port`; empty in the oldest form.
    pub addresses: Vec<String>,
}

impl Hello {
    /// Appends it: version 1 for one address, version 2 for several, the oldest form for none.
    pub fn encode(&self, out: &mut impl Buffer) {
        match self.addresses.len() {
            0 => return out.put_unsigned(self.sid.0),
            1 => out.put_long(HELLO_ONE),
            _ => out.put_long(HELLO_MANY),
        }
        out.put_unsigned(self.sid.0);
        out.put_bytes(self.addresses.join("|").as_bytes());
    }

    /// Reads one from the front of a stream.
    ///
    /// # Errors
    /// [`Error::Short`] while it is not whole; otherwise what is wrong with it.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, Error> {
        let first = input.long()?;
        if first >= 0 {
            return Ok(Self { sid: ServerId(first.unsigned_abs()), addresses: Vec::new() });
        }
        if first != HELLO_ONE && first != HELLO_MANY {
            return Err(Error::Unknown { what: "election protocol version", found: first });
        }
        let sid = ServerId(input.unsigned()?);
        let length = input.int()?;
        let length = match usize::try_from(length) {
            Ok(length) if (1..=ADDRESS_BYTES_MAX).contains(&length) => length,
            _ => {
                return Err(Error::Length {
                    what: "list of addresses",
                    found: i64::from(length),
                    allowed: ADDRESS_BYTES_MAX,
                });
            }
        };
        let text = std::str::from_utf8(input.take(length)?)
            .map_err(|_| Error::Invalid { what: "a list of addresses is not UTF-8" })?;
        Ok(Self { sid, addresses: text.split('|').map(str::to_owned).collect() })
    }
}

/// A notification as it stands on the wire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The sender's state: 0 looking, 1 following, 2 leading, 3 observing.
    pub state: i32,
    /// The server voted for; the least long for nobody.
    pub leader: i64,
    /// That server's last transaction; negative for none.
    pub zxid: i64,
    /// The sender's round.
    pub round: i64,
    /// The epoch of the vote.
    pub epoch: i64,
    /// The version of the form; 0 in forms without one.
    pub version: i32,
    /// The configuration as text, `server.N=…` lines and `version=…`; empty in forms before version 2.
    pub config: Vec<u8>,
}

impl Notice {
    /// A notification of ours; `config` is the text of the ensemble's configuration.
    pub fn new(notification: &Notification, config: &[u8]) -> Self {
        let vote = notification.vote;
        Self {
            state: match notification.state {
                ServerState::Looking => 0,
                ServerState::Following => 1,
                ServerState::Leading => 2,
                ServerState::Observing => 3,
            },
            leader: vote.leader.0.cast_signed(),
            zxid: vote.zxid.map_or(NOTHING, |zxid| zxid.0.cast_signed()),
            round: notification.round.cast_signed(),
            epoch: i64::from(vote.epoch.0),
            version: VERSION,
            config: config.to_vec(),
        }
    }

    /// What it says to an election.
    ///
    /// ZooKeeper writes −1 or the least long for what is not there, as observers do that vote for nobody: such a
    /// leader becomes an id that no voter has, such a zxid none, such an epoch or round 0, which is below all others.
    ///
    /// # Errors
    /// A state or epoch that is none.
    pub fn notification(&self) -> Result<Notification, Error> {
        let state = match self.state {
            0 => ServerState::Looking,
            1 => ServerState::Following,
            2 => ServerState::Leading,
            3 => ServerState::Observing,
            found => return Err(Error::Unknown { what: "server state", found: i64::from(found) }),
        };
        let epoch = u32::try_from(self.epoch.max(0))
            .map_err(|_| Error::Unknown { what: "epoch", found: self.epoch })?;
        let vote = Vote {
            epoch: Epoch(epoch),
            zxid: u64::try_from(self.zxid).ok().map(Zxid),
            leader: ServerId(self.leader.cast_unsigned()),
        };
        Ok(Notification { state, vote, round: self.round.max(0).cast_unsigned() })
    }

    /// Appends it as a frame, in the form of version 2 whatever its own.
    pub fn encode(&self, out: &mut impl Buffer) {
        out.put_sized(|out| {
            out.put_int(self.state);
            out.put_long(self.leader);
            out.put_long(self.zxid);
            out.put_long(self.round);
            out.put_long(self.epoch);
            out.put_int(VERSION);
            out.put_bytes(&self.config);
        });
    }

    /// Reads the payload of a frame: version 2, or one of the three older forms. The first has 28 bytes and no
    /// epoch, so that it is the zxid's; the second has 40 bytes of which the last four mean nothing.
    ///
    /// # Errors
    /// A form that is none of ZooKeeper's.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut input = Decoder::new(payload, FRAME_BYTES_MAX);
        let (state, leader, zxid, round) = (input.int()?, input.long()?, input.long()?, input.long()?);
        let (mut version, mut config) = (0, Vec::new());
        let epoch = if payload.len() == 28 { zxid >> 32 } else { input.long()? };
        if payload.len() != 28 && payload.len() != 40 {
            version = input.int()?;
            if version >= VERSION {
                config = input.required("configuration")?.to_vec();
            }
        }
        Ok(Self { state, leader, zxid, round, epoch, version, config })
    }
}

/// The payload of the first frame of an election connection, as [`record::frame`].
///
/// # Errors
/// A length of 0, below, or above [`FRAME_BYTES_MAX`].
pub fn frame(input: &[u8]) -> Result<Option<&[u8]>, Error> {
    match record::frame(input, FRAME_BYTES_MAX)? {
        Some([]) => Err(Error::Length { what: "frame", found: 0, allowed: FRAME_BYTES_MAX }),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sink;

    fn ours() -> Notification {
        Notification {
            state: ServerState::Looking,
            vote: Vote { epoch: Epoch(3), zxid: Some(Zxid::new(Epoch(3), 7)), leader: ServerId(2) },
            round: 5,
        }
    }

    #[test]
    fn ours_comes_back_with_its_configuration() -> Result<(), Error> {
        let mut out = Vec::new();
        Notice::new(&ours(), b"version=0").encode(&mut out);
        let notice = Notice::decode(frame(&out)?.expect("a whole frame"))?;
        assert_eq!(notice.notification(), Ok(ours()));
        assert_eq!(notice.config, b"version=0");
        Ok(())
    }

    #[test]
    fn a_missing_zxid_is_the_least_long() {
        let mut none = ours();
        none.vote.zxid = None;
        let notice = Notice::new(&none, b"");
        assert_eq!(notice.zxid, i64::MIN);
        assert_eq!(notice.notification(), Ok(none));
    }

    #[test]
    fn older_forms_are_told_by_their_length() -> Result<(), Error> {
        let mut old = Vec::new();
        old.put_int(1);
        old.put_long(2);
        old.put_long(0x3_0000_0007);
        old.put_long(5);
        let bare = Notice::decode(&old)?;
        assert_eq!((bare.epoch, bare.version), (3, 0));
        old.put_long(4);
        old.put_int(1);
        let unversioned = Notice::decode(&old)?;
        assert_eq!((unversioned.epoch, unversioned.version), (4, 0));
        assert!(Notice::decode(&old[..27]).is_err_and(|error| error.is_short()));
        Ok(())
    }

    #[test]
    fn a_vote_for_nobody_is_below_every_vote() -> Result<(), Error> {
        let observer = Notice {
            state: 3,
            leader: i64::MIN,
            zxid: i64::MIN,
            round: -1,
            epoch: -1,
            version: 2,
            config: Vec::new(),
        };
        let read = observer.notification()?;
        assert_eq!((read.vote.epoch, read.vote.zxid, read.round), (Epoch(0), None, 0));
        assert!(Notice { state: 4, ..observer }.notification().is_err());
        Ok(())
    }

    #[test]
    fn hellos_of_each_version_come_back() {
        for addresses in [vec![], vec!["a:3888"], vec!["[::1]:3888", "b:3888"]] {
            let hello =
                Hello { sid: ServerId(3), addresses: addresses.into_iter().map(str::to_owned).collect() };
            let mut out = Vec::new();
            hello.encode(&mut out);
            for short in 0..out.len() {
                assert!(
                    Hello::decode(&mut Decoder::stream(&out[..short])).is_err_and(|error| error.is_short())
                );
            }
            assert_eq!(Hello::decode(&mut Decoder::stream(&out)), Ok(hello));
        }
    }
}
