//! TLS on ports: handshakes, and stores that change while the server runs.
//!
//! A handshake takes a processor's millisecond where keys are of RSA. So its steps are computed in threads beside the
//! loop, a few at a time: strangers who begin one after the other keep nobody waiting but each other.

use std::{cell::RefCell, io, net::IpAddr, rc::Rc, time::Duration};

use bytes::BytesMut;
use tls::{
    Context, Fingerprint, Settings,
    rustls::{ClientConnection, Connection, ServerConnection, pki_types::CertificateDer},
};
use tokio::{net::TcpStream, sync::Semaphore};
use tracing::{info, warn};

use crate::{
    config,
    out::Sent,
    stream::{Secure, Stream, feed, flush},
};

/// Handshakes of which a step is computed at a time.
const THREADS: usize = 4;
/// How often the files of stores are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the first record of a handshake begins with; no frame and no word of ours does.
const HANDSHAKE: u8 = 0x16;
/// Bytes that one read of a handshake takes.
const READ_BYTES: usize = 4096;

/// TLS with stores as they are now.
#[derive(Debug)]
pub(crate) struct Live {
    settings: Settings,
    /// How the files were before the first look into them.
    read: Fingerprint,
    context: RefCell<Context>,
    threads: Semaphore,
}

/// How connections come in through a port.
#[derive(Clone, Debug, Default)]
pub(crate) enum Door {
    /// Plain.
    #[default]
    Plain,
    /// Inside TLS.
    Secure(Rc<Live>),
    /// As they like.
    Either(Rc<Live>),
}

/// Both sorts of TLS that a server may have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// For clients.
    pub(crate) clients: Option<Rc<Live>>,
    /// How servers come in.
    pub(crate) servers: Door,
    /// For servers that are dialled.
    pub(crate) dials: Option<Rc<Live>>,
    /// How operators come in.
    pub(crate) admin: Door,
}

impl Tls {
    /// Reads all stores.
    pub(crate) fn load(config: &config::Tls) -> Result<Self, tls::Error> {
        let clients = config.clients.as_ref().map(Live::load).transpose()?;
        let between = config.servers.as_ref().map(Live::load).transpose()?;
        let servers = Door::of(between.as_ref(), config.unifies_servers);
        let dials = between.filter(|_| config.dials_servers);
        let admin = match &config.admin {
            None => Door::Plain,
            Some(admin) => Door::of(Some(&Live::load(&admin.settings)?), !admin.is_forced),
        };
        Ok(Self { clients, servers, dials, admin })
    }

    /// Each set of stores.
    pub(crate) fn all(&self) -> impl Iterator<Item = Rc<Live>> + use<> {
        let doors = [&self.servers, &self.admin];
        let live = doors.map(|door| match door {
            Door::Plain => None,
            Door::Secure(live) | Door::Either(live) => Some(Rc::clone(live)),
        });
        self.clients.clone().into_iter().chain(live.into_iter().flatten())
    }
}

impl Door {
    /// The door with these stores, if there are some; one that unifies takes plain connections too.
    fn of(live: Option<&Rc<Live>>, unifies: bool) -> Self {
        match live {
            None => Self::Plain,
            Some(live) if unifies => Self::Either(Rc::clone(live)),
            Some(live) => Self::Secure(Rc::clone(live)),
        }
    }

    /// Lets a connection in. Waits for its first byte where that tells how it comes; whoever says nothing for long is
    /// taken for plain.
    pub(crate) async fn open(&self, tcp: TcpStream) -> io::Result<Stream> {
        match self {
            Self::Plain => Ok(Stream::Plain(tcp)),
            Self::Secure(live) => live.accept(tcp).await,
            Self::Either(live) => {
                let mut first = [0];
                let wait_max = Duration::from_millis(u64::from(live.settings.detection_ms));
                let said = tokio::time::timeout(wait_max, tcp.peek(&mut first)).await;
                match said {
                    Ok(Ok(1..)) if first == [HANDSHAKE] => live.accept(tcp).await,
                    Ok(Ok(_)) | Err(_) => Ok(Stream::Plain(tcp)),
                    Ok(Err(error)) => Err(error),
                }
            }
        }
    }

    /// Whether one that came in as this has to be for one of these hosts, or for where it comes from, and is not.
    pub(crate) fn refuses<'a>(
        &self,
        shown: Option<&CertificateDer<'_>>,
        address: IpAddr,
        hosts: impl Iterator<Item = &'a str>,
    ) -> bool {
        let (Self::Secure(live) | Self::Either(live)) = self else { return false };
        let Some(shown) = shown.filter(|_| live.settings.verifies_clients) else { return false };
        !tls::is_for_any(shown, address, hosts)
    }
}

impl Live {
    /// Reads the stores.
    pub(crate) fn load(settings: &Settings) -> Result<Rc<Self>, tls::Error> {
        let read = Fingerprint::take(settings);
        let context = Context::load(settings)?;
        for warning in &context.warnings {
            warn!("{warning}");
        }
        let context = RefCell::new(context);
        Ok(Rc::new(Self { settings: settings.clone(), read, context, threads: Semaphore::new(THREADS) }))
    }

    async fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        let config = self.context.borrow().server.clone();
        let config = config.ok_or_else(|| io::Error::other("there is no key store"))?;
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        self.shake(tcp, connection.into()).await
    }

    /// Shakes hands with a server that was dialled by this name.
    pub(crate) async fn greet(&self, tcp: TcpStream, host: &str) -> io::Result<Stream> {
        let config = self.context.borrow().client.clone();
        let config = config.ok_or_else(|| io::Error::other("there is no trust store"))?;
        let name = tls::name_of(host)
            .ok_or_else(|| io::Error::other(format!("{host:?} can stand in no certificate")))?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        self.shake(tcp, connection.into()).await
    }

    async fn shake(&self, tcp: TcpStream, mut connection: Connection) -> io::Result<Stream> {
        let mut ahead = BytesMut::new();
        loop {
            loop {
                match flush(&mut connection, &tcp) {
                    Sent::All => break,
                    Sent::Blocked => tcp.writable().await?,
                    Sent::Gone => return Err(io::ErrorKind::ConnectionReset.into()),
                }
            }
            if !connection.is_handshaking() {
                return Ok(Stream::Secure(Rc::new(Secure::new(tcp, connection, ahead))));
            }
            read(&tcp, &mut ahead).await?;
            let permit = self.threads.acquire().await.map_err(io::Error::other)?;
            let step = tokio::task::spawn_blocking(move || {
                let mut outcome = Ok(());
                while outcome.is_ok() && !ahead.is_empty() && connection.is_handshaking() {
                    outcome = feed(&mut connection, &mut ahead);
                }
                (connection, ahead, outcome)
            });
            let outcome;
            (connection, ahead, outcome) = step.await.map_err(io::Error::other)?;
            drop(permit);
            if let Err(error) = outcome {
                // The other end is told why.
                let _ = flush(&mut connection, &tcp);
                return Err(error);
            }
        }
    }

    /// Reads the stores anew when their files have changed, and goes on with the old ones where that fails. Files that
    /// are being written are left until they rest.
    pub(crate) async fn watch(self: Rc<Self>) {
        let look = |live: &Rc<Self>| {
            let settings = live.settings.clone();
            tokio::task::spawn_blocking(move || Fingerprint::take(&settings))
        };
        let mut read = self.read.clone();
        let mut last = read.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Ok(now) = look(&self).await else { return };
            if now != read && now == last {
                read = now.clone();
                let settings = self.settings.clone();
                match tokio::task::spawn_blocking(move || Context::load(&settings)).await {
                    Ok(Ok(context)) => {
                        for warning in &context.warnings {
                            warn!("{warning}");
                        }
                        *self.context.borrow_mut() = context;
                        info!("the stores of TLS have changed; new connections are made with them");
                    }
                    Ok(Err(error)) => {
                        warn!(%error, "the stores of TLS have changed and cannot be used; the old ones hold on");
                    }
                    Err(_) => return,
                }
            }
            last = now;
        }
    }
}

/// Reads something.
async fn read(tcp: &TcpStream, ahead: &mut BytesMut) -> io::Result<()> {
    let mut bytes = [0; READ_BYTES];
    loop {
        tcp.readable().await?;
        match tcp.try_read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                ahead.extend_from_slice(&bytes[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
