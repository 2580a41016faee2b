use std::collections::BTreeMap;
use std::net::SocketAddr;

use ed25519_zebra::{SigningKey, VerificationKey};

use super::budget::MOST_OF_ONE;
use super::neighbours::{Salt, distance};
use super::wire::{self, Key, Message};
use super::{Autopeering, EntryNode, INBOUND, MOST_NODES, Now, OUTBOUND, Output, Own, Told, fnv};

fn key(seed: u8) -> SigningKey {
    SigningKey::from([seed; 32])
}

fn public(seed: u8) -> Key {
    VerificationKey::from(&key(seed)).into()
}

fn address(seed: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, seed], 14_626))
}

fn now(ms: u64) -> Now {
    Now { ms, unix: 1_700_000_000 + ms / 1_000 }
}

/// Nodes whose datagrams arrive at once.
struct World {
    nodes: BTreeMap<u8, Autopeering>,
    ms: u64,
    random: u64,
    connections: Vec<(u8, u8)>,
}

impl World {
    /// All know the first one.
    fn new(count: u8, network: &str) -> Self {
        let mut world = Self { nodes: BTreeMap::new(), ms: 0, random: 1, connections: Vec::new() };
        (1..=count).for_each(|seed| world.add(seed, network));
        world
    }

    fn add(&mut self, seed: u8, network: &str) {
        let own = Own { key: key(seed), network: network.to_owned(), port: 14_626, gossip: 15_600 };
        let entry = EntryNode { key: public(1), address: address(1) };
        let random = &mut self.random;
        let mut next = || {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *random
        };
        let mut node = Autopeering::new(own, now(self.ms), &mut next);
        node.enter(entry, now(self.ms));
        self.nodes.insert(seed, node);
    }

    fn run(&mut self, ms: u64) {
        let end = self.ms + ms;
        while self.ms < end {
            self.ms += 250;
            let seeds = self.nodes.keys().copied().collect::<Vec<_>>();
            for seed in &seeds {
                let random = &mut self.random;
                let mut next = || {
                    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *random
                };
                self.nodes.get_mut(seed).unwrap().tick(now(self.ms), &mut next);
            }
            let mut moved = true;
            while moved {
                moved = false;
                for seed in &seeds {
                    while let Some(output) = self.nodes.get_mut(seed).unwrap().poll() {
                        moved = true;
                        self.perform(*seed, output);
                    }
                }
            }
        }
    }

    fn perform(&mut self, from: u8, output: Output) {
        let seed_of = |key: Key| (1..=u8::MAX).find(|seed| public(*seed) == key).unwrap();
        match output {
            Output::Send { to, bytes } => {
                let std::net::IpAddr::V4(ip) = to.ip() else { panic!("{to}") };
                if let Some(node) = self.nodes.get_mut(&ip.octets()[3]) {
                    node.receive(&bytes, address(from), now(self.ms));
                }
            }
            Output::Connect { key, address: at } => {
                let other = seed_of(key);
                assert_eq!(at, SocketAddr::from(([10, 0, 0, other], 15_600)));
                self.connections.push((from, other));
            }
            Output::Allow { .. } => {}
            Output::Drop { key } => {
                let other = seed_of(key);
                self.connections.retain(|pair| *pair != (from, other) && *pair != (other, from));
            }
        }
    }
}

#[test]
fn nodes_find_neighbours_by_one_entry_node() {
    let mut world = World::new(8, "net");
    world.run(180_000);
    for (seed, node) in &world.nodes {
        assert!(node.nodes.len() == 7, "{seed} knows {}", node.nodes.len());
        assert!(node.outbound.len() + node.inbound.len() >= 2, "{seed}");
        assert!(node.outbound.len() <= OUTBOUND && node.inbound.len() <= INBOUND);
        let connected = world.connections.iter().filter(|(one, other)| one == seed || other == seed).count();
        assert_eq!(connected, node.outbound.len() + node.inbound.len(), "{seed}");
    }
    // Whoever is gone is forgotten, and replaced.
    world.nodes.remove(&5);
    world.run(300_000);
    for seed in world.nodes.keys().copied().collect::<Vec<_>>() {
        let node = world.nodes.get_mut(&seed).unwrap();
        node.gone(&public(5), now(world.ms));
        assert!(!node.is_neighbour(&public(5)));
    }
    world.run(60_000);
    for node in world.nodes.values() {
        assert!(!node.nodes.contains_key(&public(5)) && node.outbound.len() + node.inbound.len() >= 2);
    }
}

#[test]
fn other_networks_and_peers_by_other_ways_are_no_neighbours() {
    let mut world = World::new(2, "net");
    world.add(3, "other");
    for (one, other) in [(1, 2), (2, 1)] {
        world.nodes.get_mut(&one).unwrap().block(public(other), now(0));
    }
    world.run(60_000);
    assert!(world.nodes.values().all(|node| node.inbound.len() + node.outbound.len() == 0));
    assert!(
        world.nodes[&3].nodes.values().all(|node| node.verified == 0),
        "the entry node is of another network"
    );
    world.nodes.get_mut(&1).unwrap().gone(&public(2), now(world.ms));
    world.nodes.get_mut(&2).unwrap().gone(&public(1), now(world.ms));
    world.run(60_000);
    assert_eq!(world.connections.len(), 1);
}

#[test]
fn strangers_cannot_fill_memory_or_time() {
    let mut world = World::new(1, "net");
    let node = world.nodes.get_mut(&1).unwrap();
    for number in 0..3_000_u32 {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        let ports = wire::Ports { peering: 1, gossip: None };
        node.found(Told { key, ip: [10, 0, 0, 9].into(), ports }, now(0));
    }
    assert_eq!(node.nodes.len(), MOST_NODES);
    // Late, forged, torn and replayed datagrams get no answer; nor do too many good ones.
    let ping = |unix: u64| ping_of(2, unix);
    let mut answers = |bytes: &[u8], ms: u64| {
        node.receive(bytes, address(2), now(ms));
        std::iter::from_fn(|| node.poll())
            .filter(|output| matches!(output, Output::Send { to, .. } if *to == address(2)))
            .count()
    };
    let good = ping(1_700_000_100);
    assert_eq!(answers(&ping(1_700_000_100 - 20), 100_000), 0);
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(answers(&forged, 101_000), 0);
    assert!((0..good.len()).all(|end| answers(&good[..end], 102_000 + end as u64 * 1_000) == 0));
    let good = ping(1_700_001_000);
    let answered = (0..1_000).filter(|_| answers(&good, 1_000_000) > 0).count();
    // The first makes it somebody who was asked.
    assert_eq!(answered, 1 + MOST_OF_ONE as usize);
}

fn ping_of(seed: u8, unix: u64) -> Vec<u8> {
    let ping = wire::Ping {
        version: 1,
        network_id: fnv("net"),
        timestamp: i64::try_from(unix).unwrap(),
        source: "0.0.0.0".into(),
        source_port: 14_626,
        destination: "10.0.0.1".into(),
    };
    wire::seal(wire::ping(&ping), &key(seed))
}

/// Its ping, sent again from elsewhere, while strangers send more than there is time for.
#[test]
fn a_node_that_has_proven_its_place_keeps_it() {
    let mut world = World::new(2, "net");
    world.run(20_000);
    // Else it would be kept as a neighbour.
    let at = now(world.ms);
    world.nodes.get_mut(&1).unwrap().block(public(2), at);
    world.run(1_000);
    let at = now(world.ms);
    let node = world.nodes.get_mut(&1).unwrap();
    let ping = ping_of(2, at.unix);
    while node.poll().is_some() {}
    node.receive(&ping, address(9), at);
    assert_eq!(node.nodes[&public(2)].address(), address(2));
    for _ in 0..1_000 {
        node.receive(&ping_of(3, at.unix), address(9), at);
    }
    while node.poll().is_some() {}
    node.receive(&ping, address(2), at);
    assert!(matches!(node.poll(), Some(Output::Send { to, .. }) if to == address(2)));
    // Nobody answers there, which is nothing against it. It is not asked where it is: only what was asked there ends.
    node.verify_ms = u64::MAX;
    node.query_ms = u64::MAX;
    for ms in (0..5_000).step_by(250) {
        node.tick(now(at.ms + ms), &mut || 0);
        while node.poll().is_some() {}
    }
    assert!(node.nodes.contains_key(&public(2)) && !node.nodes.contains_key(&public(3)));
}

/// A request for peers, or to be a neighbour, of somebody that never answered a ping: its address may be another's.
#[test]
fn nobody_is_believed_before_it_answered() {
    let mut world = World::new(1, "net");
    let node = world.nodes.get_mut(&1).unwrap();
    for data in [wire::peers_request(1_700_000_000), wire::request(1_700_000_000, [1; 20], 1_700_009_999)] {
        node.receive(&wire::seal(data, &key(2)), address(2), now(0));
    }
    assert_eq!(node.poll(), None);
}

/// SHA-256 of keys of 32 bytes 1 and 2, as Python's hashlib gives them; FNV-1a of HORNET's tests' names, as Go's hash/fnv does.
#[test]
fn distances_and_names_are_those_of_hornet() {
    let salt = Salt { bytes: *b"0123456789abcdefghij", expires: 0 };
    assert_eq!(distance(&[1; 32], &[2; 32], &salt), 4_096_811_579);
    assert_eq!((fnv(""), fnv("a"), fnv("foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
}

#[test]
fn messages_come_back_as_they_were() {
    let peers = (0..9_u8).map(|seed| Told {
        key: [seed; 32],
        ip: if seed % 2 == 0 {
            [192, 0, 2, seed].into()
        } else {
            "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()
        },
        ports: wire::Ports { peering: 14_626, gossip: Some(15_600) },
    });
    let peers = peers.collect::<Vec<_>>();
    let sealed = wire::seal(wire::peers(b"request", &peers, "private_tangle1"), &key(3));
    assert!(sealed.len() <= wire::MAX_BYTES);
    let (from, data) = wire::open(&sealed).unwrap();
    assert_eq!(from, public(3));
    let expected = Message::Peers { request: wire::hash(b"request"), peers: peers[..6].to_vec() };
    assert_eq!(wire::parse(&data, "private_tangle1"), Some(expected));
    let hidden = peers[..6]
        .iter()
        .map(|told| Told { ports: wire::Ports { peering: 14_626, gossip: None }, ..told.clone() });
    let expected = Message::Peers { request: wire::hash(b"request"), peers: hidden.collect() };
    assert_eq!(wire::parse(&data, "another"), Some(expected));
}
