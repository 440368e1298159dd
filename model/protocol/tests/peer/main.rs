//! One to three peers over the least machine: written scenarios, and long runs of chance.
mod net;
mod observers;
mod random;
mod read_only;
mod register;
mod requests;
mod restarts;
mod roles;
mod sessions;
mod sweeps;

use net::Net;
use protocol::{Timer, peer::ClientRequest};
use register::{Read, Register, Write};

type World = Net<Register>;

fn set(cell: u8, value: u32) -> ClientRequest<Register> {
    ClientRequest::Write(Write::Set(cell, value))
}

fn own(cell: u8, value: u32) -> ClientRequest<Register> {
    ClientRequest::Write(Write::Own(cell, value))
}

fn get(cell: u8) -> ClientRequest<Register> {
    ClientRequest::Read(Read::Get(cell))
}

fn watch(cell: u8) -> ClientRequest<Register> {
    ClientRequest::Read(Read::Watch(cell))
}

fn sync() -> ClientRequest<Register> {
    ClientRequest::Sync(b"/".to_vec())
}

/// One tick at the leader, every PING answered.
fn tick(net: &mut World) {
    let leader = net.leader();
    net.fire(leader, Timer::Ping);
    net.pump();
    net.fire(leader, Timer::Expiry);
    net.pump();
}
