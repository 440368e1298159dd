//! What Apache ZooKeeper was recorded to send and to write, beside what our code makes of it.

mod client;
mod disk;
mod election;
mod packed;
mod quorum;
mod tree;
