//! What the models have walked, walked again by the server that ships.
//!
//! A step of a server in a model depends on nothing but the server, with its disk and its state, and on what it is
//! told. An exhausted search holds every such step once. They are the edges of a graph ([`graph`]), and walks from a
//! server's first start that take every edge ([`walks`]) are run against one production server on its
//! [stand](server::stand): real sockets to ends that are held here ([`ends`]), the real codec, real threads of the disk
//! and real files ([`watched`]). Before each step the model's actor says what it asks for and in which order
//! ([`expected`]); behind each, what the server has done is compared with that, and its whole actor and state with the
//! model's ([`drive`]).
//!
//! Disks may take their time: then their operations are reported when the model says so. A crash ends the process, and
//! the next one starts over files that are made anew from what the model says is left, torn records included
//! ([`place`]). In the `election` and the `zab` model a server is one actor; its steps are taken by whole peers that have
//! the same actor ([`elections`], [`oracles`]). What came of it all is written to a page ([`record`]).

pub mod drive;
pub mod elections;
pub mod ends;
pub mod expected;
pub mod graph;
pub mod mutants;
pub mod oracles;
pub mod place;
pub mod record;
pub mod walks;
pub mod watched;
pub mod whole;
