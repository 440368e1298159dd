//! What the models have walked, walked again by the server that ships.
//!
//! A step of a server in a model depends on nothing but the server, with its disk and its state, and on what it is
//! told. An exhausted search holds every such step once. They are the edges of a graph ([`graph`]), and walks from a
//! server's first start that take every edge ([`walks`]) are run against one production server on its
//! [stand](server::stand): real sockets to ends that are held here ([`ends`]), the real codec, real threads of the disk
//! and real files ([`watched`]). Before each step the model's actor says what it asks for and in which order
//! ([`expected`]); behind each, what the server has done is compared with that, and its whole actor and state with the
//! model's ([`drive`]).

pub mod drive;
pub mod elections;
pub mod ends;
pub mod expected;
pub mod graph;
pub mod mutants;
pub mod place;
pub mod record;
pub mod walks;
pub mod watched;
