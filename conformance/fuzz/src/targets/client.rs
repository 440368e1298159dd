//! The client port.

use bytes::Bytes;
use protocol::peer::ClientRequest;
use tree::Tree;
use wire::{
    Decoder,
    client::{ConnectRequest, ConnectResponse, Reply, decode_request, opcode, put_request},
    record::{self, CLIENT_FRAME_BYTES_MAX},
};

/// The payloads of the frames at the front of a stream.
pub(super) fn frames(mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let payload = record::frame(stream, CLIENT_FRAME_BYTES_MAX).ok()??;
        stream = &stream[4 + payload.len()..];
        Some(payload)
    })
}

pub(super) fn requests(bytes: &[u8]) {
    for payload in frames(bytes) {
        request(&Bytes::copy_from_slice(payload));
    }
}

fn request(payload: &Bytes) {
    let Ok((header, request)) = decode_request::<Tree>(&mut Decoder::shared(payload, CLIENT_FRAME_BYTES_MAX))
    else {
        return;
    };
    if matches!(request, ClientRequest::Refused { .. }) {
        return;
    }
    let mut sent = Vec::new();
    put_request(header.xid, &request, &mut sent).expect("what reads is sent");
    // Where text was not UTF-8, it has become longer.
    let (again, same) = decode_request::<Tree>(&mut Decoder::new(&sent[4..], usize::MAX)).expect("it reads");
    assert_eq!((again.xid, &same), (header.xid, &request), "another request");
}

pub(super) fn connects(bytes: &[u8]) {
    for payload in frames(bytes) {
        if let Ok(request) = ConnectRequest::decode(payload, CLIENT_FRAME_BYTES_MAX) {
            let mut sent = Vec::new();
            request.encode(&mut sent);
            assert_eq!(ConnectRequest::decode(&sent[4..], CLIENT_FRAME_BYTES_MAX), Ok(request));
        }
        if let Ok(response) = ConnectResponse::decode(payload) {
            let mut sent = Vec::new();
            response.encode(&mut sent);
            assert_eq!(ConnectResponse::decode(&sent[4..]), Ok(response));
        }
    }
}

pub(super) fn replies(bytes: &[u8]) {
    for payload in frames(bytes) {
        let read = || Reply::decode(Decoder::new(payload, CLIENT_FRAME_BYTES_MAX));
        let (Ok(reply), Ok(same)) = (read(), read()) else { continue };
        assert_eq!(reply.event(), same.event());
        for operation in (opcode::CLOSE_SESSION..=opcode::WHO_AM_I).chain([opcode::ERROR]) {
            assert_eq!(reply.response(operation), same.response(operation), "operation {operation}");
        }
    }
}
