//! The admin server: commands and health over HTTP, and metrics for Prometheus.
//!
//! Connections are served by the loop itself, so that an answer also shows that the loop goes round. They are few, each
//! has a time for a request and its answer, and what is sent with a request is read only where a command takes it.

mod commands;
mod places;
mod whole;

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue, STRICT_TRANSPORT_SECURITY},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn_local},
};
use tracing::debug;

use self::{places::Places, whole::FileBody};
use crate::{
    core::Shared,
    metrics,
    net::{self, FILES_BESIDE_CLIENTS},
    secure::Door,
    stream::Stream,
    view::Mode,
};

/// How long a connection may take, from its first byte, until all of its request's head has come: a request is one packet,
/// and who asks is there.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// What a browser is told that came inside TLS: for a day it is to come no other way.
const ONLY_HTTPS: &str = "max-age=86400; includeSubDomains";

/// What a port answers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The path below which commands stand; without, nothing but metrics is answered.
    pub(crate) commands: Option<String>,
    /// How long a connection may take, from its request to the last byte of its answer; for a long answer, from one piece
    /// of it to the next.
    pub(crate) idle_max: Duration,
}

type Answer = Response<Either<Full<Bytes>, FileBody>>;

/// The most that is read of what is sent with a request.
const BODY_BYTES_MAX: usize = 4 << 10;

/// When something last went on with a connection, and how long nothing may.
#[derive(Clone, Debug)]
struct Progress(Rc<Cell<(Instant, Duration)>>);

impl Progress {
    /// Of a connection that has just come.
    fn new(head_max: Duration) -> Self {
        Self(Rc::new(Cell::new((Instant::now(), head_max))))
    }

    /// A request has come, whose answer may take so long.
    fn is_asked(&self, idle_max: Duration) {
        self.0.set((Instant::now(), idle_max));
    }

    fn goes_on(&self) {
        self.0.set((Instant::now(), self.0.get().1));
    }

    fn last(&self) -> Instant {
        self.0.get().0
    }

    /// When it has taken too long.
    fn ends(&self) -> Instant {
        let (last, silence_max) = self.0.get();
        last + silence_max
    }
}

/// A connection that is served.
#[derive(Debug)]
struct Served {
    progress: Progress,
    task: AbortHandle,
}

type Room = Rc<RefCell<Places<Served>>>;

/// A place among those that are served, for as long as it is held.
struct Place(Room, u64);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.borrow_mut().leave(self.1);
    }
}

/// Takes connections, and serves them.
pub(crate) async fn accept(core: Shared, listener: TcpListener, offer: Offer, door: Door) {
    let (offer, room) = (Rc::new(offer), Room::default());
    if let Err(error) = net::set_options(&listener, offer.idle_max) {
        debug!(%error, "the options of the admin server's sockets cannot be set");
    }
    loop {
        match listener.accept().await {
            Ok((stream, _)) if net::is_crowded(&stream, FILES_BESIDE_CLIENTS / 2) => {}
            Ok((stream, address)) => {
                let from = net::plain_ip(address);
                let gone = room.borrow_mut().make_room(from, |served| served.progress.last());
                if let Some(Served { task, .. }) = gone {
                    debug!("a connection of the admin server gives way to another");
                    task.abort();
                }
                let progress = Progress::new(HEAD_MAX.min(offer.idle_max));
                let number = room.borrow_mut().reserve();
                let place = Place(Rc::clone(&room), number);
                let serves = (Rc::clone(&core), Rc::clone(&offer), door.clone());
                let connection = open(serves, stream, from, progress.clone());
                let task = spawn_local(async move {
                    connection.await;
                    drop(place);
                });
                room.borrow_mut().enter(number, from, Served { progress, task: task.abort_handle() });
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection of the admin server");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves a connection, inside TLS if it comes so.
async fn open(
    (core, offer, door): (Shared, Rc<Offer>, Door),
    stream: TcpStream,
    from: IpAddr,
    progress: Progress,
) {
    match tokio::time::timeout_at(progress.ends().into(), door.open(stream)).await {
        Ok(Ok(stream)) => serve(core, stream, from, progress, offer).await,
        Ok(Err(error)) => debug!(%error, "no TLS with an operator"),
        Err(_) => debug!("no hands were shaken with an operator in time"),
    }
}

async fn serve(core: Shared, stream: Stream, from: IpAddr, progress: Progress, offer: Rc<Offer>) {
    let is_secure = matches!(stream, Stream::Secure(_));
    let (seen, progress) = (progress.clone(), &progress);
    let answers = service_fn(|request: Request<Incoming>| {
        let (core, offer) = (Rc::clone(&core), Rc::clone(&offer));
        progress.is_asked(offer.idle_max);
        async move {
            let mut answer = answer(core, &offer, request, from, progress).await;
            if is_secure {
                answer.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(ONLY_HTTPS));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answers);
    let mut connection = pin!(connection);
    // For those who do not ask, and for those who do not read: places are few.
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    debug!(%error, "a connection of the admin server broke");
                }
                return;
            }
            () = tokio::time::sleep_until(seen.ends().into()) => {
                if seen.ends() <= Instant::now() {
                    return debug!("a connection of the admin server took too long");
                }
            }
        }
    }
}

async fn answer(
    core: Shared,
    offer: &Offer,
    request: Request<Incoming>,
    from: IpAddr,
    progress: &Progress,
) -> Answer {
    let path = request.uri().path();
    let below = offer.commands.as_deref().and_then(|prefix| path.strip_prefix(prefix));
    let command = below.and_then(|below| below.strip_prefix('/')).map(unescaped);
    let name = command.as_deref().and_then(|name| commands::guarded(name, request.method()));
    match name {
        None => plainly(&core, offer, &request, command.as_deref()),
        Some(name) => match guarded(core, name, request, from, progress).await {
            Ok(answer) => answer,
            Err((status, error)) => json((status, serde_json::json!({"command": name, "error": error}))),
        },
    }
}

/// The answer to a command that not everybody may give.
async fn guarded(
    core: Shared,
    name: &'static str,
    request: Request<Incoming>,
    from: IpAddr,
    progress: &Progress,
) -> Result<Answer, whole::Refusal> {
    if core.borrow().shell.mode() == Mode::NotServing {
        return Err((StatusCode::OK, commands::NOT_SERVING));
    }
    whole::authorize(&core.borrow(), request.headers(), from)?;
    match name {
        "snapshot" => {
            core.borrow_mut().may_give()?;
            let streams = commands::streams(request.uri().query().unwrap_or_default());
            Ok(snapshot(&core, streams, progress).await)
        }
        "shed_connections" => {
            core.borrow().may_shed()?;
            let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok(json(commands::shed(&mut core.borrow_mut(), &body)))
        }
        _ => Err(commands::NO_RESTORE),
    }
}

/// The whole state, or a word on where it stands.
async fn snapshot(core: &Shared, streams: bool, progress: &Progress) -> Answer {
    let mut value = serde_json::json!({"command": "snapshot", "error": null});
    let Some(whole) = whole::write(core, progress).await else {
        value["error"] = "the snapshot came to nothing; the server's log says why".into();
        return json((StatusCode::INTERNAL_SERVER_ERROR, value));
    };
    let heads = [("last_zxid", format!("0x{:x}", whole.last.0)), ("snapshot_size", whole.size.to_string())];
    let mut answer = if streams {
        let mut answer = Response::new(Either::Right(whole.body(progress.clone())));
        let kind = HeaderValue::from_static("application/octet-stream");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    } else {
        json((StatusCode::OK, value))
    };
    for (name, value) in heads {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// A part of an address as it is meant: `%41` is `A`, and what is no such number stands for itself.
fn unescaped(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The names of the samples that are asked for; none if all are.
fn samples_asked(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| unescaped(key) == "name[]").map(|(_, name)| unescaped(name)).collect()
}

/// What is answered to a request that everybody may make; `command` is what stands below the path of commands.
fn plainly(core: &Shared, offer: &Offer, request: &Request<Incoming>, command: Option<&str>) -> Answer {
    let (method, path) = (request.method(), request.uri().path());
    let of_commands = offer.commands.as_deref().and_then(|prefix| path.strip_prefix(prefix));
    if method == Method::POST
        && let Some(name) = command.filter(|name| !name.is_empty() && !commands::is_known(name))
    {
        return json(commands::unknown(name));
    }
    if method != Method::GET && method != Method::HEAD {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match (path, of_commands, command) {
        ("/metrics", ..) => {
            let names = samples_asked(request.uri().query().unwrap_or_default());
            let mut text = metrics::exposition(&core.borrow().whole_view());
            if !names.is_empty() {
                text = metrics::only(&text, &names);
            }
            let mut answer = plain(StatusCode::OK, text);
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            answer.headers_mut().insert(CONTENT_TYPE, format);
            answer
        }
        ("/livez", ..) if offer.commands.is_some() => plain(StatusCode::OK, "ok\n".to_owned()),
        ("/readyz", ..) if offer.commands.is_some() => ready(core),
        (_, Some("" | "/"), _) => {
            let links = commands::links(offer.commands.as_deref().unwrap_or_default());
            let mut answer = plain(StatusCode::OK, links);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            answer
        }
        (_, _, Some(name)) => {
            let query = request.uri().query().unwrap_or_default();
            json(commands::run(&mut core.borrow_mut(), name, query))
        }
        _ => plain(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned()),
    }
}

/// Whether this server is one to send clients to: it serves, which it does only with a quorum and brought up to date.
fn ready(core: &Shared) -> Answer {
    match core.borrow().shell.mode() {
        Mode::NotServing => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "not serving: there is no quorum\n".to_owned())
        }
        Mode::ReadOnly => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "read-only: there is no quorum\n".to_owned())
        }
        mode @ (Mode::Standalone | Mode::Leader | Mode::Follower | Mode::Observer) => {
            plain(StatusCode::OK, format!("ok: {}\n", mode.name()))
        }
    }
}

fn plain(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json((status, value): (StatusCode, serde_json::Value)) -> Answer {
    let mut answer = plain(status, format!("{value:#}\n"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn addresses_are_unescaped() {
        let rows = [
            ("stat", "stat"),
            ("%73ta%74", "stat"),
            ("a%2Fb%2fc", "a/b/c"),
            ("%C3%A9", "é"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%+1%zz", "%+1%zz"),
            ("%%41", "%A"),
        ];
        for (text, expected) in rows {
            assert_eq!(unescaped(text), expected);
        }
    }
}
