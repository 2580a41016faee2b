//! The node's configuration: a `Config` is valid by construction.
//!
//! Pure (layer L0): text in, values out. `raw` is the TOML form; every key is optional, and what a node
//! founds or joins is said in `[network]`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod introduction;
mod mistake;
mod peer;
pub mod preseed;
mod raw;
pub mod text;

pub use peer::{EntryAddress, PeerAddress, entry_key};

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::protocol::address::Address;
use crate::protocol::params::ProtocolParameters;
use crate::token::Password;

/// A mistake in a configuration file, worded for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Line, from 1.
    pub line: usize,
    /// Dotted key, empty when the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub fix: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.problem)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// A key that may sign milestones, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MilestoneKey {
    /// Ed25519, 32 bytes.
    pub public_key: [u8; 32],
    /// First index.
    pub start: u32,
    /// Last index; 0 stands for "for ever".
    pub end: u32,
}

/// The network to found or to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Protocol parameters.
    pub params: ProtocolParameters,
    /// Milestone keys; empty on a founder, whose own key counts.
    pub milestone_keys: Vec<MilestoneKey>,
    /// Signatures a milestone needs.
    pub milestone_threshold: usize,
    /// Who owns all base tokens of a network that this node founds; a key made then, where nobody is named.
    pub genesis_address: Option<Address>,
    /// How amounts are shown.
    pub base_token: BaseToken,
}

/// The network that a new node joins instead of founding one: whoever is asked tells all that [`Network`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// That of this node.
    Peer(PeerAddress),
    /// That of the nodes on the local network. Where there is none, a coordinator founds one.
    Lan,
}

/// How wallets show amounts: `[token]` in the file, `baseToken` in the API (TIP-25).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"), default, deny_unknown_fields)]
pub struct BaseToken {
    /// Full name.
    pub name: String,
    /// Ticker symbol.
    pub ticker_symbol: String,
    /// Name of the unit.
    pub unit: String,
    /// Name of the smallest unit; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subunit: String,
    /// Decimals of the unit.
    pub decimals: u8,
    /// Whether amounts are shown with k, M, G.
    pub use_metric_prefix: bool,
}

impl Default for BaseToken {
    fn default() -> Self {
        Self {
            name: "Test".to_owned(),
            ticker_symbol: "TST".to_owned(),
            unit: "TST".to_owned(),
            subunit: "testies".to_owned(),
            decimals: 6,
            use_metric_prefix: false,
        }
    }
}

/// Remote proof of work for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pow {
    /// Whether blocks without a nonce are mined here.
    pub enabled: bool,
    /// Threads; 0: all that the machine can spare.
    pub workers: u32,
}

/// Milestone issuing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinator {
    /// Whether this node issues milestones.
    pub enabled: bool,
    /// Seconds between milestones.
    pub interval_s: NonZeroU32,
    /// The confirmed milestone that it goes on from although it signed later ones: its owner says that they are lost.
    pub resume_from: Option<u32>,
}

/// What to keep on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// Milestones whose blocks are kept.
    pub keep_milestones: NonZeroU32,
    /// Page cache of each epoch, in MiB.
    pub cache_mib: NonZeroU32,
}

/// Snapshots: taken by the node itself, and where an empty store gets its first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// Whether the node takes any by itself.
    pub enabled: bool,
    /// Milestones between the newest and the one that the snapshot is of.
    pub depth: u32,
    /// Milestones between two snapshots.
    pub interval: NonZeroU32,
    /// Where to download one, when there is none and the store is empty.
    pub sources: Vec<Source>,
    /// Authority that signs the sources' certificates, instead of the public ones; in PEM.
    pub authority: Option<String>,
    /// What the hash of the ledger must be that a snapshot gives, as `snap-hash` tells it without solid entry points.
    pub ledger_hash: Option<[u8; 32]>,
}

/// Other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peering {
    /// Where they connect to; empty: nowhere.
    pub bind: Vec<SocketAddr>,
    /// How many may connect that nobody named.
    pub unknown_peers: usize,
    /// Those to which a connection is kept up.
    pub peers: Vec<NamedPeer>,
    /// Whether nodes of one network find each other on the local network (RFC 6762).
    pub mdns: bool,
}

impl Peering {
    /// The port to tell others on the local network, of those that are listened on, if they are to be told.
    pub fn lan_port(&self, bound: &[SocketAddr]) -> Option<u16> {
        let ipv4 = bound.iter().copied().filter(SocketAddr::is_ipv4).collect::<Vec<_>>();
        Self::outside(&ipv4).filter(|_| self.mdns).map(|address| address.port())
    }

    /// The first that other machines reach.
    pub fn outside(bound: &[SocketAddr]) -> Option<SocketAddr> {
        bound.iter().copied().find(|address| !address.ip().is_loopback())
    }
}

/// Other nodes found over the internet, which tells this one's address to all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autopeering {
    /// UDP.
    pub bind: SocketAddr,
    /// Whom to ask first.
    pub entry_nodes: Vec<EntryAddress>,
}

/// A peer that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPeer {
    /// Where it is.
    pub address: PeerAddress,
    /// What to call it.
    pub alias: Option<String>,
}

/// Where a snapshot can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The full snapshot.
    pub full: Url,
    /// A delta that goes on from it.
    pub delta: Option<Url>,
}

/// An address on the web, by HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// All of it.
    pub text: String,
    /// TCP port.
    pub port: u16,
}

impl Url {
    /// `None` when it is not `https://`, a host, perhaps a port, and perhaps a path.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let authority = rest.split(['/', '?']).next()?;
        // An IPv6 address stands in brackets.
        let behind_host = match authority.strip_prefix('[') {
            Some(address) => address.split_once(']')?.1,
            None => authority.find(':').map_or("", |at| &authority[at..]),
        };
        let port = match behind_host.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if behind_host.is_empty() => 443,
            None => return None,
        };
        let has_host = authority.len() > behind_host.len();
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !authority.contains('@');
        (has_host && plain).then(|| Self { text: text.to_owned(), port })
    }

    /// Host and, if it is named, port.
    pub fn authority(&self) -> &str {
        let rest = self.text.strip_prefix("https://").unwrap_or_default();
        rest.split(['/', '?']).next().unwrap_or_default()
    }

    /// Name or address; without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        let bare = authority.strip_prefix('[').and_then(|rest| rest.split(']').next());
        bare.unwrap_or_else(|| authority.split(':').next().unwrap_or_default())
    }

    /// Without what may be a secret of its owner.
    pub fn shown(&self) -> &str {
        self.text.split('?').next().unwrap_or_default()
    }

    /// What follows the authority; at least a slash.
    pub fn path(&self) -> &str {
        let rest = self.text.strip_prefix("https://").unwrap_or_default();
        Some(&rest[self.authority().len()..]).filter(|path| path.starts_with('/')).unwrap_or("/")
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The network.
    pub network: Network,
    /// Where a new node learns of its network.
    pub join: Option<Join>,
    /// Name of the board in its network.
    pub host_name: String,
    /// Where the REST API listens.
    pub rest_bind: SocketAddr,
    /// Whether a board's firewall lets everybody reach the REST API, not only private addresses.
    pub rest_public: bool,
    /// What opens the API's protected routes beside access tokens.
    pub rest_password: Option<Password>,
    /// What the subject of access tokens has to be.
    pub rest_jwt_salt: String,
    /// Other nodes.
    pub peering: Peering,
    /// Other nodes found over the internet; `None`: not at all.
    pub autopeering: Option<Autopeering>,
    /// Remote proof of work.
    pub pow: Pow,
    /// Milestone issuing.
    pub coordinator: Coordinator,
    /// Disk.
    pub storage: Storage,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// Whether a node without a connected peer is unhealthy (HORNET's rule). A founder that is alone in
    /// its network sets this to false.
    pub require_peers: bool,
    /// Whether a board whose clock nothing has confirmed is unhealthy. Where no time source can be reached,
    /// the owner sets this to false.
    pub require_clock: bool,
    /// Where the time comes from.
    pub clock: Clock,
}

/// Time sources. Addresses, not names: a board must know the time before it can trust a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// NTP servers, besides those that DHCP names.
    pub ntp: Vec<IpAddr>,
    /// Web servers with a certificate for their address, asked for the date when no NTP server answers.
    pub https: Vec<IpAddr>,
}

/// Page cache of each epoch in the small profile, in MiB.
const SMALL_CACHE_MIB: NonZeroU32 = NonZeroU32::new(4).unwrap();

impl Config {
    /// The same for a machine with little memory: smaller caches, no proof of work for others.
    #[must_use]
    pub fn small(mut self) -> Self {
        self.storage.cache_mib = self.storage.cache_mib.min(SMALL_CACHE_MIB);
        self.pow.enabled = false;
        self
    }

    /// The same for a board whose memory allows each epoch's page cache so many MiB.
    #[must_use]
    pub fn with_cache_of_at_most(mut self, mib: NonZeroU32) -> Self {
        self.storage.cache_mib = self.storage.cache_mib.min(mib);
        self
    }

    /// Reads a configuration file's bytes.
    ///
    /// # Errors
    /// As [`Config::parse`], or that they are no text.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse(&text::decode(bytes)?)
    }

    /// Reads a configuration file's text.
    ///
    /// # Errors
    /// The first mistake, with line, key and fix.
    pub fn parse(text: &str) -> Result<Self, Error> {
        raw::parse(text)
    }
}
