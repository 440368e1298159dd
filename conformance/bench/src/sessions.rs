//! Sessions opened and closed, as fast as they are taken.
//!
//! One thread has all of them, as in [`load`](crate::load): a thread for each would cost more than a server does.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    connection::{self, Connection, Sent},
    frame,
    load::{Measured, histogram},
};

/// The number of the request that closes a session.
const CLOSE_XID: i32 = 1;
/// How long nothing may come.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long one wait lasts at most, so that silence is seen.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Opens and closes sessions for so long, so many at once.
///
/// # Errors
/// If one is refused or its end not acknowledged.
pub fn run(addresses: &[SocketAddr], together: usize, window: Duration) -> Result<Measured> {
    let mut driver = Driver::new(addresses, together, window)?;
    driver.drive()?;
    let operations = driver.latency.len();
    let window = driver.started.elapsed();
    Ok(Measured { operations, errors: 0, judged: operations, latency: driver.latency, window })
}

/// A session from its beginning to its end, and then the next one in its place.
#[derive(Debug)]
struct Lane {
    connection: Connection,
    /// How many connections have been made from here, and where the first one went.
    number: usize,
    dialled: Instant,
    granted: bool,
}

struct Driver<'a> {
    addresses: &'a [SocketAddr],
    poll: OwnedFd,
    lanes: Vec<Lane>,
    started: Instant,
    end: Instant,
    latency: hdrhistogram::Histogram<u64>,
}

impl<'a> Driver<'a> {
    fn new(addresses: &'a [SocketAddr], together: usize, window: Duration) -> Result<Self> {
        let started = Instant::now();
        let lane = |number: usize| -> Result<Lane> {
            let connection = Connection::new(connection::dial(addresses[number % addresses.len()], number)?);
            Ok(Lane { connection, number, dialled: started, granted: false })
        };
        let lanes = (0..together).map(lane).collect::<Result<Vec<_>>>()?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut driver =
            Self { addresses, poll, lanes, started, end: started + window, latency: histogram()? };
        for number in 0..together {
            driver.begin(number)?;
        }
        Ok(driver)
    }

    /// Asks for a session on a connection that is new.
    fn begin(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        lane.connection.stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(u64::try_from(number)?);
        epoll::add(&self.poll, &lane.connection.stream, data, epoll::EventFlags::IN)?;
        lane.granted = false;
        frame::connect(&mut lane.connection.out);
        ensure!(lane.connection.send()? == Sent::All, "a new connection takes nothing");
        Ok(())
    }

    fn drive(&mut self) -> Result<()> {
        let mut under_way = self.lanes.len();
        let mut events = Vec::with_capacity(under_way);
        let mut last = self.started;
        while under_way > 0 {
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&WAIT)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for sockets"),
            }
            let now = Instant::now();
            if !events.is_empty() {
                last = now;
            }
            ensure!(now < last + SILENCE_MAX, "{under_way} sessions are not answered");
            for event in &events {
                let number = usize::try_from(event.data.u64())?;
                if self.serve(number)? && !self.again(number)? {
                    under_way -= 1;
                }
            }
        }
        Ok(())
    }

    /// Takes what has come. Whether the session is over.
    fn serve(&mut self, number: usize) -> Result<bool> {
        let lane = &mut self.lanes[number];
        lane.connection.receive()?;
        while let Some(reply) = lane.connection.next_frame()? {
            if lane.granted {
                let (head, body) = frame::head(reply)?;
                ensure!(head.xid == CLOSE_XID, "request {CLOSE_XID} is answered as {}", head.xid);
                ensure!(head.error == 0, "a session cannot be closed: error {}", head.error);
                ensure!(body.is_empty(), "the end of a session is answered with {} bytes", body.len());
                let took = lane.dialled.elapsed().as_nanos();
                self.latency.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                return Ok(true);
            }
            connection::granted(reply)?;
            lane.granted = true;
            frame::close(&mut lane.connection.out, CLOSE_XID);
            ensure!(lane.connection.send()? == Sent::All, "a connection takes no request");
        }
        Ok(false)
    }

    /// The next session in the place of one that is over, unless the time is.
    fn again(&mut self, number: usize) -> Result<bool> {
        let now = Instant::now();
        let lane = &mut self.lanes[number];
        if now >= self.end {
            epoll::delete(&self.poll, &lane.connection.stream)?;
            return Ok(false);
        }
        lane.number += 1;
        lane.dialled = now;
        let address = self.addresses[lane.number % self.addresses.len()];
        lane.connection.replace(connection::dial(address, lane.number)?);
        self.begin(number)?;
        Ok(true)
    }
}
