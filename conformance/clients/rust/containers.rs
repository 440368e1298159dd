//! In the place of the crate that starts containers for the tests of the Rust crate zookeeper-client: as much of it as
//! they use. A container is here a server on this machine, with a folder of its own: Apache's if `APACHE_CLASSPATH` is
//! set, else the one that `ZABKEEPER_BINARY` names. What the image has at fixed places and ports is put elsewhere.

use std::{
    fs::{self, File},
    io::{Read, Write},
    marker::PhantomData,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

/// Starts servers.
pub mod clients {
    use crate::{Container, GenericImage, RunnableImage};

    /// What starts them.
    #[derive(Debug, Default)]
    pub struct Cli;

    impl Cli {
        /// Starts a server, and waits until it serves.
        pub fn run(&self, image: RunnableImage<GenericImage>) -> Container<'_, GenericImage> {
            Container::begin(image)
        }
    }
}

/// What is started.
pub mod images {
    /// The only kind.
    pub mod generic {
        pub use crate::GenericImage;
    }
}

/// The words of the tests.
pub mod core {
    pub use crate::{Container, Healthcheck, LogStream, RunnableImage, WaitFor};
}

/// The port that the image listens on.
const PORT: u16 = 2181;
/// How long a server may take until it serves, and a line of its log until it is there.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the image has if it is given nothing.
const CONFIG: &str = "dataDir=/data\ntickTime=2000\ninitLimit=5\nsyncLimit=2\nmaxClientCnxns=60\nclientPort=2181\n";

/// What Apache's servers say to whoever starts them like this.
const LOG: &str = "rootLogger.level=info\nrootLogger.appenderRefs=out\nrootLogger.appenderRef.out.ref=out\n\
    appender.out.name=out\nappender.out.type=Console\nappender.out.layout.type=PatternLayout\n\
    appender.out.layout.pattern=%d %-5p %c{1} %m%n\n";
/// What ours say instead.
const SAID: &[(&str, &str)] = &[("Read-only server started", "clients that only read are served")];

/// Whether a server serves, which is asked here in one way.
#[derive(Debug, Default)]
pub struct Healthcheck;

impl Healthcheck {
    /// The command does not matter.
    pub fn with_cmd<T>(self, _words: impl Iterator<Item = T>) -> Self {
        self
    }

    /// Nor does how often it runs.
    pub fn with_interval(self, _interval: Duration) -> Self {
        self
    }

    /// Nor how long.
    pub fn with_retries(self, _retries: u32) -> Self {
        self
    }
}

/// What a start waits for.
#[derive(Debug)]
pub enum WaitFor {
    /// That the server serves.
    Healthcheck,
}

/// A server to be started.
#[derive(Debug, Default)]
pub struct GenericImage {
    environment: Vec<(String, String)>,
}

impl GenericImage {
    /// There is one version of each maker, whatever is asked for.
    pub fn new(_name: &str, _tag: &str) -> Self {
        Self::default()
    }

    /// With this variable in its environment.
    pub fn with_env_var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Every server is waited for in the same way.
    pub fn with_healthcheck(self, _check: Healthcheck) -> Self {
        self
    }

    /// Every server is waited for.
    pub fn with_wait_for(self, _wait: WaitFor) -> Self {
        self
    }
}

/// A server to be started, with its files.
#[derive(Debug)]
pub struct RunnableImage<I> {
    image: I,
    volumes: Vec<(String, String)>,
    on_host: bool,
}

impl From<GenericImage> for RunnableImage<GenericImage> {
    fn from(image: GenericImage) -> Self {
        Self { image, volumes: Vec::new(), on_host: false }
    }
}

impl<I> RunnableImage<I> {
    /// With a file or folder of this machine at a place of the image.
    pub fn with_volume(mut self, (here, there): (impl Into<String>, impl Into<String>)) -> Self {
        self.volumes.push((there.into(), here.into()));
        self
    }

    /// On the network of this machine its ports are what its configuration says.
    pub fn with_network(mut self, _name: impl Into<String>) -> Self {
        self.on_host = true;
        self
    }
}

/// A server. It ends when this is dropped.
#[derive(Debug)]
pub struct Container<'a, I> {
    folder: PathBuf,
    properties: String,
    port: u16,
    secure: bool,
    running: Mutex<Option<Child>>,
    image: PhantomData<(&'a (), I)>,
}

impl<I> Container<'_, I> {
    fn begin(image: RunnableImage<GenericImage>) -> Self {
        let folder = fresh_folder();
        let given = image.volumes.iter().find(|(there, _)| there == "/conf/zoo.cfg");
        let mut config = given.map_or_else(|| CONFIG.to_owned(), |(_, here)| fs::read_to_string(here).expect("it is there"));
        let properties = image.image.environment.iter().find(|(name, _)| name == "SERVER_JVMFLAGS");
        let mut properties = properties.map(|(_, value)| value.clone()).unwrap_or_default();
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("a folder of ours");
        let mut places = image.volumes.clone();
        // The longest first: one may stand for what is inside of another.
        places.push(("/data".to_owned(), data.display().to_string()));
        places.sort_by_key(|(there, _)| std::cmp::Reverse(there.len()));
        for (there, here) in &places {
            config = config.replace(&format!("={there}"), &format!("={here}"));
            properties = properties.replace(&format!("={there}"), &format!("={here}"));
        }
        let port = if image.on_host { own_port(&config, &places) } else { free_port() };
        let secure = config.contains("secureClientPort=");
        config = config.replace(&format!("lientPort={PORT}"), &format!("lientPort={port}"));
        config += "admin.enableServer=false\n";
        fs::write(folder.join("zoo.cfg"), config).expect("a folder of ours");
        let server = Self { folder, properties, port, secure, running: Mutex::new(None), image: PhantomData };
        server.start();
        server.wait();
        server
    }

    /// Starts it, also again.
    pub fn start(&self) {
        let config = self.folder.join("zoo.cfg");
        let log = File::options().create(true).append(true).open(self.folder.join("log")).expect("a folder of ours");
        let mut command = if let Ok(classpath) = std::env::var("APACHE_CLASSPATH") {
            let mut command = Command::new("java");
            command.arg("-Xmx256m").args(self.properties.split_whitespace());
            fs::write(self.folder.join("log4j2.properties"), LOG).expect("a folder of ours");
            let classpath = format!("{}:{classpath}", self.folder.display());
            command.args(["-cp", &classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain"]);
            command
        } else {
            let mut command = Command::new(std::env::var("ZABKEEPER_BINARY").expect("a server to be judged is named"));
            command.arg("serve").env("SERVER_JVMFLAGS", &self.properties);
            command
        };
        // That is meant for the tests themselves.
        command.env_remove("RUST_LOG");
        let errors = log.try_clone().expect("it is open");
        command.arg(&config).stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(&self.folder);
        *self.running.lock().expect("nobody panics with it") = Some(command.spawn().expect("it can be started"));
    }

    /// Ends it, with time to clean up.
    pub fn stop(&self) {
        let Some(mut child) = self.running.lock().expect("nobody panics with it").take() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if child.try_wait().expect("it is ours").is_some() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Where the port of the image is.
    pub fn get_host_port(&self, port: u16) -> u16 {
        assert_eq!(port, PORT, "the image has no other port");
        self.port
    }

    /// What it says.
    pub fn stdout(&self) -> LogStream {
        LogStream { path: self.folder.join("log") }
    }

    fn wait(&self) {
        let begun = Instant::now();
        while !self.serves() {
            assert!(begun.elapsed() < PATIENCE, "it does not serve: {}", self.stdout().text());
            sleep(Duration::from_millis(50));
        }
    }

    fn serves(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        if self.secure {
            // Whoever asks needs a certificate; clients dial again if it came too early.
            return true;
        }
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut said = String::new();
        stream.write_all(b"srvr").is_ok() && stream.read_to_string(&mut said).is_ok() && said.contains("Mode:")
    }
}

impl<I> Drop for Container<'_, I> {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a server says.
#[derive(Debug)]
pub struct LogStream {
    path: PathBuf,
}

impl LogStream {
    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Waits until it has said this.
    ///
    /// # Errors
    /// It has not for a while.
    pub fn wait_for_message(&self, message: &str) -> Result<(), String> {
        let ours = SAID.iter().find(|(said, _)| *said == message).map_or(message, |(_, ours)| *ours);
        let begun = Instant::now();
        while !self.text().contains(message) && !self.text().contains(ours) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{message:?} does not stand in:\n{}", self.text()));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// The client port of a server that is listed with it: `server.N=…;localhost:4001`.
fn own_port(config: &str, places: &[(String, String)]) -> u16 {
    let (_, data) = places.iter().find(|(there, _)| there == "/data").expect("it has a data folder");
    let id = fs::read_to_string(Path::new(data).join("myid")).expect("it has an id");
    let line = config.lines().find(|line| line.starts_with(&format!("server.{}=", id.trim()))).expect("it is listed");
    line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("its client port ends its line")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn fresh_folder() -> PathBuf {
    static LAST: Mutex<u32> = Mutex::new(0);
    let mut last = LAST.lock().expect("nobody panics with it");
    *last += 1;
    let folder = std::env::temp_dir().join(format!("zookeeper-client-{}-{last}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder of ours");
    folder
}
