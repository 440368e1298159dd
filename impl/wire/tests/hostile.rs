//! Bytes of an enemy: nothing panics, and nothing takes more memory than what was sent allows.

mod values;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use spec::ServerId;
use tree::Tree;
use wire::{
    Decoder,
    client::{ConnectRequest, ConnectResponse, Reply, decode_request, opcode, put_request},
    log::{self, Entry},
    notification::{self, Hello, Notice},
    peer::{self, QuorumPacket, Sender},
    record,
    snapshot::{self, Checksum, Reader, Trailer},
};

/// Every decoder there is, over the same bytes. Results do not matter here.
fn decode_as_everything(bytes: &Bytes) {
    let _ = record::frame(bytes, 1 << 20);
    let _ = ConnectRequest::decode(bytes, 1 << 20);
    let _ = ConnectResponse::decode(bytes);
    let _ = decode_request::<Tree>(&mut Decoder::shared(bytes, 1 << 20));
    if let Ok(reply) = Reply::decode(Decoder::new(bytes, 1 << 20)) {
        let _ = reply.event();
        for operation in -11..=opcode::SET_WATCHES {
            let _ = reply.response(operation);
        }
    }
    let _ = log::file_header(&mut Decoder::stream(bytes));
    if let Ok(Entry::Body(body)) = log::entry(bytes) {
        let _ = log::decode_body(&mut Decoder::stream(body));
    }
    let _ = log::decode_body(&mut Decoder::shared(bytes, 1 << 20));
    let _ = peer::measure(bytes);
    if let Ok(packet) = QuorumPacket::decode(&mut Decoder::shared(bytes, 1 << 20)) {
        let _ = peer::decode::<Tree>(&packet);
    }
    let _ = notification::frame(bytes);
    let _ = Hello::decode(&mut Decoder::stream(bytes));
    if let Ok(notice) = Notice::decode(bytes) {
        let _ = notice.notification();
    }
    let _ = snapshot::file_header(&mut Decoder::stream(bytes));
    let _ = snapshot::signature(&mut Decoder::stream(bytes));
    let _ = Trailer::decode(Checksum::new(), bytes);
    let mut reader = Reader::new();
    let mut input = Decoder::shared(bytes, 1 << 20);
    while let Ok(Some(_)) = reader.next(&mut input) {}
}

/// Something valid of each kind, without its frame where it has one.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (any::<i32>(), values::request()).prop_map(|(xid, request)| {
            let mut out = Vec::new();
            put_request(xid, &request, &mut out).expect("it can be sent");
            out.split_off(4)
        }),
        (values::zxid(), values::txn()).prop_map(|(zxid, txn)| {
            let mut out = Vec::new();
            log::put_body(zxid, &txn, &mut out);
            out
        }),
        values::packet().prop_map(|packet| {
            let mut out = Vec::new();
            let sender = Sender { sid: ServerId(1), config: b"version=0", config_version: 0 };
            peer::put_packet(&packet, sender, &mut out);
            out
        }),
        values::notification().prop_map(|notification| {
            let mut out = Vec::new();
            Notice::new(&notification, b"version=0").encode(&mut out);
            out.split_off(4)
        }),
        (values::text(), values::data(), values::acl(), values::stat_persisted()).prop_map(
            |(path, data, acl, stat)| {
                let mut out = Vec::new();
                snapshot::put_count(0, &mut out);
                snapshot::put_count(1, &mut out);
                snapshot::put_acl(1, &acl, &mut out);
                snapshot::put_node(path.as_bytes(), data.as_deref(), 1, &stat, &mut out);
                snapshot::put_end(&mut out);
                out
            }
        ),
    ]
}

/// What an enemy does to it.
fn harm(bytes: &mut Vec<u8>, harms: &[(Index, u8, u8)]) {
    for (at, how, value) in harms {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match how % 5 {
            0 => bytes[at] = *value,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, *value),
            3 => drop(bytes.remove(at)),
            // A length or count of the greatest size.
            _ => {
                for (byte, new) in bytes.iter_mut().skip(at).zip([0x7f, 0xff, 0xff, *value]) {
                    *byte = new;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn harmed_records_do_no_harm(
        mut bytes in valid(),
        harms in vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..4),
    ) {
        harm(&mut bytes, &harms);
        decode_as_everything(&Bytes::from(bytes));
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        decode_as_everything(&Bytes::from(bytes));
    }

    #[test]
    fn a_log_with_a_harmed_byte_is_noticed(
        zxid in values::zxid(),
        txn in values::txn(),
        at in any::<Index>(),
        change in 1..=u8::MAX,
    ) {
        let mut out = Vec::new();
        log::put_entry(zxid, &txn, &mut out);
        let at = at.index(out.len());
        out[at] ^= change;
        prop_assert!(!matches!(log::entry(&out), Ok(Entry::Body(_))));
    }
}

/// The most address space that this process has ever had, in KiB: it grows by what is reserved, used or not.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).expect("there is a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn lengths_and_counts_reserve_nothing() {
    let mut samples: Vec<Vec<u8>> = vec![vec![0; 100], vec![0xff; 100]];
    // A body of every operation, packet and transaction type, cut to a few bytes that will be overwritten.
    for number in -11..=110_i32 {
        for lead in [0, 4, 8, 28] {
            let mut bytes = vec![0; lead];
            bytes.extend(number.to_be_bytes());
            bytes.extend([0; 40]);
            samples.push(bytes);
        }
    }
    decode_as_everything(&Bytes::from(samples[0].clone()));
    let before = peak_kib();
    for sample in &samples {
        for at in 0..sample.len() - 4 {
            for count in [i32::MAX, i32::MAX - 3, 1 << 30, 1 << 24, i32::MIN, -2] {
                let mut bytes = sample.clone();
                bytes[at..at + 4].copy_from_slice(&count.to_be_bytes());
                decode_as_everything(&Bytes::from(bytes));
            }
        }
    }
    let grown = peak_kib() - before;
    // Threads of neighbouring tests take a few megabytes each; a single reservation of what is claimed takes thousands.
    assert!(grown < 512 << 10, "{grown} KiB were reserved");
}

#[test]
fn a_packet_that_never_ends_is_an_error_in_time() {
    // Identities without end: each is whole, the packet never is.
    let mut bytes = Vec::new();
    QuorumPacket { kind: peer::kind::REQUEST, zxid: -1, data: None, identities: None }.encode(&mut bytes);
    bytes.truncate(bytes.len() - 4);
    bytes.extend(i32::MAX.to_be_bytes());
    assert_eq!(peer::measure(&bytes), Ok(None));
    bytes.resize(peer::PACKET_BYTES_MAX + 1, 0);
    assert!(peer::measure(&bytes).is_err());
}
