//! The REST core API v2 (TIP-25) on [`NodeHandle`]: what exists so far.
//!
//! Answers are HORNET's in status, content type and fields, but for these:
//!
//! | asked for | HORNET | here | why |
//! | --- | --- | --- | --- |
//! | protected path with `?/health` or another public path in its query | 200 | 400 | patterns match the path, from its beginning |
//! | `//api/core/v2/info` | 404 | 403 | the same: it is no public path |
//! | texts of messages | its own | ours | they name the field and the fix |
//! | `Allow` of a 405 | none but those that answer | also `HEAD`, or no header | as axum writes it |
//! | a body of 256 KiB to 1 MB | read | 413 | no block is that long |
//! | a token up to 10 s before or after its time | 401 | good | clocks differ |
//! | `whiteflag` with a field missing | 503 | 400 | HORNET takes it for milestone 0 |
//! | a milestone's block whose parents are too deep, posted | 400 | 201 | refusing it would end the network |
//! | `tips`, time and id in `info`, block of its milestone, right after a start from a snapshot | 503, left out, 404 | there | the snapshot holds its milestone |
//! | `/api/routes` and routes of what does not exist here | plugins | 404 | not yet |
//!
//! Everything from a client is bounded: connections, time for a request's head, size of a body; long reads of
//! the store run on blocking threads, whatever needs the engine waits in its bounded queue or is refused.

mod auth;
mod blocks;
mod caller;
mod control;
mod error;
mod firewall;
mod info;
mod ledger;
mod media;
mod milestones;
mod outputs;
mod peers;
mod remote_pow;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::{HeaderValue, Method, StatusCode, header, request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::handle::NodeHandle;
use crate::handle::peers::Peers;
use crate::keeper::Keeper;
use crate::mining::Miner;
use crate::mining::verifier::Judge;
use crate::token::{Password, Tokens};
use caller::Caller;
use error::ApiError;

pub use firewall::Door;

/// Threads that serve connections, at least and at most: one for each core, and as many look-ups may wait for the disk at
/// a time.
const WORKERS: std::ops::RangeInclusive<usize> = 2..=4;

/// How many threads are worth serving connections with on this machine.
pub fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(*WORKERS.start(), std::num::NonZero::get);
    cores.clamp(*WORKERS.start(), *WORKERS.end())
}

/// Largest body, in bytes. No block is longer than 160 KiB in JSON, so HORNET's 1 MB would only cost memory.
const MAX_BODY_BYTES: usize = 256 << 10;

/// Open connections; each may hold a body while it is read.
const MAX_CONNECTIONS: usize = 128;

/// A client that has not sent the head of its request by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that takes nothing of its answer for that long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// A body that is not complete by then is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// What every handler sees.
#[derive(Debug, Clone)]
struct Api {
    node: NodeHandle,
    /// `None` when clients must do their own proof of work.
    miner: Option<Miner>,
    judge: Judge,
    tokens: Tokens,
    password: Option<Password>,
    door: Option<Door>,
    /// Who shows a wrong password, for the log.
    guesses: Arc<Semaphore>,
    keeper: Keeper,
    peers: Peers,
    /// One at a time.
    pruning: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Api {
    /// Resolves when the node stops.
    async fn stopped(&self) {
        stopped(self.stop.clone()).await;
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A closed channel is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// All routes.
fn router(api: Api) -> Router {
    let core = Router::new()
        .route("/info", get(info::info))
        .route("/tips", get(info::tips))
        .route("/blocks", post(blocks::submit))
        .route("/blocks/{id}", get(blocks::block))
        .route("/blocks/{id}/metadata", get(blocks::metadata))
        .route("/transactions/{id}/included-block", get(outputs::included_block))
        .route("/transactions/{id}/included-block/metadata", get(outputs::included_block_metadata))
        .route("/outputs/{id}", get(outputs::output))
        .route("/outputs/{id}/metadata", get(outputs::metadata))
        .route("/milestones/{id}", get(milestones::by_id))
        .route("/milestones/{id}/utxo-changes", get(ledger::changes_by_id))
        .route("/milestones/by-index/{index}", get(milestones::by_index))
        .route("/milestones/by-index/{index}/utxo-changes", get(ledger::changes_by_index))
        .route("/treasury", get(ledger::treasury))
        .route("/receipts", get(ledger::receipts))
        .route("/receipts/{index}", get(ledger::receipts_migrated_at))
        .route("/whiteflag", post(ledger::white_flag))
        .route("/peers", get(peers::list).post(peers::add))
        .route("/peers/{id}", get(peers::one).delete(peers::remove))
        .route("/control/database/prune", post(control::prune))
        .route("/control/snapshots/create", post(control::create_snapshot));
    let cors =
        CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(AllowHeaders::mirror_request());
    let api = Arc::new(api);
    Router::new()
        .route("/health", get(info::health))
        .route("/api/routes", get(info::routes))
        .nest("/api/core/v2", core)
        .route("/api/osmia/v1/firewall", post(firewall::change))
        .route("/api/osmia/v1/firewall/confirm", post(firewall::confirm))
        .fallback(async || ApiError::not_found("no such route"))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn_with_state(api.clone(), auth::check))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(cors)
        .layer(middleware::from_fn(as_hornet))
        // Whoever asks for it gets it, as in HORNET; sending costs less than pressing hard.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(api)
}

/// What answers look like in HORNET, apart from their content.
async fn as_hornet(request: axum::extract::Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    // HORNET: > a preflight is answered with 204; the layer for CORS says 200
    if preflight && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    // HORNET: > JSON names its character set
    if let Some(kind) = response.headers_mut().get_mut(header::CONTENT_TYPE)
        && kind == "application/json"
    {
        *kind = HeaderValue::from_static("application/json; charset=UTF-8");
    }
    response
}

/// Where the board's PID 1 asks whether the API answers, on the loopback interface.
pub const PROBE_PORT: u16 = 14_264;

/// Connections of the board's own probe: a place of its own, which no client can take.
const PROBE_CONNECTIONS: usize = 2;

/// What the API needs beside the node.
#[derive(Debug)]
pub struct Parts {
    /// `None` when clients must do their own proof of work.
    pub miner: Option<Miner>,
    /// Judges proof of work.
    pub judge: Judge,
    /// Access tokens.
    pub tokens: Tokens,
    /// The owner's password, if he wrote one.
    pub password: Option<Password>,
    /// The way to a board's firewall.
    pub door: Option<Door>,
    /// Writes snapshots on demand.
    pub keeper: Keeper,
    /// The node's peers.
    pub peers: Peers,
}

/// Answers 503 to everything, with what the node is doing, until `stop` resolves: a start may take its time.
pub async fn serve_starting(
    listener: Arc<TcpListener>,
    probe: Option<Arc<TcpListener>>,
    doing: impl Fn() -> String + Clone + Send + Sync + 'static,
    stop: watch::Receiver<bool>,
) {
    let app = Router::new().fallback(async move || ApiError::unavailable(doing()).retry_after(10));
    serve_both(listener, probe, app.clone(), app, None, stop).await;
}

/// Serves clients on `listener`, and the board's own probe on `probe`, until `stop` resolves.
pub async fn serve_all(
    listener: Arc<TcpListener>,
    probe: Option<Arc<TcpListener>>,
    node: NodeHandle,
    parts: Parts,
    stop: watch::Receiver<bool>,
) {
    let Parts { miner, judge, tokens, password, door, keeper, peers } = parts;
    let one = || Arc::new(Semaphore::new(1));
    let (pruning, guesses) = (one(), one());
    let api = Api { node, miner, judge, tokens, password, door, guesses, keeper, peers, pruning, stop };
    let (app, stop, door) = (router(api.clone()), api.stop.clone(), api.door.clone());
    serve_both(listener, probe, app, router(Api { miner: None, ..api }), door, stop).await;
}

async fn serve_both(
    listener: Arc<TcpListener>,
    probe: Option<Arc<TcpListener>>,
    app: Router,
    probed: Router,
    door: Option<Door>,
    stop: watch::Receiver<bool>,
) {
    let clients = serve(&listener, MAX_CONNECTIONS, app, door, stop.clone());
    match probe {
        Some(probe) => {
            let probe = serve(&probe, PROBE_CONNECTIONS, probed, None, stop);
            tokio::join!(clients, probe);
        }
        None => clients.await,
    }
}

/// Serves until the node stops; requests that are being answered then get five seconds to end.
async fn serve(
    listener: &TcpListener,
    places: usize,
    app: Router,
    door: Option<Door>,
    stop: watch::Receiver<bool>,
) {
    let stop = stopped(stop);
    let connections = Arc::new(Semaphore::new(places));
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    // HTTP/1.1 alone: with a choice, the server would wait for the first bytes without a limit.
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(true);
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    loop {
        while tasks.try_join_next().is_some() {}
        let place = tokio::select! {
            () = &mut stop => break,
            place = connections.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let accepted =
            accepted.and_then(|(stream, address)| Ok((Caller::new(address.ip(), &stream)?, address, stream)));
        let (caller, address, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to be closed.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT)) {
            tracing::debug!(%error, "connection without a limit for writing");
        }
        let inner = TowerToHyperService::new(app.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            inner.call(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let door = door.clone();
        tasks.spawn(async move {
            let shut_out = async {
                match door {
                    Some(door) => door.shuts_out(address.ip()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::trace!(%error, "connection ended");
                },
                () = shut_out => {}
            }
            drop(place);
        });
    }
    // Whoever keeps a connection busy for longer is cut off.
    let _ = tokio::time::timeout(Duration::from_secs(5), graceful.shutdown()).await;
    tasks.shutdown().await;
}

/// HORNET: > 503 unless the node is almost synced, for tips, new blocks and metadata
fn require_synced(node: &NodeHandle) -> Result<(), ApiError> {
    if node.status_now().almost_synced {
        return Ok(());
    }
    Err(ApiError::unavailable("the node is not synced"))
}

/// HORNET: > 503 for tips and new blocks while parameters are announced that the node does not know
fn require_supported(node: &NodeHandle) -> Result<(), ApiError> {
    if node.status_now().supported {
        return Ok(());
    }
    Err(ApiError::unavailable(
        "the network changes to a protocol version that this node does not know; update it",
    ))
}

/// A look-up in the store, at once: to hand it to another thread costs as much as to look it up. While it waits for the
/// disk, one of the [`workers`] does.
fn read<T>(
    node: &NodeHandle,
    read: impl FnOnce(&crate::store::Reader) -> Result<T, crate::store::Error>,
) -> Result<T, ApiError> {
    Ok(read(&node.reader)?)
}

/// A read of the store that takes its time, where it may.
async fn read_long<T: Send + 'static>(
    node: &NodeHandle,
    read: impl FnOnce(&crate::store::Reader) -> Result<T, crate::store::Error> + Send + 'static,
) -> Result<T, ApiError> {
    let reader = node.reader.clone();
    tokio::task::spawn_blocking(move || read(&reader))
        .await
        .map_err(|_| ApiError::unavailable("the read was interrupted"))?
        .map_err(ApiError::from)
}

/// The variable part of a path.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, ApiError> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        segment.map(|Path(text)| Self(text)).map_err(|_| ApiError::bad_request("the path is not UTF-8"))
    }
}

/// A 32-byte id in a path, read as HORNET does: `0x` is needed, too short is padded with zero bytes on the
/// right, too long is cut.
fn path_id(what: &'static str, text: &str) -> Result<[u8; 32], ApiError> {
    let bytes =
        crate::protocol::hex::decode(what, text).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let mut id = [0; 32];
    let length = bytes.len().min(id.len());
    id[..length].copy_from_slice(&bytes[..length]);
    Ok(id)
}
