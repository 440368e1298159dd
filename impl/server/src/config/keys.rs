//! Every key that ZooKeeper knows in `zoo.cfg`, and what this server makes of it.

/// What becomes of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// It is carried out.
    Used,
    /// It is ZooKeeper's, and ignored: for this reason.
    Ignored(&'static str),
    /// It is ZooKeeper's; a server that ignored it, when it has a value that turns it on, would be unsafe: refused
    /// with this reason.
    Refused(&'static str),
}

const JVM: &str = "it tunes Java, which is not used here";
const THREADS: &str = "it tunes thread pools and buffers that do not exist here";
const TLS: &str = "TLS is not offered there yet";
const RELOADS: &str = "stores are read anew whenever their files change";
const REVERSE: &str =
    "names are not looked up by address: a certificate is compared with the server list, or the address";
const LATER: &str = "not offered yet";
const FLUSH: &str = "a batch is flushed as soon as the disk is free, and takes what came meanwhile";
const KERBEROS: &str = "Kerberos is not offered";
const CLIENTS: &str = "it is a client's, and does nothing in a server";

const USED: &[&str] = &[
    "4lw.commands.whitelist",
    "DigestAuthenticationProvider.digestAlg",
    "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.superDigest",
    "SASLAuthenticationProvider.superPassword",
    "X509AuthenticationProvider.superUser",
    "admin.commandURL",
    "admin.enableServer",
    "admin.forceHttps",
    "admin.idleTimeout",
    "admin.needClientAuth",
    "admin.portUnification",
    "admin.rateLimiterIntervalInMS",
    "admin.serverAddress",
    "admin.serverPort",
    "admin.snapshot.enabled",
    "allowSaslFailedClients",
    "audit.enable",
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "client.portUnification",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "cnxTimeout",
    "commitLogCount",
    "connection_throttle_decrease_ratio",
    "connection_throttle_drop_decrease",
    "connection_throttle_drop_increase",
    "connection_throttle_fill_count",
    "connection_throttle_fill_time",
    "connection_throttle_freeze_time",
    "connection_throttle_global_session_weight",
    "connection_throttle_local_session_weight",
    "connection_throttle_renew_session_weight",
    "connection_throttle_tokens",
    "connection_throttle_weight_enabled",
    "dataDir",
    "dataLogDir",
    "datadir.autocreate",
    "db.autocreate",
    "digest.enabled",
    "electionAlg",
    "enforce.auth.enabled",
    "enforce.auth.schemes",
    "enforceQuota",
    "ensembleAuthName",
    "extendedTypesEnabled",
    "fastleader.maxNotificationInterval",
    "fastleader.minNotificationInterval",
    "forceSync",
    "fsync.warningthresholdms",
    "globalOutstandingLimit",
    "initLimit",
    "java.security.auth.login.config",
    "jute.maxbuffer",
    "largeRequestMaxBytes",
    "largeRequestThreshold",
    "leader.maxConcurrentDiffSyncs",
    "leader.maxConcurrentSnapSyncs",
    "leaderServes",
    "maxClientCnxns",
    "maxCnxns",
    "maxSessionTimeout",
    "metricsProvider.className",
    "metricsProvider.httpHost",
    "metricsProvider.httpPort",
    "minSessionTimeout",
    "nio.sessionlessCnxnTimeout",
    "observer.reconnectDelayMs",
    "peerType",
    "portUnification",
    "preAllocSize",
    "quorumListenOnAllIPs",
    "readonlymode.enabled",
    "request_stale_connection_check",
    "request_stale_latency_check",
    "request_throttle_drop_stale",
    "request_throttle_max_requests",
    "sasl.serverconfig",
    "secureClientPort",
    "secureClientPortAddress",
    "sessionRequireClientSASLAuth",
    "skipACL",
    "snapCount",
    "snapSizeLimitInKb",
    "snapshot.compression.method",
    "snapshot.trust.empty",
    "snapshotSizeFactor",
    "sslQuorum",
    "standaloneEnabled",
    "superUser",
    "syncEnabled",
    "syncLimit",
    "throttled_op_wait_time",
    "tickTime",
    "txnLogSizeLimitInKb",
    "zabkeeper.auditFile",
    "zabkeeper.recorder",
    "zabkeeper.recorderBytes",
    "zabkeeper.recorderDir",
    "zabkeeper.shedConnections",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "znode.container.maxPerMinute",
];

/// Of TLS, for clients and between servers.
const OF_TLS: &[&str] = &[
    "ssl.authProvider",
    "ssl.ciphersuites",
    "ssl.clientAuth",
    "ssl.clientHostnameVerification",
    "ssl.crl",
    "ssl.enabledProtocols",
    "ssl.handshakeDetectionTimeoutMillis",
    "ssl.hostnameVerification",
    "ssl.keyStore.location",
    "ssl.keyStore.password",
    "ssl.keyStore.passwordPath",
    "ssl.keyStore.type",
    "ssl.ocsp",
    "ssl.protocol",
    "ssl.trustStore.location",
    "ssl.trustStore.password",
    "ssl.trustStore.passwordPath",
    "ssl.trustStore.type",
    "ssl.quorum.ciphersuites",
    "ssl.quorum.clientAuth",
    "ssl.quorum.clientHostnameVerification",
    "ssl.quorum.crl",
    "ssl.quorum.enabledProtocols",
    "ssl.quorum.handshakeDetectionTimeoutMillis",
    "ssl.quorum.hostnameVerification",
    "ssl.quorum.keyStore.location",
    "ssl.quorum.keyStore.password",
    "ssl.quorum.keyStore.passwordPath",
    "ssl.quorum.keyStore.type",
    "ssl.quorum.ocsp",
    "ssl.quorum.protocol",
    "ssl.quorum.trustStore.location",
    "ssl.quorum.trustStore.password",
    "ssl.quorum.trustStore.passwordPath",
    "ssl.quorum.trustStore.type",
];

const USED_FAMILIES: &[&str] = &["authProvider.", "group.", "server.", "superUser.", "weight."];

const REFUSED: &[(&str, &str)] = &[
    ("dynamicConfigFile", "the server list must stand in this file: move the lines of the dynamic file here"),
    ("ssl.context.supplier.class", "classes of Java cannot be loaded: name stores instead"),
    ("ssl.quorum.context.supplier.class", "classes of Java cannot be loaded: name stores instead"),
    (
        "quorum.auth.enableSasl",
        "SASL between servers is not offered yet, and going on without would be unsafe",
    ),
    ("quorum.auth.learnerRequireSasl", "SASL between servers is not offered yet"),
    ("quorum.auth.serverRequireSasl", "SASL between servers is not offered yet"),
    ("multiAddress.enabled", "several addresses for one server are not offered yet"),
];

const IGNORED: &[(&str, &str)] = &[
    ("admin.enableServer.ssl", "admin.forceHttps or admin.portUnification turns TLS on there"),
    (
        "admin.restore.enabled",
        "restoring is not offered: it would change one server behind the others' backs",
    ),
    (
        "audit.impl.class",
        "classes of Java cannot be loaded: lines go to the server's log, or to zabkeeper.auditFile",
    ),
    ("IPAuthenticationProvider.usexforwardedfor", "an address is that of the connection"),
    ("admin.httpVersion", JVM),
    ("bitHashCacheSize", THREADS),
    ("client.certReload", RELOADS),
    ("client.secure", CLIENTS),
    ("clientCnxnSocket", CLIENTS),
    ("closeSessionTxn.enabled", "closeSession always lists the ephemerals"),
    ("commitProcessor.maxCommitBatchSize", THREADS),
    ("commitProcessor.maxReadBatchSize", THREADS),
    ("commitProcessor.numWorkerThreads", THREADS),
    ("commitProcessor.shutdownTimeout", THREADS),
    ("connectToLearnerMasterLimit", "initLimit holds"),
    ("electionPortBindRetry", "the start retries nothing: it says what holds the port, and ends"),
    ("disableAutoWatchReset", CLIENTS),
    ("emulate353TTLNodes", LATER),
    ("enableEagerACLCheck", "the leader judges every request, and the answer is the same"),
    ("fips-mode", "there is one way to verify certificates and hosts, whatever this says"),
    ("flushDelay", FLUSH),
    ("follower.skipLearnerRequestToNextProcessor", THREADS),
    ("forceSnapshotSync", "a learner gets the whole state where its log does not fit"),
    ("forward_learner_requests_to_commit_processor_disabled", THREADS),
    ("intBufferStartingSizeBytes", THREADS),
    ("jute.maxbuffer.extrasize", "what servers tell each other has bounds of its own"),
    ("kinit", KERBEROS),
    ("leader.maxTimeToWaitForEpoch", "a leader waits for its epoch through initLimit"),
    ("log.dir", JVM),
    ("log.file", JVM),
    ("root.logger", JVM),
    ("leader.ackLoggingFrequency", "every acknowledgement counts"),
    (
        "leaderConnectDelayDuringRetryMs",
        "a server dials its leader again after 5 ms, and less often the longer that fails",
    ),
    ("learner.asyncSending", THREADS),
    ("learner.closeSocketAsync", THREADS),
    ("leader.closeSocketAsync", THREADS),
    ("localSessionsEnabled", LATER),
    ("letAnySaslUserDoX", "who may do everything is for superUser to say"),
    ("localSessionsUpgradingEnabled", LATER),
    ("maxInProcessingDeadWatchers", THREADS),
    ("maxBatchSize", "a batch holds what waits while the disk is busy, and is bounded by bytes"),
    ("maxResponseCacheSize", THREADS),
    ("maxGetChildrenResponseCacheSize", THREADS),
    ("maxWriteQueuePollTime", FLUSH),
    ("metricsProvider.exportJvmInfo", JVM),
    ("metricsProvider.maxQueueSize", THREADS),
    ("metricsProvider.numWorkerThreads", THREADS),
    ("metricsProvider.workerShutdownTimeoutMs", THREADS),
    ("metricsProvider.httpsPort", TLS),
    ("multiAddress.reachabilityCheckEnabled", LATER),
    ("multiAddress.reachabilityCheckTimeoutMs", LATER),
    ("observerMasterPort", LATER),
    ("observer.election.DelayMs", "an observer asks at once who leads: each answer is one packet"),
    ("observerMaster.sizeLimit", LATER),
    ("observer.syncEnabled", "an observer writes its log and snapshots"),
    ("oraclePath", LATER),
    ("quorum.auth.kerberos.servicePrincipal", LATER),
    ("quorum.auth.learner.loginContext", LATER),
    ("quorum.auth.learner.saslLoginContext", LATER),
    ("quorum.auth.server.loginContext", LATER),
    ("quorum.auth.server.saslLoginContext", LATER),
    ("quorum.cnxn.threads.size", THREADS),
    ("quorumCnxnTimeoutMs", "a link between servers is given up after syncLimit"),
    ("reconfigEnabled", "reconfig is not offered yet"),
    ("request.timeout", CLIENTS),
    ("request_throttle_stall_time", "a request that waits goes on as soon as another is answered"),
    ("request_throttler.shutdownTimeout", "a server that stops answers nothing that waits"),
    ("requireKerberosConfig", KERBEROS),
    ("sasl.client", CLIENTS),
    ("sasl.client.canonicalize.hostname", CLIENTS),
    ("sasl.client.username", CLIENTS),
    ("sasl.clientconfig", CLIENTS),
    ("security.auth_to_local", KERBEROS),
    ("serializeLastProcessedZxid.enabled", "snapshots say it, as by default"),
    ("serverCnxnFactory", JVM),
    ("sslQuorumReloadCertFiles", RELOADS),
    ("ssl.allowReverseDnsLookup", REVERSE),
    ("ssl.quorum.allowReverseDnsLookup", REVERSE),
    ("ssl.sslProvider", JVM),
    ("clientTcpKeepAlive", "keepalive is always on"),
    ("tcpKeepAlive", "keepalive is always on"),
    ("watchManagerName", JVM),
];

const IGNORED_FAMILIES: &[(&str, &str)] = &[
    ("nio.", THREADS),
    ("netty.", THREADS),
    ("jmx.", JVM),
    ("kerberos.", KERBEROS),
    ("jvm.", JVM),
    ("ssl.client.", CLIENTS),
    (
        "pathStats.",
        "paths are not counted one by one; read_per_namespace and write_per_namespace tell what is busy",
    ),
    ("messageTracker.", "packets are not written to the log; the flight recorder keeps them"),
    ("watcherClean", THREADS),
];

/// What ZooKeeper takes from the file alone: `-D` does not set it.
const OF_FILE: &[&str] = &[
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "dataDir",
    "dataLogDir",
    "electionAlg",
    "initLimit",
    "maxClientCnxns",
    "maxSessionTimeout",
    "minSessionTimeout",
    "peerType",
    "portUnification",
    "quorumListenOnAllIPs",
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
];

const OF_FILE_FAMILIES: &[&str] = &["autopurge.", "group.", "metricsProvider.", "server.", "weight."];

/// Clients' properties that look like lines of the server list, which ZooKeeper takes them for in the file.
const OF_CLIENTS: &[&str] = &["server.principal", "server.realm"];

/// Why a property does nothing that looks like a line of the server list and is none.
pub(crate) fn of_clients(property: &str) -> Option<&'static str> {
    OF_CLIENTS.contains(&property).then_some(CLIENTS)
}

/// Whether this key counts only in the file.
pub(crate) fn is_of_file(key: &str) -> bool {
    OF_FILE.contains(&key) || OF_FILE_FAMILIES.iter().any(|family| key.starts_with(family))
}

/// What becomes of this key; `None` if ZooKeeper does not know it either.
pub(crate) fn fate(key: &str) -> Option<Fate> {
    let listed =
        |list: &[(&str, &'static str)]| list.iter().find(|(name, _)| *name == key).map(|(_, reason)| *reason);
    let family = |list: &[(&str, &'static str)]| {
        list.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, reason)| *reason)
    };
    if USED.contains(&key)
        || OF_TLS.contains(&key)
        || USED_FAMILIES.iter().any(|family| key.starts_with(family))
    {
        return Some(Fate::Used);
    }
    if let Some(reason) = listed(REFUSED) {
        return Some(Fate::Refused(reason));
    }
    listed(IGNORED).or_else(|| family(IGNORED_FAMILIES)).map(Fate::Ignored)
}

/// Every key with a name of its own, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let listed = REFUSED.iter().chain(IGNORED).map(|(name, _)| *name);
    USED.iter().copied().chain(listed).chain(OF_TLS.iter().copied())
}

/// The key of a family that this one is meant to be, such as `server.2` for `sever.2`.
pub(crate) fn closest_of_family(key: &str) -> Option<String> {
    let (word, rest) = key.split_once('.').filter(|(_, rest)| !rest.is_empty())?;
    let families = USED_FAMILIES.iter().filter_map(|family| family.strip_suffix('.'));
    cli::closest(word, families).map(|family| format!("{family}.{rest}"))
}
