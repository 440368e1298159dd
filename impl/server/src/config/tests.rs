use std::{io, path::Path};

use protocol::Quorum;
use spec::ServerId;

use super::{Config, ConfigError, Flags, Words};

const ENSEMBLE: &str = "dataDir=/d\ninitLimit=10\nsyncLimit=5\nclientPort=2181\n\
    server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=[::1]:2888:3888;2183\n";

fn parse(text: &str, my_id: Option<&str>) -> Result<Config, Vec<String>> {
    let read = |path: &Path| {
        assert!(path.ends_with("myid"));
        my_id.map(str::to_owned).ok_or(io::Error::from(io::ErrorKind::NotFound))
    };
    Config::parse("zoo.cfg", text.to_owned(), read).map_err(|error| match error {
        ConfigError::Invalid { problems, .. } => problems.iter().map(super::Problem::summary).collect(),
        ConfigError::Unreadable { .. } => panic!("nothing is read"),
    })
}

#[test]
fn the_smallest_file_gets_zookeepers_defaults() {
    let config = parse("dataDir=/d\nclientPort=2181", None).expect("valid");
    assert!(config.standalone());
    assert_eq!(config.me, ServerId(1));
    assert_eq!(config.data_log_dir, config.data_dir);
    assert_eq!((config.tick_ms, config.init_limit, config.sync_limit), (3000, 10, 5));
    assert_eq!((config.session_timeout_min_ms, config.session_timeout_max_ms), (6000, 60_000));
    assert_eq!((config.max_client_cnxns, config.snap_count, config.purge_retain), (60, 100_000, 3));
    assert_eq!(config.preallocate_bytes, 64 << 20);
    assert_eq!(config.words, Words::Only(vec!["srvr".to_owned()]));
    assert!(config.force_sync);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_recorder_is_on_beside_the_data_unless_it_is_told_otherwise() {
    let config = |more: &str| parse(&format!("dataDir=/d\nclientPort=2181\n{more}"), None);
    let plain = config("").expect("valid");
    assert_eq!(plain.recorder_dir.as_deref(), Some(Path::new("/d/recorder")));
    assert_eq!(plain.recorder_bytes, 64 << 20);
    assert_eq!(config("zabkeeper.recorder=off").expect("valid").recorder_dir, None);
    assert!(config("zabkeeper.recorder=yes").expect("valid").recorder_dir.is_some());
    let moved = config("zabkeeper.recorderDir=/r\nzabkeeper.recorderBytes=1048576").expect("valid");
    assert_eq!((moved.recorder_dir.as_deref(), moved.recorder_bytes), (Some(Path::new("/r")), 1 << 20));
    assert!(config("zabkeeper.recorder=perhaps").is_err());
    assert!(config("zabkeeper.recorderBytes=1000").is_err());
}

/// What these lines come to, with the warnings.
fn comes_to<T>(lines: &str, value: impl Fn(&Config) -> T) -> (T, Vec<String>) {
    let config = parse(&format!("dataDir=/d\nclientPort=2181\n{lines}"), None).expect("valid");
    (value(&config), config.warnings.iter().map(super::Problem::summary).collect())
}

#[test]
fn words_mean_what_they_mean_to_zookeeper() {
    let synced = |word: &str| comes_to(&format!("forceSync={word}"), |config| config.force_sync);
    assert_eq!((synced("yes"), synced("no").0), ((true, Vec::new()), false));
    for word in ["false", "NO"] {
        let (is_synced, warnings) = synced(word);
        assert!(is_synced && warnings[0].contains("only no does"), "{word}: {warnings:?}");
    }
    let serves =
        |word: &str| comes_to(&format!("leaderServes={word}"), |config| config.throttles.leader_serves);
    assert_eq!((serves("no"), serves("false").0), ((false, Vec::new()), true));
    let enforced =
        |word: &str| comes_to(&format!("enforceQuota={word}"), |config| config.settings.enforce_quota);
    assert_eq!((enforced("TRUE"), enforced("no")), ((true, Vec::new()), (false, Vec::new())));
    let (is_enforced, warnings) = enforced("yes");
    assert!(!is_enforced && warnings[0].contains("only true is yes"), "{warnings:?}");
    // A key that counts in the file alone is true or false, or ends the start there too.
    for wrong in ["forceSync=maybe", "standaloneEnabled=yes"] {
        assert!(parse(&format!("dataDir=/d\nclientPort=2181\n{wrong}"), None).is_err(), "{wrong}");
    }
}

#[test]
fn numbers_of_properties_are_decoded_as_java_does() {
    let longest = |word: &str| comes_to(&format!("jute.maxbuffer={word}"), |config| config.frame_bytes_max).0;
    assert_eq!(["4194304", "0x400000", "#400000", "0X400000", "020000000"].map(longest), [4 << 20; 5]);
    let (clipped, warnings) = comes_to("jute.maxbuffer=0x3fffffff", |config| config.frame_bytes_max);
    assert!(clipped == 48 << 20 && warnings[0].contains("50331648 bytes at most"), "{warnings:?}");
    assert_eq!(comes_to("largeRequestThreshold=-0x1", |config| config.throttles.large_over).0, None);
    assert!(parse("dataDir=/d\nclientPort=0x885", None).is_err(), "those of the file are decimal");
    for odd in ["0x", "0x+10", "089", "4m"] {
        assert!(parse(&format!("dataDir=/d\nclientPort=1\njute.maxbuffer={odd}"), None).is_err(), "{odd}");
    }
}

#[test]
fn an_ensemble_of_nobody_is_refused() {
    let problem =
        parse("dataDir=/d\nclientPort=2181\nstandaloneEnabled=false", None).expect_err("a lost list");
    assert!(problem[0].contains("no server.N lists"), "{problem:?}");
}

#[test]
fn requests_under_way_are_shared_among_voters() {
    let list = |voters: u64| {
        let lines: Vec<_> = (1..=voters).map(|id| format!("server.{id}=h{id}:1:2\n")).collect();
        lines.concat()
    };
    let most = |voters: u64, more: &str, me: &str| {
        let text = format!("dataDir=/d\nclientPort=2181\ninitLimit=5\nsyncLimit=2\n{}{more}", list(voters));
        parse(&text, Some(me)).expect("valid").outstanding_max
    };
    let observer = "server.9=h9:1:2:observer\n";
    assert_eq!(
        [most(3, "", "1"), most(5, "", "5"), most(2, "", "1"), most(3, observer, "9")],
        [500, 250, 1000, 1000]
    );
}

#[test]
fn a_file_in_latin_1_is_read_as_java_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("zoo.cfg");
    let mut bytes =
        format!("# f\u{0}r\ndataDir={}/d\nclientPort=2181\n", folder.path().display()).into_bytes();
    bytes[3] = 0xfc;
    std::fs::write(&path, bytes).expect("a file");
    assert!(Config::load(&path).is_ok());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let mark = '\u{feff}';
    let config = parse(&format!("{mark}{ENSEMBLE}"), Some(&format!("{mark}2\r\n"))).expect("valid");
    assert_eq!((config.me, config.data_dir.as_path()), (ServerId(2), Path::new("/d")));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let problems = parse(&format!("{mark}tickTime=soon\ndataDir=/d\nclientPort=1"), None).expect_err("soon");
    assert!(problems[0].starts_with("zoo.cfg:1: tickTime is \"soon\""), "{problems:?}");
    let config = parse(&format!("{mark}syncEnabled=false\ndataDir=/d\nclientPort=1"), None).expect("valid");
    assert_eq!(config.warnings[0].excerpt().as_deref(), Some("  syncEnabled=false\n  ^^^^^^^^^^^"));
}

#[test]
fn properties_of_clients_do_nothing_in_a_server() {
    let names = [
        "sasl.client",
        "sasl.clientconfig",
        "request.timeout",
        "disableAutoWatchReset",
        "clientCnxnSocket",
        "client.secure",
        "ssl.client.enable",
        "server.principal",
    ];
    let flags = Flags::default().and(&names.map(|name| format!("zookeeper.{name}=x")));
    let text = "dataDir=/d\nclientPort=1".to_owned();
    let config = Config::parse_with("zoo.cfg", text, &flags, |_| unreachable!("it is alone")).expect("valid");
    let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
    for name in names {
        let expected = format!("{name} is ignored: it is a client's, and does nothing in a server");
        assert!(warnings.iter().any(|warning| warning.ends_with(&expected)), "{name}: {warnings:?}");
    }
}

#[test]
fn limits_may_be_off_in_two_ways() {
    let most = |word: &str| comes_to(&format!("maxClientCnxns={word}"), |config| config.max_client_cnxns).0;
    assert_eq!(["0", "-1", "7"].map(most), [0, 0, 7]);
    let least =
        |word: &str| comes_to(&format!("minSessionTimeout={word}"), |config| config.session_timeout_min_ms).0;
    assert_eq!(["0", "-1", "100"].map(least), [0, 6000, 100]);
}

#[test]
fn snapshots_may_have_no_limit_of_bytes() {
    let limit =
        |word: &str| comes_to(&format!("snapSizeLimitInKb={word}"), |config| config.snap_size_bytes).0;
    assert_eq!(["-1", "0", "2"].map(limit), [u64::MAX, u64::MAX, 2048]);
}

#[test]
fn an_ensemble_may_have_names() {
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
    let names = |lines: &str| {
        let names = |config: &Config| {
            let names = config.settings.ensembles.as_ref()?;
            Some(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        comes_to(lines, names)
    };
    assert_eq!(names(provider), (Some(Vec::new()), Vec::new()));
    let both = names(&format!("{provider}\nensembleAuthName=a, b"));
    assert_eq!(both, (Some(vec!["a".to_owned(), "b".to_owned()]), Vec::new()));
    let (none, warnings) = names("ensembleAuthName=a");
    assert!(none.is_none() && warnings[0].contains("has no effect"), "{warnings:?}");
}

#[test]
fn an_ensemble_knows_itself_by_myid() {
    let config = parse(ENSEMBLE, Some("2\n")).expect("valid");
    assert_eq!(config.me, ServerId(2));
    assert_eq!(config.servers.len(), 3);
    assert_eq!(config.servers[&ServerId(3)].election_address(), "[::1]:3888");
}

#[test]
fn one_listed_server_is_alone_unless_told_otherwise() {
    let one = "dataDir=/d\ninitLimit=10\nsyncLimit=5\nserver.1=a:2888:3888;2181\n";
    assert!(parse(&format!("{one}clientPort=2181"), None).expect("valid").standalone());
    let config = parse(one, Some("1")).expect("its line says where clients come");
    assert!(config.standalone() && config.client_port == Some(2181));
    let bound = one.replace(";2181", ";[::1]:2181");
    let config = parse(&format!("{bound}clientPort=2181"), Some("1")).expect("valid");
    assert_eq!(config.client_address.as_deref(), Some("::1"));
    assert!(parse(&format!("{one}clientPort=2182"), Some("1")).is_err(), "they contradict");
    assert!(parse(&format!("{one}clientPort=2182"), None).is_ok(), "without myid, nobody is server 1");
    assert!(parse(&format!("{one}clientPort=2182"), Some("2")).is_ok(), "this is not server 1");
    assert!(parse(one, None).is_err());
    let config = parse(&format!("{one}standaloneEnabled=false"), Some("1")).expect("valid");
    assert!(!config.standalone());
    assert_eq!(config.client_port, Some(2181));
}

#[test]
fn errors_point_at_their_line() {
    let rows = [
        ("clientPort=2181", None, "dataDir is missing"),
        ("dataDir=/d", None, "no client port is given"),
        ("dataDir=/d\nclientPort=2181\ntickTime=soon", None, "zoo.cfg:3: tickTime is \"soon\""),
        ("dataDir=/d\nclientPort=70000", None, "zoo.cfg:2: clientPort is \"70000\""),
        ("dataDir=/d\nclientPort=1\nforceSync=maybe", None, "zoo.cfg:3: forceSync is \"maybe\""),
        (
            "dataDir=/d\nclientPort=1\nminSessionTimeout=9\nmaxSessionTimeout=8",
            None,
            "zoo.cfg:3: minSessionTimeout",
        ),
        ("dataDir=/d\nclientPort=1\nserver.x=a:1:2", None, "zoo.cfg:3: a server's number"),
        ("dataDir=/d\nclientPort=1\nserver.1=a:1", None, "zoo.cfg:3: the election port is missing"),
        ("dataDir=/d\nclientPort=1\nserver.1=a:1:2\nserver.2=b:1:2", Some("1"), "initLimit is missing"),
        (
            "dataDir=/d\nclientPort=1\nmultiAddress.enabled=true",
            None,
            "zoo.cfg:3: multiAddress.enabled is not possible",
        ),
        (
            "dataDir=/d\nclientPort=1\nsecureClientPort=2",
            None,
            "zoo.cfg:3: secureClientPort or client.portUnification needs",
        ),
        (
            "dataDir=/d\nclientPort=1\nssl.ocsp=true\nsecureClientPort=2",
            None,
            "zoo.cfg:3: ssl.ocsp is not possible",
        ),
        ("dataDir=/d\nclientPort=1\nelectionAlg=0", None, "zoo.cfg:3: electionAlg is \"0\""),
        (ENSEMBLE, None, "zoo.cfg:1: cannot read /d/myid"),
        (ENSEMBLE, Some("7"), "zoo.cfg:1: /d/myid says 7, and there is no server.7"),
        (ENSEMBLE, Some("one"), "zoo.cfg:1: /d/myid holds \"one\", which is no number"),
    ];
    for (text, my_id, expected) in rows {
        let problems = parse(text, my_id).expect_err(text);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}: {problems:?}");
    }
}

fn with_roles(lines: &str) -> String {
    let start = "dataDir=/d\ninitLimit=10\nsyncLimit=5\nclientPort=2181\n";
    format!(
        "{start}server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\nserver.4=d:2888:3888:observer\n{lines}"
    )
}

#[test]
fn the_list_says_where_clients_come_unless_it_is_contradicted() {
    let start = "dataDir=/d\ninitLimit=10\nsyncLimit=5\nserver.2=b:1:2\nserver.1=a:2888:3888;";
    let parse = |listed: &str, lines: &str| parse(&format!("{start}{listed}\n{lines}"), Some("1"));
    let address = |listed: &str, lines: &str| parse(listed, lines).expect(lines).client_address;
    assert_eq!(address("127.0.0.1:2181", "").as_deref(), Some("127.0.0.1"));
    let same = "clientPort=2181\nclientPortAddress=127.0.0.1";
    assert_eq!(address("127.0.0.1:2181", same).as_deref(), Some("127.0.0.1"));
    let bracketed = "clientPort=2181\nclientPortAddress=[::1]";
    assert_eq!(address("[::1]:2181", bracketed).as_deref(), Some("::1"));
    let mapped = "clientPort=2181\nclientPortAddress=::ffff:127.0.0.1";
    assert_eq!(address("127.0.0.1:2181", mapped).as_deref(), Some("127.0.0.1"));
    let alone = Config::parse("zoo.cfg", format!("dataDir=/d\n{bracketed}"), |_| unreachable!("it is alone"));
    assert_eq!(alone.expect("valid").client_address.as_deref(), Some("::1"), "as it can be bound");
    let everywhere = "clientPort=2181\nclientPortAddress=0.0.0.0";
    assert_eq!(address("127.0.0.1:2181", everywhere).as_deref(), Some("127.0.0.1"), "the list counts");
    for (listed, lines, expected) in [
        ("2181", same, "clientPortAddress is 127.0.0.1, and this server's line in the list says 0.0.0.0"),
        ("127.0.0.2:2181", same, "and this server's line in the list says 127.0.0.2"),
        ("2182", same, "clientPort is 2181, and this server's line in the list says 2182"),
        ("2181", "clientPortAddress=127.0.0.1", "clientPortAddress needs a clientPort"),
    ] {
        let problems = parse(listed, lines).expect_err(lines);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{lines}: {problems:?}");
    }
}

#[test]
fn a_warning_shows_its_place() {
    let config = parse("dataDir=/d\nclientPort=2181\n  syncEnabled = false\n", None).expect("valid");
    let excerpts: Vec<_> = config.warnings.iter().filter_map(super::Problem::excerpt).collect();
    assert!(excerpts.contains(&"    syncEnabled = false\n    ^^^^^^^^^^^".to_owned()), "{excerpts:?}");
}

#[test]
fn observers_are_listed_and_have_no_vote() {
    let config = parse(&with_roles("peerType=observer"), Some("4")).expect("valid");
    assert_eq!(config.servers.len(), 4);
    assert_eq!(config.quorum, Quorum::majority((1..=3).map(ServerId)));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.ensemble_text().contains("server.4=d:2888:3888:observer\n"));
    assert!(config.ensemble_text().contains("server.3=c:2888:3888:participant\n"));
    let warned = |line: &str, me: &str, expected: &str| {
        let config = parse(&with_roles(line), Some(me)).expect(line);
        let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{line}: {warnings:?}");
    };
    warned("peerType=observer", "1", "the server list makes this server participant");
    warned("peerType=participant", "4", "the server list makes this server observer");
    warned("syncEnabled=false", "4", "writes its log and snapshots");
}

#[test]
fn groups_and_weights_make_the_quorum() {
    let config = parse(&with_roles("group.1=1:2\ngroup.2=3\nweight.1=3\nweight.2=0"), Some("1"));
    let groups = [vec![(1, 3), (2, 0)], vec![(3, 1)]];
    let groups = groups.map(|group| group.into_iter().map(|(id, weight)| (ServerId(id), weight)));
    assert_eq!(Ok(config.expect("valid").quorum), Quorum::hierarchical(groups));
    let config = parse(&with_roles("group.1=1:2:3\nweight.4=5"), Some("1")).expect("valid");
    let lines = "participant\nserver.4=d:2888:3888:observer\n\
        group.1=1:2:3\nweight.1=1\nweight.2=1\nweight.3=1\nweight.4=5\nversion=0";
    assert!(config.ensemble_text().ends_with(lines), "{}", config.ensemble_text());
    assert!(config.warnings[0].summary().contains("its weight counts nowhere"), "{:?}", config.warnings);
    let alone = parse("dataDir=/d\nclientPort=1\nweight.1=2", None).expect("valid");
    assert!(alone.warnings[0].summary().contains("needs no groups"), "{:?}", alone.warnings);
}

#[test]
fn roles_groups_and_weights_that_cannot_be_say_so() {
    let rows = [
        ("group.1=1:2", "zoo.cfg:7: server 3 is in no group (add it to a line such as group.1=1:2:3)"),
        ("weight.1=2", "zoo.cfg:5: server 1 is in no group"),
        ("group.1=1:2:3\ngroup.2=3", "zoo.cfg:10: server 3 is in two groups"),
        ("group.1=1:2\ngroup.01=3", "group 1 is there already"),
        ("group.1=1:1:2:3", "zoo.cfg:9: server 1 is in two groups, or twice in one"),
        ("group.1=1:2:3:4", "zoo.cfg:9: group.1 names server 4, an observer"),
        ("group.1=1:2:3:9", "zoo.cfg:9: group.1 names server \"9\", and the list has 1:2:3:4"),
        ("group.1=1:2:3:", "zoo.cfg:9: group.1 names server \"\""),
        ("group.x=1:2:3", "zoo.cfg:9: a group's number is 0 or more"),
        ("group.1=1:2:3\nweight.9=1", "zoo.cfg:10: weight.9 is of no server: the list has 1:2:3:4"),
        ("group.1=1:2:3\nweight.1=-1", "zoo.cfg:10: weight.1 is \"-1\", and must be a number from 0 to"),
        ("group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0", "no server has a weight above 0"),
        ("peerType=king", "zoo.cfg:9: peerType is \"king\": a server is a participant or an observer"),
    ];
    for (lines, expected) in rows {
        let problems = parse(&with_roles(lines), Some("1")).expect_err(lines);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{lines}: {problems:?}");
    }
    let few = |list: &str| format!("dataDir=/d\ninitLimit=10\nsyncLimit=5\nclientPort=2181\n{list}");
    let one = "server.1=a:2888:3888\nserver.2=b:2888:3888:observer\n";
    let rows = [
        ("server.1=a:2888:3888:observer\nserver.2=b:2888:3888:observer\n".to_owned(), "no participant"),
        ("server.1=a:2888:3888:observer\n".to_owned(), "no participant"),
        (one.to_owned(), "standaloneEnabled=false makes an ensemble of it"),
    ];
    for (list, expected) in rows {
        let problems = parse(&few(&list), Some("1")).expect_err(&list);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{list}: {problems:?}");
    }
    let config = parse(&few(&format!("{one}standaloneEnabled=false")), Some("2")).expect("valid");
    assert_eq!(config.quorum, Quorum::majority([ServerId(1)]));
}

#[test]
fn every_problem_is_reported_at_once() {
    let problems = parse("tickTime=x\nclientPort=y\nserver.1=z", None).expect_err("invalid");
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[test]
fn odd_keys_are_warnings() {
    let rows = [
        (
            "ticktime=5",
            "zoo.cfg:3: ticktime is no key of ZooKeeper's, and is ignored (did you mean tickTime?)",
        ),
        ("colour=red", "zoo.cfg:3: colour is no key of ZooKeeper's, and is ignored"),
        (
            "sever.2=a:1:2",
            "zoo.cfg:3: sever.2 is no key of ZooKeeper's, and is ignored (did you mean server.2?)",
        ),
        ("wieght.1=2", "(did you mean weight.1?)"),
        (
            "sasl.clientconfig=C",
            "zoo.cfg:3: sasl.clientconfig is ignored: it is a client's, and does nothing",
        ),
        ("zookeeper.sasl.client=true", "zoo.cfg:3: zookeeper.sasl.client is ignored: it is a client's"),
        ("ssl.client.enable=true", "zoo.cfg:3: ssl.client.enable is ignored: it is a client's"),
        ("netty.foo=1", "zoo.cfg:3: netty.foo is ignored"),
        (
            "ssl.keyStore.location=/k",
            "zoo.cfg:3: ssl.* means nothing: no port speaks TLS without secureClientPort",
        ),
        ("fips-mode=false", "zoo.cfg:3: fips-mode is ignored"),
        ("clientPort=2182", "zoo.cfg:2: clientPort is given twice (the last one counts)"),
        ("forceSync=no", "zoo.cfg:3: forceSync is off"),
        ("autopurge.snapRetainCount=1", "zoo.cfg:3: at least 3 snapshots are kept"),
    ];
    for (line, expected) in rows {
        let config = parse(&format!("dataDir=/d\nclientPort=2181\n{line}"), None).expect(line);
        let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{line}: {warnings:?}");
    }
}

#[test]
fn values_are_taken_in_their_units() {
    let text = "dataDir=/d\nclientPort=2181\ndataLogDir=/l\ntickTime=2000\nsnapCount=10\npreAllocSize=64\n\
        4lw.commands.whitelist=stat, ruok\njute.maxbuffer=2048\nmaxSessionTimeout=90000\nforceSync=yes\n\
        clientPortAddress=::1\nautopurge.purgeInterval=1\nclientPortListenBacklog=50";
    let config = parse(text, None).expect("valid");
    assert_eq!(config.data_log_dir, Path::new("/l"));
    assert_eq!((config.session_timeout_min_ms, config.session_timeout_max_ms), (4000, 90_000));
    assert_eq!((config.snap_count, config.preallocate_bytes, config.frame_bytes_max), (10, 65_536, 2048));
    assert!(config.words.allow("ruok") && config.words.allow("srvr") && !config.words.allow("mntr"));
    assert_eq!(config.client_address.as_deref(), Some("::1"));
    assert_eq!((config.purge_interval_hours, config.client_backlog), (1, 50));
    assert!(
        parse("dataDir=/d\nclientPort=1\n4lw.commands.whitelist=*", None).expect("valid").words.allow("mntr")
    );
}

#[test]
fn whoever_reads_without_a_leader_may_ask_who_writes() {
    let alone = "dataDir=/d\nclientPort=1\n";
    let without = parse(alone, None).expect("valid");
    assert!(!without.read_only && !without.words.allow("isro"));
    let with = parse(&format!("{alone}readonlymode.enabled=true\n4lw.commands.whitelist=ruok"), None);
    let with = with.expect("valid");
    assert!(with.read_only && with.words.allow("isro") && with.words.allow("ruok"));
    let flags = Flags::default().and(&["readonlymode.enabled=true".to_owned()]);
    let given = Config::parse_with("zoo.cfg", alone.to_owned(), &flags, |_| unreachable!("it is alone"));
    assert!(given.expect("valid").read_only);
}

#[test]
fn flags_count_less_than_the_file() {
    let flags = Flags::default().and(&[
        "zookeeper.snapCount=10".to_owned(),
        "zookeeper.commitLogCount=7".to_owned(),
        "zookeeper.clientPort=9".to_owned(),
        "java.awt.headless=true".to_owned(),
    ]);
    let text = "dataDir=/d\nclientPort=2181\ncommitLogCount=8".to_owned();
    let config = Config::parse_with("zoo.cfg", text, &flags, |_| unreachable!("it is alone")).expect("valid");
    assert_eq!((config.snap_count, config.commit_log_count, config.client_port), (10, 8, Some(2181)));
    let place = |key: &str| config.effective[key].place.clone();
    assert_eq!(place("snapCount"), "the command line");
    assert_eq!(place("commitLogCount"), "zoo.cfg:3");
    assert_eq!(
        (place("tickTime"), config.effective["tickTime"].value.as_str()),
        ("default".to_owned(), "3000")
    );
    let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
    assert!(
        warnings.iter().any(|warning| warning.contains("clientPort counts only in the file")),
        "{warnings:?}"
    );
    assert!(warnings.iter().any(|warning| warning.contains("commitLogCount is given twice")), "{warnings:?}");
}

#[test]
fn a_flag_that_is_wrong_is_shown_where_it_stands() {
    let flags = Flags::default().and(&["zookeeper.snapCount=few".to_owned()]);
    let text = "dataDir=/d\nclientPort=2181".to_owned();
    let error =
        Config::parse_with("zoo.cfg", text, &flags, |_| unreachable!("it is alone")).expect_err("few");
    let ConfigError::Invalid { problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].summary().starts_with("the command line:1: snapCount is \"few\""),
        "{}",
        problems[0].summary()
    );
}

#[test]
fn settings_of_permission_are_taken() {
    let text = "dataDir=/d\nclientPort=1\nskipACL=yes\nDigestAuthenticationProvider.superDigest=super:x=\n\
        DigestAuthenticationProvider.digestAlg=SHA-256\nenforceQuota=true";
    let settings = parse(text, None).expect("valid").settings;
    assert!(settings.skip_acl && settings.enforce_quota);
    assert_eq!(
        (settings.digest, settings.super_digest.as_ref().map(tree::Text::as_str)),
        (tree::Digest::Sha256, Some("super:x="))
    );
    let odd = parse("dataDir=/d\nclientPort=1\nskipACL=true", None).expect_err("neither yes nor no");
    assert!(odd[0].contains("skipACL is \"true\": it is yes or no"), "{odd:?}");
    let wrong = parse("dataDir=/d\nclientPort=1\nDigestAuthenticationProvider.digestAlg=MD5", None);
    assert!(wrong.is_err_and(|errors| errors[0].contains("must be SHA1 or one of SHA-2")));
    let off = parse("dataDir=/d\nclientPort=1\nDigestAuthenticationProvider.enabled=false", None);
    assert_eq!(off.expect("valid").settings.digest, tree::Digest::Off);
}

#[test]
fn users_of_sasl_come_from_the_file_that_java_names() {
    let jaas = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_super=\"a\" user_bob=\"b\"; };";
    let load = |text: &str, jaas: &str| {
        let (text, jaas) = (format!("dataDir=/d\nclientPort=1\n{text}"), jaas.to_owned());
        let flags = Flags::default().and(&["java.security.auth.login.config=/etc/jaas.conf".to_owned()]);
        Config::parse_with("zoo.cfg", text, &flags, move |path| {
            assert_eq!(path, Path::new("/etc/jaas.conf"));
            Ok(jaas.clone())
        })
    };
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n";
    let more = "SASLAuthenticationProvider.superPassword=c\nsuperUser=root\nsuperUser.1=bob\nsessionRequireClientSASLAuth=true";
    let config = load(&format!("{provider}{more}"), jaas).expect("valid");
    let users: Vec<_> =
        config.sasl.users.iter().map(|(user, password)| (user.as_str(), password.as_str())).collect();
    assert_eq!(users, [("bob", "b"), ("super", "c")]);
    assert_eq!(config.sasl.superusers, ["root", "bob"]);
    assert!(config.sasl.demanded && config.settings.sasl);
    assert_eq!(config.settings.demanded, [tree::Text::from("sasl")]);

    let problems = |text: &str, jaas: &str| match load(text, jaas).expect_err("wrong") {
        ConfigError::Invalid { problems, .. } => {
            problems.iter().map(super::Problem::summary).collect::<Vec<_>>()
        }
        error @ ConfigError::Unreadable { .. } => panic!("{error}"),
    };
    assert!(problems("", "Server {")[0].contains("/etc/jaas.conf, line 1: the file ends"));
    assert!(
        problems("sessionRequireClientSASLAuth=true", jaas)[0].contains("the scheme \"sasl\" is not offered")
    );
    for schemes in ["", "\nenforce.auth.schemes=,", "\nenforce.auth.schemes= , "] {
        let told = problems(&format!("enforce.auth.enabled=true{schemes}"), jaas);
        assert!(told[0].contains("needs the schemes to demand"), "{schemes:?}: {told:?}");
    }
    let wrong = problems("enforce.auth.enabled=true\nenforce.auth.schemes=digest,x509", jaas);
    assert!(wrong.len() == 1 && wrong[0].contains("the scheme \"x509\" is not offered"), "{wrong:?}");
    let none = load(&format!("{provider}sessionRequireClientSASLAuth=true"), "Client { };").expect("valid");
    let warnings: Vec<_> = none.warnings.iter().map(super::Problem::summary).collect();
    assert!(warnings.iter().any(|warning| warning.contains("has no section Server")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("nobody can authenticate")), "{warnings:?}");
}

#[test]
fn what_gives_access_is_not_told() {
    let text = "dataDir=/d\n  ssl.keyStore.password: secret\n# a note\n\
        DigestAuthenticationProvider.superDigest = super:\\\n   x=\nssl.trustStore.password\nclientPort=1";
    let told = super::problem::masked(text);
    let expected = "dataDir=/d\n  ssl.keyStore.password: ***\n# a note\n\
        DigestAuthenticationProvider.superDigest = ***\nssl.trustStore.password***\nclientPort=1";
    assert_eq!(told, expected);
    let rows = [
        ("#ssl.keyStore.password=oldSecret\nclientPort=1", "#ssl.keyStore.password=***\nclientPort=1"),
        (
            "  !! DigestAuthenticationProvider.superDigest: a:b=\r\n",
            "  !! DigestAuthenticationProvider.superDigest: ***\r\n",
        ),
        ("# was ssl.keyStore.password=oldSecret\n", "# was ***\n"),
        (
            "#ssl.keyStore.password=old\\\n#  Secret\\\nmore\nclientPort=1",
            "#ssl.keyStore.password=***\\\n#  ***\n***\nclientPort=1",
        ),
        (
            "ssl.keyStore.password=a\\\n#ssl.trustStore.password=b\nclientPort=1",
            "ssl.keyStore.password=***\nclientPort=1",
        ),
        (
            "#ssl.keyStore.passwordPath=/p\n#tickTime=1\\\n#x",
            "#ssl.keyStore.passwordPath=/p\n#tickTime=1\\\n#x",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(super::problem::masked(text), expected);
    }
    let taken = super::Taken { value: "super:x=".to_owned(), place: "zoo.cfg:2".to_owned(), ignored: None };
    let line = super::shown("DigestAuthenticationProvider.superDigest", &taken);
    assert_eq!(line, "DigestAuthenticationProvider.superDigest=***\tzoo.cfg:2\n");
    let plain = super::Taken { value: "1".to_owned(), place: "default".to_owned(), ignored: None };
    assert_eq!(super::shown("clientPort", &plain), "clientPort=1\tdefault\n");
}

#[test]
fn values_are_shown_as_they_are_carried_out() {
    let text = "dataDir=/d\nclientPort=1\ntickTime=1000\nautopurge.snapRetainCount=1\nzabkeeper.recorder=off\nelectionAlg=3";
    let config = parse(text, None).expect("valid");
    let shown = |key: &str| config.effective[key].value.clone();
    assert_eq!(
        (shown("minSessionTimeout"), shown("maxSessionTimeout")),
        ("2000".to_owned(), "20000".to_owned())
    );
    assert_eq!(
        (shown("autopurge.snapRetainCount"), shown("zabkeeper.recorder")),
        ("3".to_owned(), "off".to_owned())
    );
    assert_eq!((shown("electionAlg"), shown("dataLogDir")), ("3".to_owned(), "/d".to_owned()));
    assert_eq!(
        (shown("4lw.commands.whitelist"), shown("admin.commandURL")),
        ("srvr".to_owned(), "/commands".to_owned())
    );
}

#[test]
fn a_flag_of_the_command_line_is_one_however_it_looks() {
    let flags = Flags::default().and(&[
        "zookeeper.4lw.commands.whitelist=stat, mntr".to_owned(),
        "snapCount=10".to_owned(),
        "zabkeeper.recorder=off".to_owned(),
    ]);
    let text = "dataDir=/d\nclientPort=1".to_owned();
    let config = Config::parse_with("zoo.cfg", text, &flags, |_| unreachable!("it is alone")).expect("valid");
    assert!(config.words.allow("stat") && config.words.allow("mntr") && config.recorder_dir.is_none());
    assert_eq!(config.snap_count, 100_000, "without zookeeper. in front it is nothing");
    let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
    assert!(warnings.iter().any(|warning| warning.contains("snapCount means nothing here")), "{warnings:?}");
}

#[test]
fn throttles_are_taken_from_the_file_and_from_flags() {
    let text = "dataDir=/d\nclientPort=1\nrequest_throttle_max_requests=7\nthrottled_op_wait_time=20\n\
        largeRequestThreshold=1000\nconnection_throttle_tokens=10\nconnection_throttle_weight_enabled=true\n\
        connection_throttle_drop_increase=0.25\nleaderServes=no\nfastleader.maxNotificationInterval=5000";
    let flags = Flags::default().and(&[
        "zookeeper.request_throttle_drop_stale=false".to_owned(),
        "zookeeper.nio.sessionlessCnxnTimeout=500".to_owned(),
        "zookeeper.connection_throttle_freeze_time=30".to_owned(),
        "zookeeper.request_throttle_max_requests=8".to_owned(),
    ]);
    let config = Config::parse_with("zoo.cfg", text.to_owned(), &flags, |_| unreachable!("it is alone"));
    let config = config.expect("valid");
    let throttles = &config.throttles;
    assert_eq!((throttles.requests_max, throttles.wait_max_ms), (7, 20));
    assert_eq!(throttles.stale, super::Stale { dropped: false, when_closed: true, when_late: false });
    assert_eq!((throttles.large_over, throttles.large_bytes_max), (Some(1000), 100 << 20));
    assert_eq!((throttles.sessionless_max_ms, throttles.leader_serves), (500, false));
    let tokens = throttles.connections;
    assert_eq!((tokens.max, tokens.fill, tokens.of_new, tokens.of_renewed), (30, 3, 3, 2));
    assert_eq!((tokens.freeze_ms, tokens.increase, tokens.decrease), (Some(30), 250_000, 2000));
    assert_eq!(config.resend_ms, (200, 5000));
    let segment = |lines: &str| parse(&format!("dataDir=/d\nclientPort=1\n{lines}"), None).expect(lines);
    assert_eq!(segment("txnLogSizeLimitInKb=1000").preallocate_bytes, 1_024_000);
    assert_eq!(segment("txnLogSizeLimitInKb=1000\npreAllocSize=64").preallocate_bytes, 65_536);
    assert_eq!(segment("").preallocate_bytes, 64 << 20);

    let plain = parse("dataDir=/d\nclientPort=1", None).expect("valid").throttles;
    assert_eq!((plain.requests_max, plain.large_over, plain.connections.max), (0, None, 0));
    assert_eq!((plain.sessionless_max_ms, plain.leader_serves), (10_000, true));
}

#[test]
fn throttles_that_cannot_be_say_so() {
    let rows = [
        ("largeRequestThreshold=-2", "must be a number from -1 to"),
        ("largeRequestMaxBytes=0", "must be a number from 1 to"),
        ("connection_throttle_drop_increase=2", "must be a decimal number from 0 to 1 such as 0.02"),
        ("request_throttle_drop_stale=maybe", "must be true or false"),
        ("leader.maxConcurrentSnapSyncs=0", "must be a number from 1 to"),
        ("fastleader.minNotificationInterval=70000", "is above the longest (60000 ms)"),
    ];
    for (line, expected) in rows {
        let problems = parse(&format!("dataDir=/d\nclientPort=1\n{line}"), None).expect_err(line);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{line}: {problems:?}");
    }
    let rows = [
        ("throttled_op_wait_time=5", "nothing waits that could wait too long"),
        ("observer.reconnectDelayMs=20000", "half of that is waited"),
    ];
    for (line, expected) in rows {
        let config = parse(&format!("dataDir=/d\nclientPort=1\n{line}"), None).expect(line);
        let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{line}: {warnings:?}");
    }
}

#[test]
fn what_has_no_effect_is_shown_with_its_reason() {
    let config = parse("dataDir=/d\nclientPort=1\nflushDelay=5", None).expect("valid");
    let line = super::shown("flushDelay", &config.effective["flushDelay"]);
    assert!(line.starts_with("flushDelay=5\tzoo.cfg:3\tignored: a batch is flushed as soon as"), "{line}");
    assert!(config.warnings[0].summary().contains("flushDelay is ignored: a batch is flushed"));
    let text = "snapCount=9\njute.maxbuffer=4096\ndataDir=/d\nclientPort=1";
    let config = parse(text, None).expect("valid");
    let given: Vec<_> = super::properties_given(&config.effective).map(|(key, _)| key).collect();
    assert_eq!(given, ["jute.maxbuffer", "zookeeper.snapCount"]);
}

#[test]
fn the_audit_log_is_off_unless_it_is_turned_on() {
    let read = |more: &str| {
        let config = parse(&format!("dataDir=/d\nclientPort=2181\n{more}"), None).expect(more);
        let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
        (config.audit, warnings)
    };
    assert_eq!(read(""), (None, Vec::new()));
    assert_eq!(read("audit.enable=true"), (Some(super::Audit { file: None }), Vec::new()));
    let file = Some("/l/audit.log".into());
    let both = read("audit.enable=true\nzabkeeper.auditFile=/l/audit.log");
    assert_eq!(both, (Some(super::Audit { file }), Vec::new()));
    let (off, warnings) = read("zabkeeper.auditFile=/l/audit.log");
    assert_eq!(off, None);
    assert_eq!(warnings, ["zoo.cfg:3: nothing goes there: audit.enable is false"]);
    let (_, warnings) = read("audit.impl.class=org.example.Audit");
    assert!(
        warnings[0].contains("audit.impl.class is ignored: classes of Java cannot be loaded"),
        "{warnings:?}"
    );
    assert!(parse("dataDir=/d\nclientPort=2181\naudit.enable=perhaps", None).is_err());
}

#[test]
fn what_zookeeper_does_not_read_has_no_effect() {
    let told = |text: &str, flags: &[&str]| {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let text = format!("dataDir=/d\nclientPort=2181\n{text}");
        let config = Config::parse_with("zoo.cfg", text, &Flags::default().and(&flags), |_| unreachable!());
        let config = config.expect("valid");
        let warnings: Vec<_> = config.warnings.iter().map(super::Problem::summary).collect();
        (config, warnings)
    };
    let (config, warnings) = told("zookeeper.snapCount=9\nzookeeper.skipACL=yes", &[]);
    assert_eq!(config.snap_count, 100_000);
    assert!(!config.settings.skip_acl);
    assert!(
        warnings[0].contains("no key of ZooKeeper's") && warnings[0].ends_with("(did you mean snapCount?)")
    );
    // Of these Java looks at the property alone.
    let (config, warnings) = told("jute.maxbuffer=2048", &["jute.maxbuffer=4096"]);
    assert_eq!(config.frame_bytes_max, 4096);
    assert!(warnings[0].ends_with("(the property counts, and not what stands in the file)"), "{warnings:?}");
    let (config, _) = told("autopurge.purgeInterval=-1\nmaxCnxns=-1\njute.maxbuffer=2147483647", &[]);
    assert_eq!((config.purge_interval_hours, config.max_cnxns, config.frame_bytes_max), (0, 0, 48 << 20));
}

#[test]
fn whoever_else_judges_certificates_is_refused() {
    for line in ["ssl.authProvider=acme", "authProvider.x509=com.example.Judge"] {
        let told = parse(&format!("dataDir=/d\nclientPort=2181\n{line}"), None).expect_err(line);
        assert!(told.len() == 1 && told[0].contains("certificates"), "{told:?}");
    }
    let fine = "ssl.authProvider=x509\nauthProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider";
    assert!(parse(&format!("dataDir=/d\nclientPort=2181\n{fine}"), None).is_ok());
}

#[test]
fn problems_show_no_password() {
    let secret = "s3cret";
    let text = format!(
        "dataDir=/d\nclientPort=2181\n  # ssl.keyStore.password={secret}\nssl.keystore.password={secret}\nssl.keyStore.password={secret}\n\
        ssl.trustStore.password = {secret}\\\n  {secret}\ntickTime=x\nssl.keyStore.password={secret}"
    );
    let flags =
        Flags::default().and(&[format!("zookeeper.ssl.keyStore.password={secret}"), "x=1".to_owned()]);
    let read = |text: &str| Config::parse_with("zoo.cfg", text.to_owned(), &flags, |_| unreachable!());
    let shown = format!("{:?}", miette::Report::new(read(&text).expect_err("tickTime")));
    assert!(shown.contains("tickTime=x") && shown.contains("ssl.keyStore.password=******"), "{shown}");
    assert!(!shown.contains(secret), "{shown}");
    let warned = read(&text.replace("tickTime=x", "tickTime=1")).expect("valid");
    let told = |problem: &super::Problem| format!("{}\n{:?}", problem.summary(), problem.excerpt());
    let warnings: Vec<_> = warned.warnings.iter().map(told).collect();
    assert!(warnings.iter().any(|warning| warning.contains("given twice")), "{warnings:?}");
    assert!(warnings.iter().all(|warning| !warning.contains(secret)), "{warnings:?}");
}
