//! The world that the actors live in when they are checked: disks that forget, links that break, crashes.
//!
//! It is cut into the parts that the checker interns: a [`Server`] with its [disk](Disk), and a [`Link`] for each
//! ordered pair of servers. Where clients are looked at, a [`Host`] stands for the server: a whole peer. A part changes
//! by pure functions; what one part asks of another is data, carried out by the model that composes them.

mod disk;
mod ear;
mod ensemble;
mod host;
mod judge;
mod link;
pub mod placed;
mod places;
mod plain;
mod recorded;
mod replica;
pub mod script;
mod server;
mod sink;
mod sketch;
mod step;
pub mod text;
mod view;
mod watch;

use spec::Zxid;

pub use disk::{Disk, Finished, Image, Keep, Left};
pub use ear::{Backing, Ear, Moment, Occasion, Turn};
pub use ensemble::{Ensemble, Halt};
pub use host::{
    Happened, Host, HostDisk, HostEvent, Loaded, Onlooker, Pace, Said, Start, Storage, Stretch, TimerChange,
    Wire,
};
pub use link::{End, Frame, Link, LinkChange, Side};
pub use places::Places;
pub use recorded::Recorded;
pub use replica::Replica;
pub use server::{
    DiskPace, Event, Fault, GhostChange, NetChange, Outcome, Server, Settings, Sight, renamed_timer,
};
pub use step::Step;
pub use view::{acting, down, entries};

/// What is replicated: a number that no other transaction of the run has.
pub type Txn = u8;

/// A transaction at its place.
pub type Logged = (Zxid, Txn);

/// The replicated state: everything applied, in order.
pub type State = Vec<Logged>;
