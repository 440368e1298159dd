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
const TLS: &str = "TLS is not offered yet";
const LATER: &str = "not offered yet";

const USED: &[&str] = &[
    "4lw.commands.whitelist",
    "DigestAuthenticationProvider.digestAlg",
    "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.superDigest",
    "SASLAuthenticationProvider.superPassword",
    "admin.commandURL",
    "admin.enableServer",
    "admin.idleTimeout",
    "admin.serverAddress",
    "admin.serverPort",
    "allowSaslFailedClients",
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "cnxTimeout",
    "commitLogCount",
    "dataDir",
    "dataLogDir",
    "electionAlg",
    "enforce.auth.enabled",
    "enforce.auth.schemes",
    "enforceQuota",
    "extendedTypesEnabled",
    "forceSync",
    "fsync.warningthresholdms",
    "globalOutstandingLimit",
    "initLimit",
    "java.security.auth.login.config",
    "jute.maxbuffer",
    "maxClientCnxns",
    "maxCnxns",
    "maxSessionTimeout",
    "metricsProvider.className",
    "metricsProvider.httpHost",
    "metricsProvider.httpPort",
    "minSessionTimeout",
    "peerType",
    "preAllocSize",
    "quorumListenOnAllIPs",
    "sasl.serverconfig",
    "sessionRequireClientSASLAuth",
    "skipACL",
    "snapCount",
    "snapSizeLimitInKb",
    "standaloneEnabled",
    "superUser",
    "syncEnabled",
    "syncLimit",
    "tickTime",
    "zabkeeper.recorder",
    "zabkeeper.recorderBytes",
    "zabkeeper.recorderDir",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "znode.container.maxPerMinute",
];

const USED_FAMILIES: &[&str] = &["authProvider.", "group.", "server.", "superUser.", "weight."];

const REFUSED: &[(&str, &str)] = &[
    ("dynamicConfigFile", "the server list must stand in this file: move the lines of the dynamic file here"),
    ("sslQuorum", "TLS between servers is not offered yet, and falling back to plain text would be unsafe"),
    (
        "quorum.auth.enableSasl",
        "SASL between servers is not offered yet, and going on without would be unsafe",
    ),
    ("quorum.auth.learnerRequireSasl", "SASL between servers is not offered yet"),
    ("quorum.auth.serverRequireSasl", "SASL between servers is not offered yet"),
    ("multiAddress.enabled", "several addresses for one server are not offered yet"),
];

const IGNORED: &[(&str, &str)] = &[
    ("admin.enableServer.ssl", TLS),
    ("admin.forceHttps", LATER),
    ("admin.needClientAuth", LATER),
    ("admin.portUnification", LATER),
    ("admin.rateLimiterIntervalInMS", LATER),
    ("admin.restore.enabled", "restoring is not offered"),
    ("admin.snapshot.enabled", "snapshots over HTTP are not offered"),
    ("audit.enable", LATER),
    ("audit.impl.class", JVM),
    ("bitHashCacheSize", THREADS),
    ("client.certReload", TLS),
    ("client.portUnification", TLS),
    ("closeSessionTxn.enabled", "closeSession always lists the ephemerals"),
    ("commitProcessor.maxCommitBatchSize", THREADS),
    ("commitProcessor.maxReadBatchSize", THREADS),
    ("commitProcessor.numWorkerThreads", THREADS),
    ("commitProcessor.shutdownTimeout", THREADS),
    ("connectToLearnerMasterLimit", "initLimit holds"),
    ("datadir.autocreate", "the folders are made when they are missing"),
    ("db.autocreate", "an empty folder is an empty database"),
    ("digest.enabled", LATER),
    ("electionPortBindRetry", "the start retries nothing: it says what holds the port, and ends"),
    ("emulate353TTLNodes", LATER),
    ("enableEagerACLCheck", LATER),
    ("fastleader.maxNotificationInterval", LATER),
    ("fastleader.minNotificationInterval", LATER),
    ("flushDelay", "a batch is flushed as soon as the disk is free"),
    ("intBufferStartingSizeBytes", THREADS),
    ("largeRequestMaxBytes", LATER),
    ("largeRequestThreshold", LATER),
    ("leader.maxConcurrentDiffSyncs", LATER),
    ("leader.maxConcurrentSnapSyncs", LATER),
    ("leader.maxTimeToWaitForEpoch", LATER),
    ("leaderServes", "the leader serves clients"),
    ("log.dir", JVM),
    ("log.file", JVM),
    ("root.logger", JVM),
    ("learner.asyncSending", THREADS),
    ("learner.closeSocketAsync", THREADS),
    ("leader.closeSocketAsync", THREADS),
    ("localSessionsEnabled", LATER),
    ("localSessionsUpgradingEnabled", LATER),
    ("maxBatchSize", "a batch is bounded by bytes"),
    ("maxResponseCacheSize", THREADS),
    ("maxGetChildrenResponseCacheSize", THREADS),
    ("maxWriteQueuePollTime", "a batch is flushed as soon as the disk is free"),
    ("metricsProvider.exportJvmInfo", JVM),
    ("metricsProvider.httpsPort", TLS),
    ("multiAddress.reachabilityCheckEnabled", LATER),
    ("multiAddress.reachabilityCheckTimeoutMs", LATER),
    ("nio.sessionlessCnxnTimeout", "connections that never speak are dropped after 10 s"),
    ("observerMasterPort", LATER),
    ("observer.election.DelayMs", LATER),
    ("observer.reconnectDelayMs", LATER),
    ("oraclePath", LATER),
    ("portUnification", TLS),
    ("quorum.auth.kerberos.servicePrincipal", LATER),
    ("quorum.auth.learner.loginContext", LATER),
    ("quorum.auth.learner.saslLoginContext", LATER),
    ("quorum.auth.server.loginContext", LATER),
    ("quorum.auth.server.saslLoginContext", LATER),
    ("quorum.cnxn.threads.size", THREADS),
    ("readonlymode.enabled", LATER),
    ("reconfigEnabled", "reconfig is not offered yet"),
    ("request_stale_connection_check", LATER),
    ("request_stale_latency_check", LATER),
    ("request_throttle_drop_stale", LATER),
    ("request_throttle_max_requests", LATER),
    ("request_throttle_stall_time", LATER),
    ("secureClientPort", "TLS is not offered yet: this port is not opened"),
    ("secureClientPortAddress", TLS),
    ("serializeLastProcessedZxid.enabled", LATER),
    ("serverCnxnFactory", JVM),
    ("snapshot.compression.method", "snapshots are written plain"),
    ("snapshot.trust.empty", LATER),
    ("snapshotSizeFactor", LATER),
    ("sslQuorumReloadCertFiles", TLS),
    ("tcpKeepAlive", "keepalive is always on"),
    ("throttledOpWaitTime", LATER),
    ("txnLogSizeLimitInKb", "logs roll when they are full"),
    ("watchManagerName", JVM),
];

const IGNORED_FAMILIES: &[(&str, &str)] = &[
    ("nio.", THREADS),
    ("netty.", THREADS),
    ("jmx.", JVM),
    ("jvm.", JVM),
    ("pathStats.", THREADS),
    ("messageTracker.", THREADS),
    ("watcherClean", THREADS),
    ("connection_throttle_", LATER),
    ("ssl.", TLS),
    ("X509AuthenticationProvider.", LATER),
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
    "quorumListenOnAllIPs",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tickTime",
];

const OF_FILE_FAMILIES: &[&str] = &["autopurge.", "group.", "metricsProvider.", "server.", "weight."];

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
    if USED.contains(&key) || USED_FAMILIES.iter().any(|family| key.starts_with(family)) {
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
    USED.iter().copied().chain(listed)
}
