//! One server: routes inputs to the actors of election, Zab and sessions.
mod surface;

pub use surface::{Answer, ClientRequest, Config, Effects, Input, Op, Packet, Request};
