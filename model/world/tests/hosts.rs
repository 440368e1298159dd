//! A whole server that is its own quorum, on a disk whose operations take their time.

use protocol::{
    Quorum, Ticket,
    peer::{ClientRequest, Config, Input},
    zab,
};
use spec::{ClientId, ServerId, SessionId, Zxid, history::Part};
use tree::{Acl, CreateRequest, Settings, Text, Tree, Write};
use world::{Happened, Host, HostEvent, Keep, Pace, Recorded, Said};

type Subject = Recorded<Tree>;

const CLIENT: ClientId = ClientId(1);

fn start() -> Host<Subject> {
    let me = ServerId(1);
    let config = Config {
        zab: zab::Config { me, quorum: Quorum::majority([me]), window: 10, log_sync: true, counter_max: 100 },
        tick_ms: 1000,
        session_timeout_min_ms: 2000,
        session_timeout_max_ms: 20_000,
        first_session: SessionId(1 << 56),
        settings: Settings::default(),
        sweep_max: 0,
        read_only: false,
    };
    Host::new(config, Pace::Async, Subject::default()).expect("an empty disk is a good start").0
}

fn step(host: &mut Host<Subject>, event: HostEvent<Subject>) -> Happened<Subject> {
    host.step(&event).expect("no rule is broken")
}

/// Ends what is under way, and what comes of it; returns how many operations that were.
fn finish_all(host: &mut Host<Subject>, told: &mut Vec<Said<tree::Event>>) -> usize {
    let mut count = 0;
    while let Some(ticket) = host.disk().may_finish().first().copied() {
        let happened = step(host, HostEvent::Disk(ticket));
        told.extend(happened.told.into_iter().map(|(_, said)| said));
        count += 1;
    }
    count
}

/// A server that leads, with a client that has asked for a node.
fn with_open_write() -> Host<Subject> {
    let mut host = start();
    let mut told = Vec::new();
    finish_all(&mut host, &mut told);
    assert!(host.peer().is_serving());
    let connect = Input::ClientConnect {
        client: CLIENT,
        identities: Vec::new(),
        session: SessionId(0),
        password: [0; 16],
        timeout_ms: 5000,
        last_seen: Zxid::ZERO,
        read_only: false,
        time: 0,
    };
    step(&mut host, HostEvent::Input(connect));
    finish_all(&mut host, &mut told);
    assert!(matches!(told[..], [Said::Accepted { .. }]), "{told:?}");
    let write = Write::Create {
        path: Text::from("/a"),
        data: None,
        acl: vec![Acl::world(31)],
        flags: 0,
        request: CreateRequest::Create,
    };
    let request = ClientRequest::Write(write);
    let asked = Input::ClientRequest { client: CLIENT, xid: 1, request, time: 0 };
    let happened = step(&mut host, HostEvent::Input(asked));
    assert_eq!(happened.told, [], "nothing is answered before it is durable");
    host
}

#[test]
fn nothing_is_said_before_the_start_is_durable() {
    let mut host = start();
    assert_eq!(host.view().expect("it remembers").part, Part::Down);
    assert_eq!(host.disk().may_finish(), [Ticket(0)]);
    assert!(host.peer().election().word().is_none(), "it has no vote");
    step(&mut host, HostEvent::Disk(Ticket(0)));
    assert!(host.peer().election().word().is_some());
    assert_ne!(host.view().expect("it remembers").part, Part::Down);
}

#[test]
fn an_answer_waits_for_the_disk() {
    let mut host = with_open_write();
    let mut told = Vec::new();
    assert_eq!(finish_all(&mut host, &mut told), 1);
    assert!(matches!(told[..], [Said::Reply { xid: 1, .. }]), "{told:?}");
    let view = host.view().expect("it remembers");
    assert_eq!((view.delivered.len(), view.durable.len(), view.state == view.replayed), (2, 2, true));
}

#[test]
fn a_crash_keeps_what_was_synced_and_perhaps_more() {
    let host = with_open_write();
    let images = host.disk().crash_images(true);
    assert_eq!(images.len(), 2, "the write is kept or lost");
    let kept: Vec<_> = images.into_iter().map(|keep| after_crash(host.clone(), keep)).collect();
    assert_eq!(kept, [1, 2]);
}

/// How many transactions are durable once it has started again.
fn after_crash(mut host: Host<Subject>, keep: Keep) -> usize {
    step(&mut host, HostEvent::Crash(keep));
    assert_eq!(host.view().expect("it remembers").durable.len(), 1, "what was read is not durable yet");
    finish_all(&mut host, &mut Vec::new());
    let view = host.view().expect("it remembers");
    assert!(host.peer().is_serving());
    assert_eq!(view.delivered, view.durable);
    view.durable.len()
}
