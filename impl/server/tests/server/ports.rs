//! Ports for the servers of a test.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// How many ports a process has for its tests, so that others beside it have others.
const PORTS: u16 = 256;

/// A port that is free, below those that outgoing connections get, and never the same again: nobody takes it before its
/// server starts, or while it is down.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + PORTS * u16::try_from(std::process::id() % 75).expect("it is small");
    let mut ports = (0..PORTS).map(|_| first + GIVEN.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}
