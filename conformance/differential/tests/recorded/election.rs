//! The election port of Apache ZooKeeper, decoded and encoded again.

use anyhow::{Context, Result, ensure};
use differential::{StreamRecording, V3_8, V3_9, golden, unhex};
use protocol::ServerState;
use wire::{
    Decoder,
    notification::{Hello, Notice, frame},
};

#[test]
fn hellos_and_notifications_are_encoded_to_the_same_bytes() -> Result<()> {
    check(V3_9)?;
    check(V3_8)
}

fn check(version: &str) -> Result<()> {
    let mut states = Vec::new();
    for stream in golden::<StreamRecording>(version, "election")?.connections {
        let dialler = unhex(&stream.dialler)?;
        let mut input = Decoder::stream(&dialler);
        let hello = Hello::decode(&mut input).with_context(|| stream.name.clone())?;
        ensure!(stream.name.starts_with(&hello.sid.to_string()), "{} says it is {}", stream.name, hello.sid);
        ensure!(hello.addresses.len() == 1 && hello.addresses[0].starts_with("127.0.0.1:"));
        let mut out = Vec::new();
        hello.encode(&mut out);
        copy(input.rest(), &mut out, &mut states)?;
        ensure!(out == dialler, "{} changed", stream.name);

        let listener = unhex(&stream.listener)?;
        let mut out = Vec::new();
        copy(&listener, &mut out, &mut states)?;
        ensure!(out == listener, "{} changed", stream.name);
    }
    for state in [ServerState::Looking, ServerState::Following, ServerState::Leading] {
        ensure!(states.contains(&state), "{state:?} is not in the recording");
    }
    Ok(())
}

fn copy(mut bytes: &[u8], out: &mut Vec<u8>, states: &mut Vec<ServerState>) -> Result<()> {
    while let Some(payload) = frame(bytes)? {
        bytes = &bytes[4 + payload.len()..];
        let notice = Notice::decode(payload)?;
        let notification = notice.notification()?;
        states.push(notification.state);
        ensure!(notice.version == 2 && notice.config.starts_with(b"server.1="));
        // Both ways through our own words.
        let ours = Notice::new(&notification, &notice.config);
        ensure!(ours == notice, "{notice:?} became {ours:?}");
        ours.encode(out);
    }
    ensure!(bytes.is_empty(), "{} bytes are left", bytes.len());
    Ok(())
}
