//! What happens to a server whose state remembers its history, as it is for one whose state does not.
//!
//! To remember changes nothing: whoever takes the steps of a model with histories again takes them with the server that
//! ships.

use protocol::peer::{ClientRequest, Input, Packet, Request};

use crate::{HostEvent, Recorded, Replica, Wire};

impl<M: Replica> HostEvent<Recorded<M>> {
    /// The same for a state without history.
    #[must_use]
    pub fn plain(&self) -> HostEvent<M> {
        match self {
            Self::Input(input) => HostEvent::Input(plain_input(input)),
            Self::Read(from, Wire::Packet(packet)) => {
                HostEvent::Read(*from, Wire::Packet(plain_packet(packet)))
            }
            Self::Read(from, Wire::Snapshot { last, state }) => {
                let state = Box::new(state.machine.clone());
                HostEvent::Read(*from, Wire::Snapshot { last: *last, state })
            }
            Self::Timer(timer) => HostEvent::Timer(*timer),
            Self::Disk(ticket) => HostEvent::Disk(*ticket),
            Self::Crash(keep) => HostEvent::Crash(*keep),
        }
    }
}

fn plain_input<M: Replica>(input: &Input<Recorded<M>>) -> Input<M> {
    match input.clone() {
        Input::Connected(to) => Input::Connected(to),
        Input::Accepted(from) => Input::Accepted(from),
        Input::Disconnected(from) => Input::Disconnected(from),
        Input::Packet { from, packet, time } => Input::Packet { from, packet: plain_packet(&packet), time },
        Input::Snapshot { from, zxid } => Input::Snapshot { from, zxid },
        Input::Notification { from, notification } => Input::Notification { from, notification },
        Input::ElectionLinkDown(of) => Input::ElectionLinkDown(of),
        Input::Timer { timer, time } => Input::Timer { timer, time },
        Input::Done(ticket) => Input::Done(ticket),
        Input::Located { ticket, at } => Input::Located { ticket, at },
        Input::Reloaded(recovered) => Input::Reloaded(recovered),
        Input::ClientConnect {
            client,
            identities,
            session,
            password,
            timeout_ms,
            last_seen,
            read_only,
            time,
        } => Input::ClientConnect {
            client,
            identities,
            session,
            password,
            timeout_ms,
            last_seen,
            read_only,
            time,
        },
        Input::ClientRequest { client, xid, request, time } => {
            Input::ClientRequest { client, xid, request: plain_request(request), time }
        }
        Input::ClientClosed(client) => Input::ClientClosed(client),
    }
}

fn plain_packet<M: Replica>(packet: &Packet<Recorded<M>>) -> Packet<M> {
    match packet.clone() {
        Packet::Zab(message) => Packet::Zab(message),
        Packet::Ping { last, touched } => Packet::Ping { last, touched },
        Packet::Request(Request { session, xid, identities, op }) => {
            Packet::Request(Request { session, xid, identities, op })
        }
        Packet::Sync => Packet::Sync,
        Packet::Revalidate { session, timeout_ms } => Packet::Revalidate { session, timeout_ms },
        Packet::Revalidated { session, valid } => Packet::Revalidated { session, valid },
    }
}

fn plain_request<M: Replica>(request: ClientRequest<Recorded<M>>) -> ClientRequest<M> {
    match request {
        ClientRequest::Ping => ClientRequest::Ping,
        ClientRequest::Authenticate(credential) => ClientRequest::Authenticate(credential),
        ClientRequest::Read(read) => ClientRequest::Read(read),
        ClientRequest::Write(write) => ClientRequest::Write(write),
        ClientRequest::Sync(path) => ClientRequest::Sync(path),
        ClientRequest::Close => ClientRequest::Close,
        ClientRequest::Refused { code, close } => ClientRequest::Refused { code, close },
        ClientRequest::Exchange { answer, proves } => ClientRequest::Exchange { answer, proves },
    }
}
