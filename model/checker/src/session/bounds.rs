//! What bounds a search.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::script::{DEEDS, Deed};

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// That it knows our extensions.
    #[default]
    Ours,
    /// Nothing of them, as Apache's servers.
    Apache,
}

/// What bounds a search.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// What the client at the leader may do.
    pub first: Vec<Deed>,
    /// What the client at the follower may do; each pair is searched.
    pub second: Vec<Deed>,
    /// How often a client may leave its connection for another server.
    pub moves: u8,
    /// How many ticks of leaders' clocks may pass; one expires a session that is not heard of before.
    pub ticks: u8,
    /// How often a leader may PING its followers.
    pub pings: u8,
    /// How often the leader may be deposed or crash.
    pub changes: u8,
    /// How often a leader may look for containers to delete; if it may, there are two that are due from the start.
    #[serde(default)]
    pub sweeps: u8,
    /// How many connections each client may make, the first included.
    pub connections: u8,
    /// Clients number their requests anew on each connection, and also come back to the server that they have left.
    pub restarts: bool,
    /// The follower that lags has no vote: it is an observer.
    pub observed: bool,
    /// What the follower that lags, or the observer, says of itself to its leader.
    #[serde(default)]
    pub dialect: Dialect,
    /// How many transactions a leader keeps for those that join; with none, they are sent its whole state.
    pub window: usize,
    /// Take steps that no client can see together with one that it can.
    pub merged: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            first: DEEDS.to_vec(),
            second: DEEDS.to_vec(),
            moves: 1,
            ticks: 0,
            pings: 0,
            changes: 0,
            sweeps: 0,
            connections: 3,
            restarts: false,
            observed: false,
            dialect: Dialect::Ours,
            window: 100,
            merged: true,
        }
    }
}

impl Bounds {
    /// Whether servers demand an identity: where somebody proves one.
    pub fn demands(&self) -> bool {
        [&self.first, &self.second].iter().any(|deeds| deeds.contains(&Deed::Prove))
    }

    /// The same bounds for each script by itself.
    pub fn scripts(&self) -> Vec<Self> {
        let pairs =
            self.first.iter().flat_map(|first| self.second.iter().map(move |second| (*first, *second)));
        pairs
            .map(|(first, second)| Self { first: vec![first], second: vec![second], ..self.clone() })
            .collect()
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            second,
            moves,
            ticks,
            pings,
            changes,
            sweeps,
            connections,
            restarts,
            observed,
            dialect,
            window,
            merged: _,
        } = self;
        write!(
            f,
            "2 clients, {} scripts, {moves} moves, {ticks} ticks, {pings} PINGs, {changes} leader changes, \
             {connections} connections a client",
            first.len() * second.len()
        )?;
        if *sweeps > 0 {
            write!(f, ", {sweeps} looks for containers")?;
        }
        if *restarts {
            write!(f, ", numbered anew on each")?;
        }
        if *observed {
            write!(f, ", the second at an observer")?;
        }
        if *dialect == Dialect::Apache {
            write!(f, ", at a server without extensions")?;
        }
        if self.demands() {
            write!(f, ", an identity demanded")?;
        }
        if *window == 0 { write!(f, ", window 0") } else { Ok(()) }
    }
}
