//! The node process: build, run, stop.
//!
//! Threads: one engine thread (sole writer of the store), tokio's for the ports. Stop in order: ports stop
//! accepting, the engine finishes what is queued and makes it durable, the store closes.

pub mod devnet;
mod engine_thread;
mod founding;
mod joining;
mod opening;
mod own;
mod starting;
mod supervised;
mod usage;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Join, MilestoneKey, Peering};
use crate::confine::{self, Needs};
use crate::coordinator::{self, Coordinator};
use crate::engine::{Network, checked};
use crate::files::Hold;
use crate::handle::peers::{PeerRequest, Peers};
use crate::handle::{Facts, NodeHandle, REQUESTS, Status};
use crate::hardware::heat::Sensors;
use crate::identity::Identity;
use crate::keeper::web::Names;
use crate::keeper::{Keeper, automatic};
use crate::ledger::authority::{Authority, KeyRange};
use crate::mining::Miner;
use crate::mining::calibration::{self, Findings};
use crate::mining::capacity::Capacity;
use crate::mining::verifier::Judge;
use crate::net::join::Introduction;
use crate::net::lan::{Card, Lan};
use crate::net::{self, Net};
use crate::pow::tuning::{Override, Tuning};
use crate::protocol::hex;
use crate::rest;
use crate::store::{self, Limits, Reader, Suspects};
use crate::token::Tokens;
use engine_thread::EngineThread;
use joining::Joining;
use opening::Opening;
use usage::Usage;

/// Blocking threads: reads of the store and checks of blocks.
const BLOCKING_THREADS: usize = 32;

/// Of memory, only what is used of it counts: sled's handles take 60 KB each, and are moved about on the stack.
const STACK_BYTES: usize = 8 << 20;

/// Folder of the store in the node's folder.
const STORE: &str = "store";

/// The ports end, and the engine answers what is queued and makes it durable, within this time, or both are given up.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The same after a failure.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(8);

/// What a board, or its PID 1, says beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Report to PID 1 and give up all rights.
    pub supervised: bool,
    /// Hold room back for a full disk.
    pub ballast: bool,
    /// How to do proof of work.
    pub pow: Override,
}

/// What proof of work needs, got hold of before the process gives up its rights.
#[derive(Debug)]
struct Work {
    /// As measured, without the board's word.
    findings: Findings,
    tuning: Tuning,
    /// Threads that the board allows; 0: all.
    threads: u32,
    sensors: Arc<Sensors>,
    capacity: Capacity,
}

impl Work {
    fn prepare(data: &Path, board: &Override) -> anyhow::Result<Self> {
        let findings = calibration::load_or_measure(data);
        let tuning = calibration::with(findings.tuning.clone(), board)
            .map_err(|problem| anyhow::anyhow!("--pow-kernel (run.pow.kernel of the board): {problem}"))?;
        let sensors = Arc::new(Sensors::open(Path::new("/sys")));
        let (threads, capacity) = (board.threads.unwrap_or(0), Capacity::open(&tuning));
        Ok(Self { findings, tuning, threads, sensors, capacity })
    }

    /// The miner that the configuration wants.
    fn miner(&self, config: &Config) -> Option<Miner> {
        let (tuning, board, sensors) = (self.tuning.clone(), self.threads, self.sensors.clone());
        let wanted = config.pow.workers;
        let wanted = if board == 0 || wanted == 0 { wanted.max(board) } else { wanted.min(board) };
        let threads = tuning.threads(wanted);
        config.pow.enabled.then(|| Miner::start(tuning, threads, move || sensors.read()))
    }
}

/// Damage was found that is mended by the next start: this process still holds what is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartAgain(&'static str);

/// Runs a node on `data` until it is told to stop by SIGTERM or SIGINT.
///
/// A supervised board makes it report to the process that started it, on standard output.
///
/// # Errors
/// [`StartAgain`]; everything else that keeps a node from starting or going on.
pub fn run(config: &Config, data: &Path, board: &Board) -> anyhow::Result<()> {
    let supervised = board.supervised;
    raise_open_files();
    let usage = Usage::open();
    std::fs::create_dir_all(data).with_context(|| data.display().to_string())?;
    // Before anything in it is looked at.
    let _held = Hold::of(data).with_context(|| data.display().to_string())?;
    let work = Work::prepare(data, &board.pow)?;
    if supervised {
        let ports = config.peering.bind.iter().map(SocketAddr::port);
        let lan = config.peering.mdns || config.join == Some(Join::Lan);
        let lan = lan.then_some(net::lan::PORT);
        let auto = config.autopeering.as_ref().map(|auto| auto.bind.port());
        let needs = Needs {
            write: Some(data),
            listen: ports.chain([config.rest_bind.port(), rest::PROBE_PORT]).collect(),
            // Peers may listen on any port, and their owner names them while the node runs.
            connect_anywhere: true,
            send: std::iter::once(supervised::NAMES_PORT).chain(lan).collect(),
            // Nodes that are found over the internet use any port.
            send_anywhere: auto.is_some(),
            hear: lan.into_iter().chain(auto).collect(),
            ..Needs::default()
        };
        confine::enter(&needs)?;
    }
    let suspects = Suspects::of(&data.join(STORE));
    abort_on_core_panic(data.join(STORE), suspects.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(rest::workers())
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK_BYTES)
        .thread_name("node")
        .build()
        .context("starting the runtime")?;
    let told = Arc::new(AtomicBool::new(false));
    let result = runtime.block_on(serve(config, data, board, usage, work, suspects.clone(), told.clone()));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result.map_err(|error| match is_for_want_of_room(&error) {
        true => error.context("the disk is full: make room, and start again; nothing is lost"),
        // Who is told to stop does not start again.
        false if suspects.all().is_empty() || told.load(Ordering::Relaxed) => error,
        false => error.context(StartAgain("the store is damaged: the next start mends it")),
    })
}

fn is_for_want_of_room(error: &anyhow::Error) -> bool {
    let is_full = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::StorageFull;
    // Not every error tells what it comes from.
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_full))
        || format!("{error:#}").contains("No space left on device")
}

/// A panic of a request is that request's; one of the start or of the engine ends the node at once: unwinding
/// through a half-open database may hang. The next start knows of it, and of what was being opened.
fn abort_on_core_panic(store: PathBuf, suspects: Suspects) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        suspects.blame_opened();
        if matches!(std::thread::current().name(), Some("main" | "engine" | "check")) {
            store::note_crash(&store);
            std::process::abort();
        }
    }));
}

/// Each open epoch takes 81 file descriptors, each connection one; the usual limit is 1,024.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

async fn serve(
    config: &Config,
    data: &Path,
    &Board { supervised, ballast, .. }: &Board,
    usage: Usage,
    work: Work,
    suspects: Suspects,
    told: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let identity = data.join("identity");
    let own = Identity::load_or_create(&identity)?;
    let tokens = Tokens::new(own.token_secret(), own.peer_id(), config.rest_jwt_salt.clone());
    let keeper = Keeper::open(data.join(founding::SNAPSHOTS));
    let (listener, probe) = listen(config, supervised).await?;
    let sockets = net::Sockets::open(&config.peering.bind)?;
    let autopeering = match &config.autopeering {
        Some(auto) => {
            let socket = net::auto::Socket::open(auto.bind);
            let socket = socket.with_context(|| format!("autopeering.bind: listening on {}", auto.bind))?;
            Some((socket, auto.entry_nodes.clone()))
        }
        None => None,
    };
    let clock_trusted = Arc::new(AtomicBool::new(!(supervised && config.require_clock)));
    let door = rest::Door::new(supervised::write_line);
    let names = match supervised {
        true => {
            let (names, known) = watch::channel(Vec::new());
            supervised::listen(clock_trusted.clone(), config.require_clock, names, door.clone());
            Names::Servers(known)
        }
        false => Names::System,
    };
    let joining = Joining {
        config,
        data,
        own: &own,
        keeper: &keeper,
        names: &names,
        lan_port: config.peering.lan_port(&sockets.addresses()),
        listener: &listener,
        probe: probe.as_ref(),
    };
    let settled = joining.settle().await?;
    let config = &settled;
    let own_key = match config.coordinator.enabled {
        true => Some(coordinator::public_key(&identity)?),
        false => None,
    };
    let network = network(config, own_key);
    let facts = Arc::new(Facts {
        base_token: config.network.base_token.clone(),
        require_peers: config.require_peers,
        clock_trusted,
        peers: Arc::new(AtomicUsize::new(0)),
    });
    if let Some(key) = own_key
        && !network.authority.keys.iter().any(|range| range.public_key == key)
    {
        anyhow::bail!(
            "network.milestone_keys: the key of this coordinator, {}, is not among them; add it, or set \
             coordinator.enabled = false",
            hex::encode(&key)
        );
    }
    let limits = Limits {
        // The largest number stands for tools, which only look.
        keep_milestones: config.storage.keep_milestones.get().min(u32::MAX - 1),
        live_milestones: u32::from(network.params.below_max_depth) + 5,
        cache_bytes: config.storage.cache_mib.get() as usize * (1 << 20),
    };
    let params = &network.params;
    let (peers, peer_requests) = Peers::new();
    let parts = rest::Parts {
        miner: work.miner(config),
        judge: Judge::start(&work.tuning),
        tokens,
        password: config.rest_password.clone(),
        door: Some(door).filter(|_| supervised && !config.rest_bind.ip().is_loopback()),
        keeper: keeper.clone(),
        peers,
    };
    let findings = work.findings;
    let opening = Opening {
        folder: data.join(STORE),
        limits,
        suspects: suspects.clone(),
        config,
        authority: &network.authority,
        keeper: &keeper,
        identity: &identity,
        facts: &facts,
        joining: &joining,
        names: names.clone(),
        listener: &listener,
        probe: probe.as_ref(),
    };
    let (mut store, recovered, starting) = opening.open().await?;
    if config.snapshots.enabled {
        store.hold_to(keeper.anchor());
    }
    if ballast {
        store.carry_ballast()?;
    }
    if recovered.schedule.active != *params {
        tracing::warn!("the keys network.* differ from what the network agreed on; that holds");
    }
    if let (Some(key), Some(confirmed), true) =
        (own_key, &recovered.confirmed, config.network.milestone_keys.is_empty())
        && !confirmed.milestone.signatures().iter().any(|signature| signature.public_key == key)
    {
        anyhow::bail!(
            "the network in {} was founded with another key than the one in {}: bring that back, or move \
             both away to found a new network",
            data.join(STORE).display(),
            identity.display()
        );
    }
    let reader = store.reader();
    let (requests, queue) = mpsc::channel(REQUESTS);
    let mut engine = EngineThread::new(network.authority.clone(), store, recovered, usage)?;
    opening.take_back(starting, &mut engine).await?;
    let (status, watched) = watch::channel(engine.status());
    let node = NodeHandle::new(reader, watched, facts, requests);
    let hub = engine.meet();
    let peering = sockets.addresses();
    let mark = joining::mark(&network);
    let lan = config.peering.lan_port(&peering).and_then(|port| {
        let open = config.peering.unknown_peers > 0;
        let card = Card { id: own.peer_id(), port, network: Some(mark), open };
        let opened = Lan::open(card, true);
        opened
            .inspect_err(|error| tracing::warn!(%error, "nodes of the local network do not find this one"))
            .ok()
    });
    let introduction = Introduction {
        text: introduction(config, &network).into(),
        keeper: keeper.clone(),
        depth: config.snapshots.depth,
    };
    let setup = net::Setup {
        key: own.keypair(),
        peering: config.peering.clone(),
        data: data.to_path_buf(),
        tuning: work.tuning.clone(),
        names,
        sockets,
        introduction: (config.peering.unknown_peers > 0).then_some(introduction),
        autopeering,
        lan: lan.map(|lan| (lan, mark)),
    };
    let net = Net::new(setup, hub, node.clone())?;
    let (engine_done, turns) = engine.spawn(status, queue)?;
    if supervised {
        let (sensors, mut capacity) = (work.sensors.clone(), work.capacity);
        let spare = move || capacity.spare(sensors.read());
        let open = config.peering.unknown_peers > 0;
        let peer = supervised::Peer {
            id: own.peer_id(),
            port: Peering::outside(&peering).filter(|_| open).map(|address| address.port()),
            issues: config.coordinator.enabled,
        };
        supervised::report(turns, node.status.clone(), node.facts.clone(), peer, spare)?;
    }
    let status = node.status_now();
    // Whoever reads that it started may stop it.
    let signalled = signalled(told)?;
    tracing::info!(
        network = %status.network.params.network_name,
        confirmed = status.confirmed.index.0,
        peer_id = own.peer_id(),
        peering = ?peering,
        rest = %listener.local_addr()?,
        "node started"
    );
    let damaged = async move { suspects.wait().await };
    let ports = Ports { listener, probe, node, net, peer_requests, parts };
    run_ports(config, &identity, ports, findings, (engine_done, damaged, signalled)).await
}

/// Where clients connect to and, on a board, PID 1. Bound before anything runs: an address that is taken ends the start
/// at once.
async fn listen(config: &Config, supervised: bool) -> anyhow::Result<(Listener, Option<Listener>)> {
    let listener = TcpListener::bind(config.rest_bind).await.with_context(|| {
        format!("rest.bind: listening on {} (0.0.0.0 where IPv6 is off)", config.rest_bind)
    })?;
    let probe = match supervised {
        true => Some(TcpListener::bind((Ipv4Addr::LOCALHOST, rest::PROBE_PORT)).await.context("probe port")?),
        false => None,
    };
    Ok((Arc::new(listener), probe.map(Arc::new)))
}

type Listener = Arc<TcpListener>;

/// What serves others.
struct Ports {
    listener: Listener,
    probe: Option<Listener>,
    node: NodeHandle,
    net: Net,
    peer_requests: mpsc::Receiver<PeerRequest>,
    parts: rest::Parts,
}

/// Serves until a signal, the end of the engine, or the end of the coordinator.
async fn run_ports(
    config: &Config,
    identity: &Path,
    Ports { listener, probe, node, net, peer_requests, parts }: Ports,
    findings: Findings,
    (mut engine_done, damaged, signalled): (
        tokio::sync::oneshot::Receiver<anyhow::Result<()>>,
        impl Future<Output = BTreeSet<String>>,
        impl Future<Output = ()>,
    ),
) -> anyhow::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let learning = parts.miner.clone().map(|miner| tokio::spawn(learn(findings, miner, stopping.clone())));
    let snapshots = config.snapshots.enabled.then(|| {
        let rules =
            automatic::Rules { depth: config.snapshots.depth, interval: config.snapshots.interval.get() };
        let (keeper, reader, status) = (parts.keeper.clone(), node.reader.clone(), node.status.clone());
        tokio::spawn(take_snapshots(keeper, rules, reader, status))
    });
    let gossip = tokio::spawn(net.run(peer_requests, stopping.clone()));
    let rest = tokio::spawn(rest::serve_all(listener, probe, node.clone(), parts, stopping));
    let coordinator = match config.coordinator.enabled {
        true => {
            let interval = Duration::from_secs(u64::from(config.coordinator.interval_s.get()));
            let coordinator = Coordinator::open(identity, node.clone(), config.coordinator.resume_from)?;
            tokio::spawn(coordinator.run(interval))
        }
        false => tokio::spawn(std::future::pending()),
    };
    drop(node);
    let abort = coordinator.abort_handle();
    let ended = tokio::select! {
        () = signalled => Ok(()),
        parts = damaged => Err(anyhow::anyhow!("{parts:?}")),
        ended = &mut engine_done => return ended.context("the engine's thread panicked")?,
        ended = coordinator => match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(anyhow::Error::new(error).context("the coordinator panicked")),
        },
    };
    tracing::info!("stopping");
    abort.abort();
    if let Some(snapshots) = snapshots {
        snapshots.abort();
    }
    stop.send_replace(true);
    let stopped = async {
        // The ports hold the engine's queue; when the last of them is gone, the engine settles and ends.
        rest.await.context("the REST port panicked")?;
        gossip.await.context("gossip panicked")?;
        if let Some(learning) = learning {
            learning.await.context("keeping what was learned panicked")?;
        }
        engine_done.await.context("the engine's thread panicked")?
    };
    // Who reads what is damaged may wait for ever; nothing that was acknowledged needs an end in order.
    let within = if ended.is_ok() { STOP_WITHIN } else { GIVE_UP_WITHIN };
    match tokio::time::timeout(within, stopped).await {
        Ok(stopped) => stopped?,
        Err(_) if ended.is_ok() => anyhow::bail!("the node did not stop in time"),
        Err(_) => tracing::warn!("given up: not everything stopped in time"),
    }
    tracing::info!("stopped");
    ended
}

async fn take_snapshots(
    keeper: Keeper,
    rules: automatic::Rules,
    reader: Reader,
    status: watch::Receiver<Arc<Status>>,
) {
    if let Err(error) = automatic::run(keeper, rules, reader, status).await {
        tracing::error!(%error, "no snapshots are taken any more");
    }
}

/// How often what was learned while mining is kept; power may be cut before the node is told to stop.
const LEARN_EVERY: Duration = Duration::from_secs(3_600);

async fn learn(mut findings: Findings, miner: Miner, mut stop: watch::Receiver<bool>) {
    loop {
        let ended = tokio::time::timeout(LEARN_EVERY, stop.wait_for(|stop| *stop)).await.is_ok();
        let sustained = miner.sustained();
        let kept = tokio::task::spawn_blocking(move || {
            findings.learn(sustained);
            findings
        });
        match kept.await {
            Ok(kept) if !ended => findings = kept,
            Ok(_) | Err(_) => return,
        }
    }
}

/// From now on, the signals that ask for an orderly stop are waited for, and kept in `told`.
fn signalled(told: Arc<AtomicBool>) -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    for number in [SIGTERM, SIGINT] {
        signal_hook::flag::register(number, told.clone())?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The network of a configuration; a founder's own key counts when no other is named.
fn network(config: &Config, own_key: Option<[u8; 32]>) -> Network {
    let authority = Authority::of(&config.network, own_key);
    Network { params: config.network.params.clone(), authority }
}

/// What nodes that join are told.
fn introduction(config: &Config, network: &Network) -> String {
    let key = |range: &KeyRange| MilestoneKey {
        public_key: range.public_key,
        start: range.start.0,
        end: range.end.0,
    };
    config.network.introduction(&network.authority.keys.iter().map(key).collect::<Vec<_>>())
}

/// Parses stored bytes again: they passed the checks when they came in.
fn recheck(network: &Network, bytes: Vec<u8>) -> Option<checked::CheckedBlock> {
    match checked::check(network, Arc::from(bytes)) {
        Ok(block) => Some(block),
        Err(error) => {
            tracing::warn!(%error, "stored block no longer valid, left out");
            None
        }
    }
}
