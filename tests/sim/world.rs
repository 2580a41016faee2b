//! The world between the nodes: time, connections that delay and lose, partitions, power cuts, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osmia::gossip::peer::Relation;
use osmia::protocol::blake2b_256;
use osmia::protocol::id::{BlockId, MilestoneIndex};

use crate::attacker::{Attacker, Kind};
use crate::node::{Confirmed, Disk, Node, SUPPLY, Wish};
use crate::random::Random;
use crate::reference::{self, Fate, Reference};
use crate::wallet;

/// Trouble until then; afterwards the network is left in peace, but for attackers.
const TROUBLE_MS: u64 = 120_000;

/// What clients attach in this time has to be referenced everywhere. Until then, somebody may still build on what was
/// attached in trouble, which is too deep before long.
const CALM_MS: std::ops::Range<u64> = 160_000..200_000;

/// Everybody has to be in step by then.
const END_MS: u64 = 240_000;

const MILESTONE_MS: u64 = 2_500;

/// Bytes of blocks that a node may hold because their past cone is missing: what two attackers send within a minute, and what
/// comes after a partition.
const MOST_HELD: usize = 3 << 20;

/// What may be left of both at the end, without attackers.
const LEFT_HELD: usize = 16 << 10;
const LEFT_WANTED: usize = 16;

/// Things that a node may want at a time: what no milestone needs is bounded to two thousand.
const MOST_WANTED: usize = 3_500;

#[derive(Debug)]
enum Event {
    Deliver { from: usize, to: usize, connection: u64, bytes: Arc<[u8]> },
    Dial { from: usize, to: usize },
    Tick { node: usize, life: u32 },
    Milestone { life: u32 },
    Issue { node: usize, life: u32 },
    Crash { node: usize },
    Restart { node: usize },
    Partition,
    Heal,
    Attack { attacker: usize },
    Peace,
}

enum Actor {
    Alive(Box<Node>),
    Down(Disk),
    Attacker(Attacker),
}

pub(crate) struct World {
    random: Random,
    now_ms: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    actors: Vec<Actor>,
    lives: Vec<u32>,
    /// By both ends, the lower first: number of the connection.
    connections: BTreeMap<(usize, usize), u64>,
    /// Those on one side of a partition.
    apart: BTreeSet<usize>,
    honest: usize,
    /// What each milestone has to do: what becomes of which block, and the ledger afterwards.
    confirmed: BTreeMap<MilestoneIndex, (Vec<Fate>, [u8; 32])>,
    reference: Reference,
    /// Blocks that clients were told are there, issued in peace.
    issued: Vec<(u64, usize, BlockId)>,
    loss: u64,
    trace: [u8; 32],
    /// Bytes that a node held, and things that it wanted.
    most: (usize, usize),
    pub(crate) talkative: bool,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: [u8; 32],
    pub(crate) milestones: u32,
    pub(crate) blocks: usize,
    /// Transactions that changed the ledger.
    pub(crate) transfers: usize,
    /// Most bytes of blocks that a node held because their past cone was missing, and most things that it wanted.
    pub(crate) most: (usize, usize),
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let honest = 3 + random.below(3);
        let attackers = random.below(3);
        let mut actors: Vec<Actor> =
            (0..honest).map(|_| Actor::Alive(Box::new(Node::start(Disk::founded(), 0)))).collect();
        for _ in 0..attackers {
            let kind = Kind::ALL[random.below(Kind::ALL.len())];
            actors.push(Actor::Attacker(Attacker::new(kind)));
        }
        let loss = [u64::MAX, 200, 50, 20][random.below(4)];
        let mut world = Self {
            lives: vec![0; actors.len()],
            random,
            now_ms: 0,
            sequence: 0,
            events: BTreeMap::new(),
            actors,
            connections: BTreeMap::new(),
            apart: BTreeSet::new(),
            honest,
            confirmed: BTreeMap::new(),
            reference: Reference::new(wallet::genesis(SUPPLY)),
            issued: Vec::new(),
            loss,
            trace: [0; 32],
            most: (0, 0),
            talkative: false,
        };
        world.plan();
        world
    }

    /// A line of nodes at least, more connections by chance; what happens to them.
    fn plan(&mut self) {
        for node in 0..self.honest {
            self.at(0, Event::Tick { node, life: 0 });
            let start = self.random.range(500, 3_000);
            self.at(start, Event::Issue { node, life: 0 });
            for other in 0..node {
                if other + 1 == node || self.random.once_in(2) {
                    let start = self.random.range(0, 1_000);
                    self.at(start, Event::Dial { from: node, to: other });
                }
            }
        }
        self.at(1_000, Event::Milestone { life: 0 });
        for attacker in self.honest..self.actors.len() {
            for victim in 0..self.honest {
                let start = self.random.range(0, 60_000);
                self.at(start, Event::Dial { from: attacker, to: victim });
            }
            self.at(1_000, Event::Attack { attacker });
        }
        for _ in 0..self.random.below(6) {
            let (node, when) =
                (self.random.below(self.honest), self.random.range(5_000, TROUBLE_MS - 20_000));
            self.at(when, Event::Crash { node });
        }
        for _ in 0..self.random.below(3) {
            let when = self.random.range(5_000, TROUBLE_MS - 20_000);
            let end = when + self.random.range(1_000, 60_000);
            self.at(when, Event::Partition);
            self.at(end.min(TROUBLE_MS - 1), Event::Heal);
        }
        self.at(TROUBLE_MS, Event::Peace);
    }

    fn at(&mut self, when_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((when_ms.max(self.now_ms), self.sequence), event);
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Result<Outcome, String> {
        while let Some(((now_ms, sequence), event)) = self.events.pop_first() {
            if now_ms > END_MS {
                break;
            }
            self.now_ms = now_ms;
            if self.talkative {
                eprintln!("{now_ms:>7} {}", shown(&event));
            }
            self.note(sequence, &event);
            self.happen(event)?;
        }
        self.judge()?;
        let milestones = self.confirmed.last_key_value().map_or(0, |(index, _)| index.0);
        let fates = self.confirmed.values().flat_map(|(fates, _)| fates);
        let transfers = fates.filter(|(_, applied)| *applied == Some(true)).count();
        let (trace, most) = (self.trace, self.most);
        Ok(Outcome { trace, milestones, blocks: self.issued.len(), transfers, most })
    }

    fn note(&mut self, sequence: u64, event: &Event) {
        let text = format!("{} {sequence} {}", self.now_ms, shown(event));
        self.trace = blake2b_256(&[&self.trace[..], text.as_bytes()].concat());
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let now_ms = self.now_ms;
        match event {
            Event::Deliver { from, to, connection, bytes } => {
                if self.connections.get(&pair(from, to)) != Some(&connection) {
                    return Ok(());
                }
                match &mut self.actors[to] {
                    Actor::Alive(node) => node.receive(from, &bytes, now_ms),
                    Actor::Attacker(attacker) => attacker.hear(&bytes, &mut self.random),
                    Actor::Down(_) => {}
                }
                self.after(to)
            }
            Event::Dial { from, to } => {
                let again = now_ms + self.random.range(2_000, 8_000);
                self.at(again, Event::Dial { from, to });
                self.connect(from, to)
            }
            Event::Tick { node, life } => {
                if let Some(alive) = self.alive(node, life) {
                    alive.tick(now_ms);
                    self.at(now_ms + 250, Event::Tick { node, life });
                }
                self.after(node)
            }
            Event::Milestone { life } => {
                if life == self.lives[0] {
                    self.at(now_ms + MILESTONE_MS, Event::Milestone { life });
                    if let Actor::Alive(node) = &mut self.actors[0] {
                        node.issue_milestone(&mut self.random, now_ms);
                    }
                }
                self.after(0)
            }
            Event::Issue { node, life } => {
                if life == self.lives[node] {
                    let next = now_ms + self.random.range(200, 4_000);
                    self.at(next, Event::Issue { node, life });
                    if let Actor::Alive(alive) = &mut self.actors[node]
                        && let Some(id) = alive.issue(&mut self.random, now_ms)
                        && CALM_MS.contains(&now_ms)
                    {
                        self.issued.push((now_ms, node, id));
                    }
                }
                self.after(node)
            }
            Event::Crash { node } => {
                // In the middle of what it does, or between.
                let commits = u32::try_from(self.random.below(3)).unwrap_or(0);
                match &mut self.actors[node] {
                    Actor::Alive(alive) if commits > 0 => alive.crash_after(commits),
                    Actor::Alive(_) | Actor::Down(_) | Actor::Attacker(_) => self.crash(node),
                }
                Ok(())
            }
            Event::Restart { node } => {
                if let Actor::Down(disk) = &mut self.actors[node] {
                    let disk = disk.clone();
                    self.actors[node] = Actor::Alive(Box::new(Node::start(disk, now_ms)));
                    self.lives[node] += 1;
                    let life = self.lives[node];
                    self.at(now_ms, Event::Tick { node, life });
                    self.at(now_ms + 500, Event::Issue { node, life });
                    if node == 0 {
                        self.at(now_ms + 1_000, Event::Milestone { life });
                    }
                }
                self.after(node)
            }
            Event::Partition => {
                self.apart = (0..self.actors.len()).filter(|_| self.random.once_in(2)).collect();
                let cut =
                    |(one, other): &(usize, usize)| self.apart.contains(one) != self.apart.contains(other);
                let cut = self.connections.keys().filter(|pair| cut(pair)).copied().collect::<Vec<_>>();
                cut.into_iter().for_each(|(one, other)| self.disconnect(one, other));
                Ok(())
            }
            Event::Heal => {
                self.apart.clear();
                Ok(())
            }
            Event::Attack { attacker } => {
                let next = now_ms + self.random.range(300, 3_000);
                self.at(next, Event::Attack { attacker });
                let index = self.confirmed.len().try_into().unwrap_or(u32::MAX);
                for victim in 0..self.honest {
                    if self.connections.contains_key(&pair(attacker, victim))
                        && let Actor::Attacker(actor) = &self.actors[attacker]
                    {
                        let bytes = actor.act(index, &mut self.random);
                        self.send(attacker, victim, bytes.into());
                    }
                }
                Ok(())
            }
            Event::Peace => {
                self.apart.clear();
                self.loss = u64::MAX;
                Ok(())
            }
        }
    }

    fn alive(&mut self, node: usize, life: u32) -> Option<&mut Node> {
        match &mut self.actors[node] {
            Actor::Alive(alive) if self.lives[node] == life => Some(alive),
            Actor::Alive(_) | Actor::Down(_) | Actor::Attacker(_) => None,
        }
    }

    fn crash(&mut self, node: usize) {
        let ends = self.connections.keys().filter(|(one, other)| *one == node || *other == node);
        for (one, other) in ends.copied().collect::<Vec<_>>() {
            self.disconnect(one, other);
        }
        let actor = std::mem::replace(&mut self.actors[node], Actor::Down(Disk::founded()));
        self.actors[node] = match actor {
            Actor::Alive(alive) => {
                let back = self.now_ms + self.random.range(100, 20_000);
                self.at(back, Event::Restart { node });
                Actor::Down(alive.crash())
            }
            down @ (Actor::Down(_) | Actor::Attacker(_)) => down,
        };
    }

    fn connect(&mut self, from: usize, to: usize) -> Result<(), String> {
        let reachable = self.apart.contains(&from) == self.apart.contains(&to);
        let up = |actor: &Actor| !matches!(actor, Actor::Down(_));
        if !reachable
            || self.connections.contains_key(&pair(from, to))
            || !up(&self.actors[from])
            || !up(&self.actors[to])
        {
            return Ok(());
        }
        self.sequence += 1;
        self.connections.insert(pair(from, to), self.sequence);
        let index = self.confirmed.len().try_into().unwrap_or(u32::MAX);
        for (here, there) in [(from, to), (to, from)] {
            let relation = if there < self.honest { Relation::Known } else { Relation::Unknown };
            match &mut self.actors[here] {
                Actor::Alive(node) => node.connected(there, relation, self.now_ms),
                Actor::Attacker(attacker) => {
                    let bytes = attacker.greet(index);
                    self.send(here, there, bytes.into());
                }
                Actor::Down(_) => {}
            }
            self.after(here)?;
        }
        Ok(())
    }

    fn disconnect(&mut self, one: usize, other: usize) {
        if self.connections.remove(&pair(one, other)).is_some() {
            for (here, there) in [(one, other), (other, one)] {
                if let Actor::Alive(node) = &mut self.actors[here] {
                    node.gone(there, self.now_ms);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: Arc<[u8]>) {
        let Some(connection) = self.connections.get(&pair(from, to)).copied() else { return };
        // A frame that its sender's queue had no room for.
        if self.random.once_in(self.loss) {
            return;
        }
        let when = self.now_ms + self.random.range(5, 300);
        // A slow loris must not be overtaken by its own bytes: those are in pieces of frames.
        let in_pieces = matches!(&self.actors[from], Actor::Attacker(actor) if actor.kind == Kind::SlowLoris);
        let when = if in_pieces { self.now_ms + 1 } else { when };
        self.at(when, Event::Deliver { from, to, connection, bytes });
    }

    /// Does what a node wishes, and looks at what it has done.
    fn after(&mut self, number: usize) -> Result<(), String> {
        let mut queue = vec![number];
        while let Some(number) = queue.pop() {
            let Actor::Alive(node) = &mut self.actors[number] else { continue };
            if let Some(halt) = node.halted() {
                return Err(format!("node {number} halted: {halt}"));
            }
            let (held, wanted) = node.load();
            self.most = (self.most.0.max(held), self.most.1.max(wanted));
            if held > MOST_HELD || wanted > MOST_WANTED {
                return Err(format!("node {number}: {held} bytes held, {wanted} things wanted"));
            }
            let (wishes, confirmed) = (node.wishes(), std::mem::take(&mut node.confirmed));
            for Confirmed { milestone, referenced, ledger } in confirmed {
                let index = milestone.essence.index;
                if !self.confirmed.contains_key(&index) {
                    let fates = self.reference.confirm(&milestone, &|id| node.bytes(id));
                    let fates =
                        fates.map_err(|problem| format!("reference, milestone {index}: {problem}"))?;
                    self.confirmed.insert(index, (fates, self.reference.digest()));
                }
                let (fates, expected) = &self.confirmed[&index];
                if *fates != reference::fates(&referenced) {
                    return Err(format!("node {number} sees another milestone {index}"));
                }
                if *expected != ledger {
                    return Err(format!("node {number} has another ledger after milestone {index}"));
                }
            }
            if node.is_dead() {
                self.crash(number);
                continue;
            }
            for wish in wishes {
                match wish {
                    Wish::Send { to, bytes } => self.send(number, to, bytes),
                    Wish::Close { peer } => {
                        self.disconnect(number, peer);
                        queue.push(peer);
                    }
                }
            }
        }
        Ok(())
    }

    /// After a time of peace, all are in step, and nothing that was acknowledged is missing anywhere.
    fn judge(&self) -> Result<(), String> {
        let newest = self.confirmed.last_key_value().map_or(0, |(index, _)| index.0);
        let least = u32::try_from((END_MS - TROUBLE_MS) / MILESTONE_MS).unwrap_or(u32::MAX) - 4;
        if newest < least {
            return Err(format!("only {newest} milestones, at least {least} were due in peace"));
        }
        for (number, actor) in self.actors.iter().enumerate() {
            let node = match actor {
                Actor::Alive(node) => node,
                Actor::Down(_) => return Err(format!("node {number} is down")),
                Actor::Attacker(_) => continue,
            };
            if node.index().0 + 2 < newest {
                return Err(format!("node {number} is behind {newest}: {}", node.state()));
            }
            // Nothing stays that nobody needs: a milestone may be on its way.
            let (held, wanted) = node.load();
            if self.actors.len() == self.honest && (held > LEFT_HELD || wanted > LEFT_WANTED) {
                return Err(format!("node {number} still holds {held} bytes and wants {wanted} things"));
            }
            let lost = self.issued.iter().find(|(_, _, id)| node.referenced(id).is_none());
            if let Some((when, by, id)) = lost {
                let known = self.actors.iter().filter_map(|actor| match actor {
                    Actor::Alive(node) => Some(node.outlook(id)),
                    Actor::Down(_) | Actor::Attacker(_) => None,
                });
                let known = known.collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "node {number}: block {id}, issued by node {by} at {when} ms, is not referenced: {known}"
                ));
            }
        }
        Ok(())
    }
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

fn shown(event: &Event) -> String {
    match event {
        Event::Deliver { from, to, bytes, .. } => {
            let hash = blake2b_256(bytes);
            format!("{from} -> {to}: {} bytes, {:02x}{:02x}", bytes.len(), hash[0], hash[1])
        }
        other @ (Event::Dial { .. }
        | Event::Tick { .. }
        | Event::Milestone { .. }
        | Event::Issue { .. }
        | Event::Crash { .. }
        | Event::Restart { .. }
        | Event::Partition
        | Event::Heal
        | Event::Attack { .. }
        | Event::Peace) => format!("{other:?}"),
    }
}
