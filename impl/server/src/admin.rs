//! The admin server: commands and health over HTTP, and metrics for Prometheus.
//!
//! Connections are served by the loop itself, so that an answer also shows that the loop goes round. They are few, each
//! has a time for a request and its answer, and nothing that is sent with a request is read.

mod commands;

use std::{convert::Infallible, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_local,
};
use tracing::debug;

use crate::{
    core::Shared,
    metrics,
    net::{self, FILES_BESIDE_CLIENTS},
    view::Mode,
};

/// Connections that are served at once.
const CONNECTIONS_MAX: usize = 64;

/// What a port answers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The path below which commands stand; without, nothing but metrics is answered.
    pub(crate) commands: Option<String>,
    /// How long a connection may take, from its first byte to the last of its answer.
    pub(crate) idle_max: Duration,
}

type Answer = Response<Full<Bytes>>;

/// Takes connections, and serves them.
pub(crate) async fn accept(core: Shared, listener: TcpListener, offer: Offer) {
    let (offer, room) = (Rc::new(offer), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    if let Err(error) = net::set_options(&listener, offer.idle_max) {
        debug!(%error, "the options of the admin server's sockets cannot be set");
    }
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if net::is_crowded(&stream, FILES_BESIDE_CLIENTS / 2) => {}
            Ok((stream, _)) => {
                let (core, offer) = (Rc::clone(&core), Rc::clone(&offer));
                spawn_local(async move {
                    serve(core, stream, offer).await;
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection of the admin server");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn serve(core: Shared, stream: TcpStream, offer: Rc<Offer>) {
    let idle_max = offer.idle_max;
    let answers = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&core, &offer, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answers);
    // For those who do not ask, and for those who do not read: places are few.
    match tokio::time::timeout(idle_max, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection of the admin server broke"),
        Err(_) => debug!("a connection of the admin server took too long"),
    }
}

fn answer(core: &Shared, offer: &Offer, request: &Request<Incoming>) -> Answer {
    let (method, path) = (request.method(), request.uri().path());
    let of_commands = offer.commands.as_deref().and_then(|prefix| path.strip_prefix(prefix));
    if method == Method::POST && of_commands.is_some_and(commands::takes_post) {
        return json(commands::refused(of_commands.unwrap_or_default()));
    }
    if method != Method::GET && method != Method::HEAD {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match (path, of_commands) {
        ("/metrics", _) => {
            let mut answer = plain(StatusCode::OK, metrics::exposition(&core.borrow().view()));
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            answer.headers_mut().insert(CONTENT_TYPE, format);
            answer
        }
        ("/livez", _) if offer.commands.is_some() => plain(StatusCode::OK, "ok\n".to_owned()),
        ("/readyz", _) if offer.commands.is_some() => ready(core),
        (_, Some("" | "/")) => {
            let links = commands::links(offer.commands.as_deref().unwrap_or_default());
            let mut answer = plain(StatusCode::OK, links);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            answer
        }
        (_, Some(below)) if below.starts_with('/') => {
            let query = request.uri().query().unwrap_or_default();
            json(commands::run(&mut core.borrow_mut(), &below[1..], query))
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
        mode @ (Mode::Standalone | Mode::Leader | Mode::Follower | Mode::Observer) => {
            plain(StatusCode::OK, format!("ok: {}\n", mode.name()))
        }
    }
}

fn plain(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json((status, value): (StatusCode, serde_json::Value)) -> Answer {
    let mut answer = plain(status, format!("{value:#}\n"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
