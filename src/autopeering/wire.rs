//! Datagrams of autopeering (hive.go): protocol buffers, signed with the node's key.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ed25519_zebra::{Signature, SigningKey, VerificationKey};
use prost::Message as _;
use sha2::{Digest, Sha256};

/// hive.go: > packets longer than 1280 bytes are not sent
pub const MAX_BYTES: usize = 1_280;

/// hive.go `MaxPeersInResponse`.
const MOST_PEERS: usize = 6;

/// hive.go `MaxServices`.
const MOST_SERVICES: usize = 5;

/// Bytes of a salt.
pub(super) const SALT_BYTES: usize = 20;

/// Under which a node names the port of autopeering itself.
const PEERING: &str = "peering";

/// An Ed25519 public key: who a node is here, and by another encoding in gossip.
pub type Key = [u8; 32];

#[derive(Clone, PartialEq, prost::Message)]
struct Packet {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ping {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(uint32, tag = "2")]
    pub(super) network_id: u32,
    #[prost(int64, tag = "3")]
    pub(super) timestamp: i64,
    #[prost(string, tag = "4")]
    pub(super) source: String,
    #[prost(uint32, tag = "5")]
    pub(super) source_port: u32,
    #[prost(string, tag = "6")]
    pub(super) destination: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawPong {
    #[prost(bytes = "vec", tag = "1")]
    request: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    services: Option<ServiceMap>,
    #[prost(string, tag = "3")]
    destination: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceMap {
    #[prost(btree_map = "string, message", tag = "1")]
    map: BTreeMap<String, Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    network: String,
    #[prost(uint32, tag = "2")]
    port: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawPeers {
    #[prost(bytes = "vec", tag = "1")]
    request: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    peers: Vec<RawPeer>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawPeer {
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
    #[prost(string, tag = "2")]
    ip: String,
    #[prost(message, optional, tag = "3")]
    services: Option<ServiceMap>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Time {
    #[prost(int64, tag = "1")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawRequest {
    #[prost(int64, tag = "1")]
    timestamp: i64,
    #[prost(message, optional, tag = "2")]
    salt: Option<RawSalt>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawSalt {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    expires: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawResponse {
    #[prost(bytes = "vec", tag = "1")]
    request: Vec<u8>,
    #[prost(bool, tag = "2")]
    accepted: bool,
}

/// A node, as others tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) key: Key,
    pub(super) ip: IpAddr,
    pub(super) ports: Ports,
}

/// Where a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// UDP, of autopeering.
    pub(super) peering: u16,
    /// TCP, of this network's gossip.
    pub(super) gossip: Option<u16>,
}

/// What a datagram says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Ping(Ping),
    Pong { request: Vec<u8>, ports: Ports },
    PeersRequest { timestamp: i64 },
    Peers { request: Vec<u8>, peers: Vec<Told> },
    Request { timestamp: i64, salt_expires: u64 },
    Response { request: Vec<u8>, accepted: bool },
    Drop { timestamp: i64 },
}

const PING: u8 = 10;
const PONG: u8 = 11;
const PEERS_REQUEST: u8 = 12;
const PEERS: u8 = 13;
const REQUEST: u8 = 20;
const RESPONSE: u8 = 21;
const DROP: u8 = 22;

fn typed(kind: u8, message: &impl prost::Message) -> Vec<u8> {
    let mut data = vec![kind];
    data.extend(message.encode_to_vec());
    data
}

pub(super) fn ping(ping: &Ping) -> Vec<u8> {
    typed(PING, ping)
}

/// `gossip` is the name under which the port of gossip is told: that of the network.
pub(super) fn pong(request: &[u8], ports: Ports, gossip: &str, destination: IpAddr) -> Vec<u8> {
    let services = Some(services(ports, gossip));
    typed(PONG, &RawPong { request: hash(request), services, destination: destination.to_string() })
}

pub(super) fn peers_request(timestamp: i64) -> Vec<u8> {
    typed(PEERS_REQUEST, &Time { timestamp })
}

/// As many of the peers as fit.
pub(super) fn peers(request: &[u8], peers: &[Told], gossip: &str) -> Vec<u8> {
    let raw = |told: &Told| RawPeer {
        public_key: told.key.to_vec(),
        ip: told.ip.to_string(),
        services: Some(services(told.ports, gossip)),
    };
    let mut message = RawPeers { request: hash(request), peers: Vec::new() };
    for told in peers.iter().take(MOST_PEERS) {
        message.peers.push(raw(told));
        // Key, signature and lengths come on top.
        if message.encoded_len() > MAX_BYTES - 128 {
            message.peers.pop();
            break;
        }
    }
    typed(PEERS, &message)
}

pub(super) fn request(timestamp: i64, salt: [u8; SALT_BYTES], expires: u64) -> Vec<u8> {
    typed(REQUEST, &RawRequest { timestamp, salt: Some(RawSalt { bytes: salt.to_vec(), expires }) })
}

pub(super) fn response(request: &[u8], accepted: bool) -> Vec<u8> {
    typed(RESPONSE, &RawResponse { request: hash(request), accepted })
}

pub(super) fn drop(timestamp: i64) -> Vec<u8> {
    typed(DROP, &Time { timestamp })
}

/// What answers name a request by: SHA-256.
pub(super) fn hash(data: &[u8]) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

fn services(ports: Ports, gossip: &str) -> ServiceMap {
    let service = |network: &str, port: u16| Service { network: network.to_owned(), port: port.into() };
    let mut map = BTreeMap::from([(PEERING.to_owned(), service("udp", ports.peering))]);
    if let Some(port) = ports.gossip {
        map.insert(gossip.to_owned(), service("tcp", port));
    }
    ServiceMap { map }
}

fn ports(services: Option<&ServiceMap>, gossip: &str) -> Option<Ports> {
    let map = &services?.map;
    let port = |service: &Service| u16::try_from(service.port).ok().filter(|port| *port > 0);
    let gossip = map.get(gossip).filter(|service| service.network == "tcp").and_then(port);
    (map.len() <= MOST_SERVICES).then_some(Ports { peering: port(map.get(PEERING)?)?, gossip })
}

/// Reads what a datagram says; `None` when it is nothing of this protocol.
pub(super) fn parse(data: &[u8], gossip: &str) -> Option<Message> {
    let (kind, bytes) = data.split_first()?;
    Some(match *kind {
        PING => Message::Ping(Ping::decode(bytes).ok()?),
        PONG => {
            let pong = RawPong::decode(bytes).ok()?;
            Message::Pong { ports: ports(pong.services.as_ref(), gossip)?, request: pong.request }
        }
        PEERS_REQUEST => Message::PeersRequest { timestamp: Time::decode(bytes).ok()?.timestamp },
        PEERS => {
            let raw = RawPeers::decode(bytes).ok()?;
            let told = |peer: &RawPeer| {
                let key = peer.public_key.as_slice().try_into().ok()?;
                let ports = ports(peer.services.as_ref(), gossip)?;
                Some(Told { key, ip: peer.ip.parse().ok()?, ports })
            };
            let peers = raw.peers.iter().take(MOST_PEERS).filter_map(told).collect();
            Message::Peers { request: raw.request, peers }
        }
        REQUEST => {
            let request = RawRequest::decode(bytes).ok()?;
            let salt = request.salt.filter(|salt| salt.bytes.len() == SALT_BYTES)?;
            Message::Request { timestamp: request.timestamp, salt_expires: salt.expires }
        }
        RESPONSE => {
            let RawResponse { request, accepted } = RawResponse::decode(bytes).ok()?;
            Message::Response { request, accepted }
        }
        DROP => Message::Drop { timestamp: Time::decode(bytes).ok()?.timestamp },
        _ => return None,
    })
}

/// Whether these bytes are a message, signed or as it is within its packet.
pub fn is_message(bytes: &[u8], gossip: &str) -> bool {
    let signed = open(bytes).and_then(|(_, data)| parse(&data, gossip));
    signed.or_else(|| parse(bytes, gossip)).is_some()
}

/// Packs and signs.
pub(super) fn seal(data: Vec<u8>, key: &SigningKey) -> Vec<u8> {
    let signature: [u8; 64] = key.sign(&data).into();
    let public_key: Key = VerificationKey::from(key).into();
    let (public_key, signature) = (public_key.to_vec(), signature.to_vec());
    Packet { kind: 0, data, public_key, signature }.encode_to_vec()
}

/// Who sent a datagram, and what; `None` when it is none, or the signature is wrong. One Ed25519 check.
pub(super) fn open(bytes: &[u8]) -> Option<(Key, Vec<u8>)> {
    let packet = Packet::decode(bytes).ok().filter(|_| bytes.len() <= MAX_BYTES)?;
    let key: Key = packet.public_key.as_slice().try_into().ok()?;
    let signature: [u8; 64] = packet.signature.as_slice().try_into().ok()?;
    let right = VerificationKey::try_from(key).ok()?.verify(&Signature::from(signature), &packet.data);
    right.is_ok().then_some((key, packet.data))
}
