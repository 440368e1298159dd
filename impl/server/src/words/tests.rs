use std::{
    collections::BTreeSet,
    sync::LazyLock,
    time::{Duration, Instant},
};

use spec::{Epoch, ServerId, SessionId, Zxid};
use tree::quota::{Known, Quota};

use super::{account, architecture, environment, length, listing, monitor, server, stat};
use crate::{
    Config,
    client::Traffic,
    config::{Throttles, Words},
    core::Part,
    metrics,
    namespaces::Names,
    stats::Stats,
    view::{ClientView, Learners, Mode, TreeView, View, version},
};

fn stats() -> Stats {
    let mut stats = Stats::new();
    stats.packets_received = 12;
    stats.packets_sent = 11;
    for took in [500, 2500] {
        stats.latency.record(took);
        stats.read_latency.record(took);
    }
    stats.proposal(48);
    let ack = wire_ack(Zxid::new(Epoch(1), 1));
    stats.pipeline.logged(Zxid::new(Epoch(1), 1), 100, true);
    stats.pipeline.received(ServerId(2), &ack, true, 107);
    let body = tree::TxnBody::Delete { path: "/my \"app\"/x".into(), sweep: false };
    let txn = tree::Txn { session: SessionId(1), cxid: 1, time: 0, body, digest: None };
    stats.namespaces.logged(&txn);
    stats
}

static THROTTLES: LazyLock<Throttles> = LazyLock::new(|| {
    let text = "dataDir=/d\nclientPort=1".to_owned();
    Config::parse("zoo.cfg", text, |_| unreachable!("it is alone")).expect("valid").throttles
});

fn wire_ack(zxid: Zxid) -> protocol::peer::Packet<tree::Tree> {
    protocol::peer::Packet::Zab(protocol::Message::Ack { zxid })
}

fn quota() -> (&'static str, Quota) {
    let figures = |text: &str| Known::read(Some(text.as_bytes()));
    let (limits, stats) = (figures("count=10,bytes=-1"), Some(figures("count=3,bytes=17")));
    ("/my \"app\"", Quota { limits, stats })
}

fn view(stats: &Stats, mode: Mode) -> View<'_> {
    View {
        stats,
        mode,
        part: Part { role: None, epoch: Epoch(1), serving: true, read_only: false, since: stats.started },
        zxid: Zxid::new(Epoch(1), 2),
        outstanding: 1,
        connections: 1,
        handshakes: 0,
        tree: TreeView { nodes: 5, ..TreeView::default() },
        quotas: Names::sum([quota()].into_iter()),
        quorum_size: 3,
        learners: (mode == Mode::Leader).then_some(Learners {
            links: 3,
            synced_followers: 2,
            synced_observers: 1,
        }),
        pending_syncs: (mode == Mode::Leader).then_some(4),
        observed: (mode == Mode::Observer).then_some(ServerId(2)),
        drop_chance: 0,
        throttles: &THROTTLES,
        log_lines_dropped: 0,
    }
}

fn client() -> ClientView {
    let mut traffic = Traffic::new(1_700_000_000_000);
    (traffic.received, traffic.sent) = (4, 3);
    ClientView {
        address: "127.0.0.1:40000".parse().expect("an address"),
        outstanding: 1,
        session: None,
        traffic,
        interest: 1,
        is_secure: false,
    }
}

const SERVER: &str = "Latency min/avg/max: 0/1.5/2\nReceived: 12\nSent: 11\nConnections: 1\nOutstanding: 1\n\
    Zxid: 0x100000002\n";

#[test]
fn shapes_are_javas() {
    let stats = stats();
    let alone = format!("{SERVER}Mode: standalone\nNode count: 5\n");
    assert_eq!(server(&view(&stats, Mode::Standalone)), alone);
    let leader = format!("{SERVER}Mode: leader\nNode count: 5\nProposal sizes last/min/max: 48/48/48\n");
    assert_eq!(server(&view(&stats, Mode::Leader)), leader);
    let reads = server(&view(&stats, Mode::ReadOnly));
    assert_eq!(reads, format!("{SERVER}Mode: read-only\nNode count: 5\n"));
    let client_line = " /127.0.0.1:40000[1](queued=1,recved=4,sent=3)";
    let follower = format!(
        "Zookeeper version: {}\nClients:\n{client_line}\n\n{SERVER}Mode: follower\nNode count: 5\n",
        version()
    );
    assert_eq!(stat(&view(&stats, Mode::Follower), &[client()]), follower);
    let read_only = stat(&view(&stats, Mode::ReadOnly), &[]);
    assert!(
        read_only.contains("\nREAD-ONLY mode; serving only read-only clients\nClients:\n"),
        "{read_only}"
    );
}

#[test]
fn a_version_has_a_date_as_javas() {
    let version = version();
    let (_, built) = version.split_once(", built on ").expect("it is there");
    let parsed = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M UTC", built);
    assert!(option_env!("ZABKEEPER_BUILT").is_some() || parsed.is_ok(), "{built}");
}

#[test]
fn users_and_machines_are_named_as_by_java() {
    let users = "root:x:0:0:root:/root:/bin/bash\n+::::::\nwrong\nzk:x:114:121::/var/lib/zk:/bin/false\n";
    for (uid, expected) in [(0, Some(("root", "/root"))), (114, Some(("zk", "/var/lib/zk"))), (7, None)] {
        assert_eq!(account(users, uid), expected, "{uid}");
    }
    assert_eq!((architecture("x86_64"), architecture("aarch64")), ("amd64", "aarch64"));
    let environment = environment();
    let of = |key| environment.iter().find_map(|(name, value)| (*name == key).then_some(value.as_str()));
    assert!(of("os.arch").is_some_and(|arch| arch != "x86_64"));
}

#[test]
fn connections_tell_of_their_last_answer() {
    let started = Instant::now();
    let fresh = client();
    let mut busy = client();
    busy.session = Some((SessionId(0x1000), 30_000));
    busy.traffic.operation = Some(wire::client::opcode::GET_DATA);
    (busy.traffic.xid, busy.traffic.zxid) = (Some(17), Some(Zxid::new(Epoch(1), 9)));
    (busy.traffic.answered, busy.traffic.took) = (Some(started + Duration::from_millis(70)), 3400);
    for took in [1000, 4600] {
        busy.traffic.latency.record(took);
    }
    let line = "/127.0.0.1:40000[1](queued=1,recved=4,sent=3";
    let expected = format!(
        " {line})\n {line},sid=0x1000,lop=GETD,est=1700000000000,to=30000,lcxid=0x11,lzxid=0x100000009,lresp=70,\
         llat=3,minlat=1,avglat=2,maxlat=4)\n\n"
    );
    assert_eq!(listing::connections(&[fresh, busy], started), expected);
}

#[test]
fn connections_tell_that_nothing_was_answered_yet_or_since_they_are_counted_anew() {
    let mut moved = client();
    moved.session = Some((SessionId(0x1000), 30_000));
    let mut anew = ClientView { traffic: moved.traffic.anew(), ..moved };
    let line = |client: ClientView| listing::connections(&[client], Instant::now());
    let head = ",sid=0x1000,";
    let none = "lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)\n\n";
    let start = " /127.0.0.1:40000[1](queued=1,recved=4,sent=3";
    let zeros = "lop=null,est=1700000000000,to=30000,lcxid=0x0,lzxid=0x0,";
    assert_eq!(line(moved), format!("{start}{head}{zeros}{none}"));
    let start = " /127.0.0.1:40000[1](queued=1,recved=0,sent=0";
    let unknown = "lop=NA,est=1700000000000,to=30000,lzxid=0xffffffffffffffff,";
    assert_eq!(line(anew), format!("{start}{head}{unknown}{none}"));
    anew.traffic.operation = Some(wire::client::opcode::PING);
    assert!(line(anew).contains(",lop=PING,est=1700000000000,to=30000,lzxid="));
}

#[test]
fn watches_are_told_by_path_and_by_session() {
    let sessions = |ids: &[i64]| ids.iter().map(|id| SessionId(*id)).collect::<BTreeSet<_>>();
    let path = |text: &'static str| tree::Text::from_static(text);
    let watchers = [(path("/a"), sessions(&[1, 2])), (path("/b"), sessions(&[2]))].into_iter().collect();
    let counts = listing::WatchCounts { connections: 2, paths: 2, total: 3 };
    assert_eq!(counts.to_string(), "2 connections watching 2 paths\nTotal watches:3\n");
    assert_eq!(listing::watches_by_path(&watchers), "/a\n\t0x1\n\t0x2\n/b\n\t0x2\n\n");
    assert_eq!(listing::watches_by_session(&watchers), "0x1\n\t/a\n0x2\n\t/a\n\t/b\n\n");
}

#[test]
fn digests_are_told_by_transaction() {
    let log = [(Zxid::new(Epoch(1), 128), 7), (Zxid::new(Epoch(1), 256), -9)];
    assert_eq!(listing::digests(log.into_iter()), "100000080: 7\n100000100: -9\n");
}

#[test]
fn monitoring_is_keys_and_values_by_tabs() {
    let stats = stats();
    let text = monitor(&view(&stats, Mode::Leader));
    assert!(text.lines().all(|line| line.starts_with("zk_") && line.split('\t').count() == 2), "{text}");
    let rows = [
        "zk_server_state\tleader",
        "zk_znode_count\t5",
        "zk_avg_latency\t1.5",
        "zk_synced_followers\t2",
        "zk_learners\t3",
        "zk_pending_syncs\t4",
        "zk_synced_observers\t1",
        "zk_last_proposal_size\t48",
        "zk_cnt_readlatency\t2",
        "zk_avg_readlatency\t1.5",
        "zk_p99_readlatency\t2",
        "zk_cnt_updatelatency\t0",
        "zk_avg_2_ack_latency\t7.0",
        "zk_p99_2_ack_latency\t7",
        "zk_sum_my \"app\"_write_per_namespace\t11",
        "zk_my \"app\"_quota_count_limit_per_namespace\t10",
        "zk_my \"app\"_quota_bytes_usage_per_namespace\t17",
    ];
    for row in rows {
        assert!(text.lines().any(|line| line == row), "{row} is not in\n{text}");
    }
    assert!(!monitor(&view(&stats, Mode::Follower)).contains("synced_followers"));
    let text = monitor(&view(&stats, Mode::Observer));
    for row in
        ["zk_server_state\tobserver", "zk_peer_state\tobserving - broadcast", "zk_observer_master_id\t2"]
    {
        assert!(text.lines().any(|line| line == row), "{row} is not in\n{text}");
    }
}

#[test]
fn metrics_are_exposed_as_prometheus_reads_them() {
    let stats = stats();
    let text = metrics::exposition(&view(&stats, Mode::Leader));
    let rows = [
        "# HELP znode_count znode_count\n# TYPE znode_count gauge\nznode_count 5\n",
        "# HELP process_open_fds Number of open file descriptors.\n# TYPE process_open_fds gauge\nprocess_open_fds ",
        "# TYPE proposal_count counter\nproposal_count 1\n",
        "# TYPE readlatency summary\nreadlatency{quantile=\"0.5\"} 0.5",
        "\nreadlatency_count 2\nreadlatency_sum 3.000\n",
        "\nfsynctime_count 0\nfsynctime_sum 0.000\n",
        "\nsynced_followers 2\n",
        "# TYPE ack_latency summary\nack_latency{key=\"2\",quantile=\"0.5\"} 7\n",
        "\nack_latency_count{key=\"2\"} 1\nack_latency_sum{key=\"2\"} 7\n",
        r#"write_per_namespace_sum{key="my \"app\""} 11"#,
        "# TYPE quota_count_usage_per_namespace gauge\nquota_count_usage_per_namespace{key=\"my \\\"app\\\"\"} 3\n",
        "\nquota_bytes_limit_per_namespace{key=\"my \\\"app\\\"\"} -1\n",
        "# TYPE connection_drop_probability gauge\nconnection_drop_probability 0.0\n",
        "# TYPE propagation_latency summary\npropagation_latency{quantile=\"0.5\"} 0\n",
        "\npropagation_latency{quantile=\"0.99\"} 0\n",
        "\nsync_process_time_count 0\nsync_process_time_sum 0.000\n",
    ];
    for row in rows {
        assert!(text.contains(row), "{row:?} is not in\n{text}");
    }
    assert!(!text.contains("connection_token_deficit"), "of a throttle that is off nothing is known");
    let is_sample = |line: &str| line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
    let is_head = |line: &str| line.starts_with("# HELP ") || line.starts_with("# TYPE ");
    assert!(text.lines().all(|line| is_head(line) || is_sample(line)), "{text}");
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.windows(2) {
        if let Some(helped) = pair[0].strip_prefix("# HELP ").and_then(|rest| rest.split(' ').next()) {
            let typed = pair[1].strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next());
            assert_eq!(typed, Some(helped));
        }
    }
    let mut names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let told = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), told, "a metric is told twice");
}

#[test]
fn samples_are_chosen_by_their_names() {
    let stats = stats();
    let text = metrics::exposition(&view(&stats, Mode::Leader));
    let only = |names: &[&str]| {
        metrics::only(&text, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    let nodes = "# HELP znode_count znode_count\n# TYPE znode_count gauge\nznode_count 5\n";
    let counted =
        "# HELP ack_latency ack_latency\n# TYPE ack_latency summary\nack_latency_count{key=\"2\"} 1\n";
    let bytes = "# HELP quota_bytes_usage_per_namespace quota_bytes_usage_per_namespace\n\
        # TYPE quota_bytes_usage_per_namespace gauge\nquota_bytes_usage_per_namespace{key=\"my \\\"app\\\"\"} 17\n";
    let rows: [(&[&str], String); 4] = [
        (&["znode_count"], nodes.to_owned()),
        (&["ack_latency_count", "znode_count", "no_such"], format!("{nodes}{counted}")),
        (&["quota_bytes_usage_per_namespace"], bytes.to_owned()),
        (&["znode", "#"], String::new()),
    ];
    for (names, expected) in rows {
        assert_eq!(only(names), expected, "{names:?}");
    }
    assert_eq!(only(&["ack_latency"]).lines().count(), 5, "its quantiles, and what is above");
}

#[test]
fn gauges_are_there_while_a_server_serves() {
    let stats = stats();
    let told = |mode| -> Vec<String> {
        let text = metrics::exposition(&view(&stats, mode));
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    let rows = [
        // What a server tells of what it serves, also one that only reads.
        ("znode_count", [false, true, true, true]),
        ("uptime", [false, true, true, true]),
        ("open_file_descriptor_count", [false, true, true, true]),
        ("quota_count_usage_per_namespace", [false, true, true, true]),
        // Of a quorum only who has one.
        ("quorum_size", [false, false, false, true]),
        // Counters, summaries and what is of the process stay.
        ("looking_count", [true; 4]),
        ("election_time", [true; 4]),
        ("outstanding_tls_handshake", [true; 4]),
        ("fsync_threshold_exceed_count", [true; 4]),
        ("write_per_namespace", [true; 4]),
        ("process_open_fds", [true; 4]),
    ];
    for (name, expected) in rows {
        let modes = [Mode::NotServing, Mode::ReadOnly, Mode::Standalone, Mode::Follower];
        for (mode, expected) in modes.into_iter().zip(expected) {
            assert_eq!(told(mode).iter().any(|told| told == name), expected, "{name} {mode:?}");
        }
    }
}

#[test]
fn lengths_are_no_words() {
    assert_eq!(length(b"srvr", &Words::All), Some(4));
    assert_eq!(length(b"stmk", &Words::All), Some(12));
    assert_eq!(length(b"stmk", &Words::Only(vec!["srvr".to_owned()])), Some(4), "it is refused at once");
    assert_eq!(length(b"srv", &Words::All), None);
    assert_eq!(length(&44_u32.to_be_bytes(), &Words::All), None);
}
