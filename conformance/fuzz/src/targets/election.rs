//! The election port.

use wire::{
    Decoder,
    notification::{Hello, Notice, frame},
};

pub(super) fn stream(bytes: &[u8]) {
    let mut input = Decoder::stream(bytes);
    if let Ok(hello) = Hello::decode(&mut input) {
        let mut sent = Vec::new();
        hello.encode(&mut sent);
        assert_eq!(Hello::decode(&mut Decoder::stream(&sent)), Ok(hello), "another greeting");
        frames(input.rest());
    }
    // The side that is dialled says no greeting.
    frames(bytes);
}

fn frames(mut rest: &[u8]) {
    while let Ok(Some(payload)) = frame(rest) {
        rest = &rest[4 + payload.len()..];
        let Ok(notice) = Notice::decode(payload) else { continue };
        let mut sent = Vec::new();
        notice.encode(&mut sent);
        let again = Notice::decode(frame(&sent).expect("a frame").expect("whole")).expect("it reads");
        let as_sent = Notice { version: again.version, ..notice.clone() };
        assert_eq!(again, as_sent, "another notification");
        if let Ok(notification) = notice.notification() {
            assert_eq!(Notice::new(&notification, &[]).notification(), Ok(notification), "another vote");
        }
    }
}
