//! What reads bytes, by name.

mod client;
mod config;
mod election;
mod peer;
mod recording;
mod sasl;
mod storage;
mod stores;
mod tree;

use anyhow::{Context, Result};

use crate::seeds;

/// Something that reads bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it reads, and what must hold.
    pub what: &'static str,
    /// Gives it bytes; a panic is a finding.
    pub run: fn(&[u8]),
    /// Bytes that mean something to it.
    pub seeds: fn() -> Result<Vec<Vec<u8>>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "requests",
        what: "frames of a client; a request that reads is sent and reads the same",
        run: client::requests,
        seeds: seeds::requests,
    },
    Target {
        name: "connects",
        what: "both sides of a client's handshake; what reads is sent and reads the same",
        run: client::connects,
        seeds: seeds::connects,
    },
    Target {
        name: "replies",
        what: "frames of a server as the answer to every operation; twice the same",
        run: client::replies,
        seeds: seeds::replies,
    },
    Target {
        name: "tree",
        what: "requests of a client, carried out on two trees, one by way of the log's bytes: equal, and equal behind a snapshot",
        run: tree::carry_out,
        seeds: seeds::tree,
    },
    Target {
        name: "packets",
        what: "a stream between leader and learner; a packet that reads is sent and reads the same, in pieces as at once",
        run: peer::stream,
        seeds: seeds::packets,
    },
    Target {
        name: "state",
        what: "the state behind a SNAP packet; in pieces as at once, and a tree that loads is written and loads as an equal one",
        run: peer::state,
        seeds: seeds::state,
    },
    Target {
        name: "election",
        what: "a greeting and notifications; what reads is sent and reads the same",
        run: election::stream,
        seeds: seeds::election,
    },
    Target {
        name: "config",
        what: "zoo.cfg, properties and myid; every problem can be shown, a server list that is told reads the same",
        run: config::parse,
        seeds: seeds::config,
    },
    Target {
        name: "sasl",
        what: "tokens of SASL on one connection; nobody is believed who does not know the password",
        run: sasl::tokens,
        seeds: seeds::sasl,
    },
    Target { name: "jaas", what: "a JAAS file; twice the same", run: sasl::users, seeds: seeds::jaas },
    Target {
        name: "stores",
        what: "a store of PEM, PKCS#12 or JKS, whose password is known; twice the same",
        run: stores::stores,
        seeds: seeds::stores,
    },
    Target {
        name: "certificates",
        what: "a certificate; its subject can stand in an access list",
        run: stores::certificates,
        seeds: seeds::certificates,
    },
    Target {
        name: "log",
        what: "a file of the log; a start that succeeds succeeds again and finds the same",
        run: storage::log,
        seeds: seeds::log,
    },
    Target {
        name: "snapshot",
        what: "a snapshot, plain or packed; the same",
        run: storage::snapshot,
        seeds: seeds::snapshot,
    },
    Target {
        name: "epochs",
        what: "the files of epochs and the mark of what is synced, beside a log; the same",
        run: storage::epochs,
        seeds: storage::recorded_epochs,
    },
    Target {
        name: "recording",
        what: "a file of a recording, and a chunk of one; twice the same",
        run: recording::read,
        seeds: seeds::recording,
    },
];

/// The target of this name.
///
/// # Errors
/// If there is none; the message names all.
pub fn find(name: &str) -> Result<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).with_context(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        format!("{name:?} is no target; there are {}", names.join(", "))
    })
}
