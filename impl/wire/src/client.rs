//! The client port: the handshake, requests, replies and notifications.
//!
//! Every record travels in a [frame](crate::record::frame), in both directions.

pub mod connect;
pub mod multi;
pub mod opcode;
pub mod read;
pub mod reply;
pub mod request;
pub mod write;

pub use connect::{ConnectRequest, ConnectResponse};
pub use reply::{Reply, Response, put_event, put_reply};
pub use request::{RequestHeader, decode_request, decode_token, put_request};
