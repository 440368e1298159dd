//! Sessions opened and closed, as fast as they are taken.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{
    connection::{self, Connection},
    frame,
    load::{Measured, histogram},
};

/// How many are under way at once.
const TOGETHER: usize = 32;

/// Opens and closes sessions for so long.
///
/// # Errors
/// If one is refused or its end not acknowledged.
pub fn run(addresses: &[SocketAddr], window: Duration) -> Result<Measured> {
    thread::scope(|scope| {
        let end = Instant::now() + window;
        let started = Instant::now();
        let threads: Vec<_> = (0..TOGETHER).map(|me| scope.spawn(move || one(addresses, me, end))).collect();
        let mut latency = histogram()?;
        for thread in threads {
            let Ok(seen) = thread.join() else { bail!("a thread panicked") };
            latency.add(&seen?)?;
        }
        let operations = latency.len();
        Ok(Measured { operations, errors: 0, judged: operations, latency, window: started.elapsed() })
    })
}

fn one(addresses: &[SocketAddr], me: usize, end: Instant) -> Result<hdrhistogram::Histogram<u64>> {
    let mut latency = histogram()?;
    let mut number = me;
    while Instant::now() < end {
        let started = Instant::now();
        let mut connection = Connection::new(connection::dial(addresses[number % addresses.len()], number)?);
        frame::connect(&mut connection.out);
        connection.send()?;
        connection::granted(&connection.next_blocking()?)?;
        let body = connection.call(1, |out| frame::close(out, 1))?;
        ensure!(body.is_empty(), "the end of a session is answered with {} bytes", body.len());
        latency.saturating_record(u64::try_from(started.elapsed().as_nanos())?);
        number += 1;
    }
    Ok(latency)
}
