//! Ports for the servers of a test.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// A port that is free, below those that outgoing connections get, and never the same again: nobody takes it before its
/// server starts, or while it is down.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 15_000).expect("it is small");
    let mut ports = (0..5000).map(|_| first + GIVEN.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}
