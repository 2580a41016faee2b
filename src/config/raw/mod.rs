//! The TOML form, and the checks that make a [`Config`] of it.

mod network;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

use super::mistake::{Checker, PASSWORD, syntax_error};
use super::{
    Autopeering, BaseToken, Clock, Config, Coordinator, EntryAddress, Error, Join, NamedPeer, PeerAddress,
    Peering, Pow, Snapshots, Source, Storage, Url,
};
use crate::token::Password;
use network::{join, network};

/// The whole file.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    system: RawSystem,
    network: RawNetwork,
    token: BaseToken,
    rest: RawRest,
    peering: RawPeering,
    autopeering: RawAutopeering,
    clock: RawClock,
    pow: RawPow,
    coordinator: RawCoordinator,
    storage: RawStorage,
    snapshots: RawSnapshots,
    health: RawHealth,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawNetwork {
    join: Option<Spanned<String>>,
    /// All nodes of a network must agree on this and on the five numbers below.
    name: Spanned<String>,
    bech32_hrp: Spanned<String>,
    min_pow_score: u32,
    below_max_depth: Spanned<u8>,
    v_byte_cost: u32,
    v_byte_factor_data: u8,
    v_byte_factor_key: u8,
    /// A string, as TOML numbers end at 2^63.
    token_supply: Spanned<String>,
    /// Who owns all base tokens of a network that this node founds.
    genesis_address: Option<Spanned<String>>,
    milestone_keys: Spanned<Vec<RawMilestoneKey>>,
    milestone_threshold: Spanned<usize>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct RawMilestoneKey {
    public_key: Spanned<String>,
    #[serde(default)]
    start: u32,
    #[serde(default)]
    end: u32,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSystem {
    host_name: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawClock {
    ntp: Vec<Spanned<String>>,
    https: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRest {
    bind: Spanned<String>,
    public: bool,
    password: Option<Spanned<String>>,
    jwt_salt: String,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPeering {
    bind: Vec<Spanned<String>>,
    unknown_peers: Spanned<usize>,
    peers: Vec<RawPeer>,
    mdns: Option<bool>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAutopeering {
    enabled: bool,
    bind: Spanned<String>,
    entry_nodes: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    address: Spanned<String>,
    alias: Option<String>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPow {
    enabled: bool,
    workers: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCoordinator {
    enabled: bool,
    interval_s: Spanned<u32>,
    resume_from: Option<u32>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStorage {
    keep_milestones: Spanned<u32>,
    cache_mib: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSnapshots {
    enabled: bool,
    depth: u32,
    interval: Spanned<u32>,
    sources: Vec<RawSource>,
    authority: Option<Spanned<String>>,
    ledger_hash: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    full: Spanned<String>,
    delta: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHealth {
    require_peers: bool,
    require_clock: bool,
}

/// A default has no place in the file; an error in one would be ours.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl Default for RawNetwork {
    fn default() -> Self {
        Self {
            join: None,
            name: unplaced("osmia-private".to_owned()),
            bech32_hrp: unplaced("tst".to_owned()),
            min_pow_score: 100,
            below_max_depth: unplaced(15),
            v_byte_cost: 100,
            v_byte_factor_data: 1,
            v_byte_factor_key: 10,
            token_supply: unplaced("2779530283277761".to_owned()),
            genesis_address: None,
            milestone_keys: unplaced(Vec::new()),
            milestone_threshold: unplaced(1),
        }
    }
}

impl Default for RawSystem {
    fn default() -> Self {
        Self { host_name: unplaced("osmia".to_owned()) }
    }
}

/// Anycast addresses of public time services, as their operators document them (Cloudflare, Google).
const NTP: [&str; 4] = ["162.159.200.1", "162.159.200.123", "216.239.35.0", "216.239.35.4"];

/// Public resolvers whose certificates name their addresses (Cloudflare, Google, Quad9).
const HTTPS: [&str; 3] = ["1.1.1.1", "8.8.8.8", "9.9.9.9"];

impl Default for RawClock {
    fn default() -> Self {
        let list = |addresses: &[&str]| addresses.iter().map(|one| unplaced((*one).to_owned())).collect();
        Self { ntp: list(&NTP), https: list(&HTTPS) }
    }
}

impl Default for RawRest {
    fn default() -> Self {
        Self {
            bind: unplaced("[::]:14265".to_owned()),
            public: false,
            password: None,
            jwt_salt: crate::token::SALT.to_owned(),
        }
    }
}

/// HORNET's port and number of strangers.
impl Default for RawPeering {
    fn default() -> Self {
        let bind = ["0.0.0.0:15600", "[::]:15600"].map(|one| unplaced(one.to_owned())).into();
        Self { bind, unknown_peers: unplaced(4), peers: Vec::new(), mdns: None }
    }
}

/// HORNET's port.
impl Default for RawAutopeering {
    fn default() -> Self {
        Self { enabled: false, bind: unplaced("0.0.0.0:14626".to_owned()), entry_nodes: Vec::new() }
    }
}

impl Default for RawPow {
    fn default() -> Self {
        Self { enabled: false, workers: unplaced(0) }
    }
}

impl Default for RawCoordinator {
    fn default() -> Self {
        Self { enabled: false, interval_s: unplaced(5), resume_from: None }
    }
}

impl Default for RawStorage {
    fn default() -> Self {
        Self { keep_milestones: unplaced(17_280), cache_mib: unplaced(8) }
    }
}

/// HORNET's depth and interval; but the snapshots are taken: a node that lost its store comes back by them (a
/// coordinator only when nothing was signed since: signing again would fork the network).
impl Default for RawSnapshots {
    fn default() -> Self {
        Self {
            enabled: true,
            depth: 50,
            interval: unplaced(200),
            sources: Vec::new(),
            authority: None,
            ledger_hash: None,
        }
    }
}

impl Default for RawHealth {
    fn default() -> Self {
        Self { require_peers: true, require_clock: true }
    }
}

fn password(checker: &Checker<'_>, written: Option<&Spanned<String>>) -> Result<Option<Password>, Error> {
    let Some(written) = written else { return Ok(None) };
    let found = Password::new(written.get_ref().clone()).ok_or_else(|| {
        let problem = format!("{} bytes long", written.get_ref().len());
        checker.error(PASSWORD, written, problem, "write 12 to 128 bytes")
    })?;
    Ok(Some(found))
}

pub(super) fn parse(text: &str) -> Result<Config, Error> {
    let checker = Checker { text };
    let raw: RawConfig = toml::from_str(text).map_err(|error| syntax_error(&checker, &error))?;
    let network = network(&checker, &raw)?;
    let join = join(&checker, &raw.network)?;
    let coordinator = Coordinator {
        enabled: raw.coordinator.enabled,
        interval_s: checker.at_least_one("coordinator.interval_s", &raw.coordinator.interval_s)?,
        resume_from: raw.coordinator.resume_from,
    };
    if network.milestone_keys.is_empty() && !coordinator.enabled && join.is_none() {
        return Err(Error {
            line: checker.line(raw.network.milestone_keys.span().start),
            key: "network.milestone_keys".to_owned(),
            problem: "none, and this node issues no milestones itself".to_owned(),
            fix: "name the network's keys, or a node of it in network.join; or set coordinator.enabled = true to \
                  found a network"
                .to_owned(),
        });
    }
    let threshold = &raw.network.milestone_threshold;
    if coordinator.enabled && *threshold.get_ref() > 1 {
        let problem = format!("{}, but this coordinator signs with one key", threshold.get_ref());
        return Err(checker.error("network.milestone_threshold", threshold, problem, "write 1"));
    }
    let bind = &raw.rest.bind;
    let rest_bind: SocketAddr = bind.get_ref().parse().map_err(|_| {
        checker.error("rest.bind", bind, format!("{:?} is no address", bind.get_ref()), "write IP:PORT")
    })?;
    for (at, text) in raw.peering.bind.iter().enumerate() {
        let before = raw.peering.bind[..at].iter().map(Spanned::get_ref).chain([bind.get_ref()]);
        if !text.get_ref().ends_with(":0") && before.into_iter().any(|other| other == text.get_ref()) {
            let fix = "give gossip and REST a port each, and name no address twice";
            let problem = format!("{:?} is taken already", text.get_ref());
            return Err(checker.error("peering.bind", text, problem, fix));
        }
    }
    let mdns = raw.peering.mdns.unwrap_or(!PUBLIC_NETWORKS.contains(&network.params.network_name.as_str()));
    if let (Some(Join::Lan), false, Some(text)) = (&join, mdns, &raw.network.join) {
        let fix = "set peering.mdns = true, or name a node of the network";
        return Err(checker.error("network.join", text, "\"lan\", but peering.mdns is off", fix));
    }
    Ok(Config {
        network,
        join,
        host_name: host_name(&checker, &raw.system.host_name)?,
        rest_bind,
        rest_public: raw.rest.public,
        rest_password: password(&checker, raw.rest.password.as_ref())?,
        rest_jwt_salt: raw.rest.jwt_salt.clone(),
        peering: peering(&checker, &raw.peering, mdns)?,
        autopeering: autopeering(&checker, &raw)?,
        pow: Pow { enabled: raw.pow.enabled, workers: workers(&checker, &raw)? },
        coordinator,
        storage: Storage {
            keep_milestones: keep_milestones(&checker, &raw)?,
            cache_mib: checker.at_least_one("storage.cache_mib", &raw.storage.cache_mib)?,
        },
        snapshots: snapshots(&checker, &raw.snapshots)?,
        require_peers: raw.health.require_peers,
        require_clock: raw.health.require_clock,
        clock: Clock {
            ntp: addresses(&checker, "clock.ntp", &raw.clock.ntp)?,
            https: addresses(&checker, "clock.https", &raw.clock.https)?,
        },
    })
}

/// RFC 1123: > letters, digits and hyphens, at most 63, no hyphen first or last
pub(super) fn is_host_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn host_name(checker: &Checker<'_>, name: &Spanned<String>) -> Result<String, Error> {
    if is_host_name(name.get_ref()) {
        return Ok(name.get_ref().clone());
    }
    let problem = format!("{:?} is no host name", name.get_ref());
    Err(checker.error("system.host_name", name, problem, "write 1 to 63 letters, digits and hyphens"))
}

/// Nobody on the local network needs to know of a node of one of these.
const PUBLIC_NETWORKS: [&str; 4] = ["iota-mainnet", "shimmer", "testnet", "testnet-1"];

/// Most peers: as many as can be connected.
const MAX_PEERS: usize = 32;

fn peering(checker: &Checker<'_>, raw: &RawPeering, mdns: bool) -> Result<Peering, Error> {
    let bind = |text: &Spanned<String>| {
        text.get_ref().parse().map_err(|_| {
            let problem = format!("{:?} is no address", text.get_ref());
            checker.error("peering.bind", text, problem, "write IP:PORT")
        })
    };
    let peer = |raw: &RawPeer| {
        let address = PeerAddress::parse(raw.address.get_ref()).map_err(|fix| {
            let problem = format!("{:?} is no address of a peer", raw.address.get_ref());
            checker.error("peering.peers.address", &raw.address, problem, fix)
        })?;
        Ok(NamedPeer { address, alias: raw.alias.clone() })
    };
    let limit = |key, count: usize, at: &Spanned<_>| match count {
        0..=MAX_PEERS => Ok(()),
        _ => Err(checker.error(
            key,
            at,
            format!("{count} are too many"),
            &format!("write {MAX_PEERS} at most"),
        )),
    };
    let unknown = &raw.unknown_peers;
    limit("peering.unknown_peers", *unknown.get_ref(), unknown)?;
    if let Some(last) = raw.peers.last() {
        let at = Spanned::new(last.address.span(), 0);
        limit("peering.peers", raw.peers.len(), &at)?;
    }
    let peers = raw.peers.iter().map(peer).collect::<Result<Vec<_>, _>>()?;
    for (at, raw) in raw.peers.iter().enumerate() {
        let id = &peers[at].address.id;
        if peers[..at].iter().any(|before| before.address.id == *id) {
            let problem = format!("peer {id} is named twice");
            return Err(checker.error(
                "peering.peers.address",
                &raw.address,
                problem,
                "keep one of its addresses",
            ));
        }
    }
    Ok(Peering {
        bind: raw.bind.iter().map(bind).collect::<Result<_, _>>()?,
        unknown_peers: *unknown.get_ref(),
        peers,
        mdns,
    })
}

fn autopeering(checker: &Checker<'_>, raw: &RawConfig) -> Result<Option<Autopeering>, Error> {
    let auto = &raw.autopeering;
    let bind: SocketAddr = auto.bind.get_ref().parse().map_err(|_| {
        let problem = format!("{:?} is no address", auto.bind.get_ref());
        checker.error("autopeering.bind", &auto.bind, problem, "write IP:PORT")
    })?;
    if let Some(one) = auto.entry_nodes.get(MAX_PEERS) {
        let fix = format!("write {MAX_PEERS} at most");
        return Err(checker.error("autopeering.entry_nodes", one, "too many", &fix));
    }
    if bind.port() == 0 && auto.enabled {
        return Err(checker.error(
            "autopeering.bind",
            &auto.bind,
            "port 0",
            "write the port that others are told",
        ));
    }
    let entry = |text: &Spanned<String>| {
        EntryAddress::parse(text.get_ref()).map_err(|fix| {
            let problem = format!("{:?} is no address of an entry node", text.get_ref());
            checker.error("autopeering.entry_nodes", text, problem, fix)
        })
    };
    let entry_nodes = auto.entry_nodes.iter().map(entry).collect::<Result<_, _>>()?;
    if auto.enabled && raw.peering.bind.is_empty() {
        let fix = "name an address in peering.bind, or set autopeering.enabled = false";
        return Err(checker.error("autopeering.enabled", &auto.bind, "others could not connect", fix));
    }
    Ok(auto.enabled.then_some(Autopeering { bind, entry_nodes }))
}

/// More sources would not make the time any better.
const MAX_SOURCES: usize = 8;

fn addresses(checker: &Checker<'_>, key: &str, list: &[Spanned<String>]) -> Result<Vec<IpAddr>, Error> {
    if let Some(one) = list.get(MAX_SOURCES) {
        return Err(checker.error(key, one, "too many addresses", &format!("keep {MAX_SOURCES}")));
    }
    let parse = |text: &Spanned<String>| {
        text.get_ref().parse().map_err(|_| {
            let problem = format!("{:?} is no IP address", text.get_ref());
            checker.error(key, text, problem, "write addresses: names cannot be looked up without the time")
        })
    };
    list.iter().map(parse).collect()
}

/// More threads than any board has cores would only hold memory.
const MAX_WORKERS: u32 = 64;

fn workers(checker: &Checker<'_>, raw: &RawConfig) -> Result<u32, Error> {
    let workers = &raw.pow.workers;
    match *workers.get_ref() {
        count if count <= MAX_WORKERS => Ok(count),
        count => {
            let fix = format!("write 1 to {MAX_WORKERS}, or 0 for as many as the machine can spare");
            Err(checker.error("pow.workers", workers, format!("{count} is too many"), &fix))
        }
    }
}

/// A pruned block must be too deep to be approved, with room for the search of entry points.
fn keep_milestones(checker: &Checker<'_>, raw: &RawConfig) -> Result<NonZeroU32, Error> {
    let keep = &raw.storage.keep_milestones;
    let least = (u32::from(*raw.network.below_max_depth.get_ref()) + 5) * 10;
    match NonZeroU32::new(*keep.get_ref()) {
        Some(milestones) if milestones.get() >= least => Ok(milestones),
        Some(_) | None => Err(checker.error(
            "storage.keep_milestones",
            keep,
            format!("{} is too few", keep.get_ref()),
            &format!("write {least} or more: ten times network.below_max_depth and five"),
        )),
    }
}

fn snapshots(checker: &Checker<'_>, raw: &RawSnapshots) -> Result<Snapshots, Error> {
    let url = |key: &str, text: &Spanned<String>| {
        Url::parse(text.get_ref()).ok_or_else(|| {
            let problem = format!("{:?} is no address of HTTPS", text.get_ref());
            checker.error(key, text, problem, "write like https://example.org/full_snapshot.bin")
        })
    };
    if let Some(one) = raw.sources.get(MAX_SOURCES) {
        let fix = format!("keep {MAX_SOURCES}");
        return Err(checker.error("snapshots.sources", &one.full, "too many sources", &fix));
    }
    let source = |raw: &RawSource| {
        let delta = raw.delta.as_ref().map(|delta| url("snapshots.sources.delta", delta));
        Ok(Source { full: url("snapshots.sources.full", &raw.full)?, delta: delta.transpose()? })
    };
    if let Some(authority) = &raw.authority
        && !authority.get_ref().contains("-----BEGIN CERTIFICATE-----")
    {
        let fix = "write its certificate in PEM, in three quotation marks at each end";
        return Err(checker.error("snapshots.authority", authority, "no certificate", fix));
    }
    let hash = |text: &Spanned<String>| checker.bytes_32("snapshots.ledger_hash", text, "not a 32-byte hash");
    Ok(Snapshots {
        ledger_hash: raw.ledger_hash.as_ref().map(hash).transpose()?,
        enabled: raw.enabled,
        depth: raw.depth,
        interval: checker.at_least_one("snapshots.interval", &raw.interval)?,
        sources: raw.sources.iter().map(source).collect::<Result<_, _>>()?,
        authority: raw.authority.as_ref().map(|authority| authority.get_ref().clone()),
    })
}
