//! Reading what a server says before it serves, for so long and no longer, and only as long as somebody wants it.

use std::{
    io::{self, ErrorKind, Read as _},
    time::{Duration, Instant},
};

use crate::{shared::Shared, stream::Stream};

/// How long a read takes at most before it is looked whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// Until when a server may take, whatever it says meanwhile.
pub(crate) struct Patience<'s> {
    shared: &'s Shared,
    deadline: Instant,
}

impl<'s> Patience<'s> {
    /// From now on.
    pub(crate) fn of(shared: &'s Shared, time: Duration) -> Self {
        Self { shared, deadline: Instant::now() + time }
    }

    /// Reads as much as there is room for.
    ///
    /// # Errors
    /// The stream's, that the time is over, or that the client is closed meanwhile.
    pub(crate) fn read(&self, stream: &mut Stream, room: &mut [u8]) -> io::Result<()> {
        stream.set_read_timeout(LOOK)?;
        let mut filled = 0;
        while filled < room.len() {
            match stream.read(&mut room[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if is_a_pause(&error) => {}
                Err(error) => return Err(error),
            }
            if filled < room.len() {
                self.check()?;
            }
        }
        Ok(())
    }

    /// Whether it goes on.
    ///
    /// # Errors
    /// That the time is over, or that the client is closed.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.shared.lock().connection.is_over() {
            return Err(io::Error::other("closed"));
        }
        if Instant::now() > self.deadline { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Whether a read has only come to nothing yet.
pub(crate) fn is_a_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What an end before any answer means.
pub(crate) fn told(error: &io::Error) -> String {
    if error.kind() == ErrorKind::UnexpectedEof {
        "it hung up; it may have no quorum, or lag behind this client".to_owned()
    } else if is_a_pause(error) {
        "no answer in time".to_owned()
    } else {
        error.to_string()
    }
}
