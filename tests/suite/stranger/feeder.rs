//! A peer that has a recorded network, up to a milestone that a test sets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use osmia::gossip::wire::{self, Heartbeat, Message};
use osmia::protocol::block::{self, Block};
use osmia::protocol::id::{BlockId, MilestoneIndex};

use super::script::Script;
use crate::recording::Recording;

/// HORNET wants one every 100 s at least.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);

/// Blocks of the network by id, and its milestones.
struct Library {
    blocks: HashMap<BlockId, Vec<u8>>,
    milestones: HashMap<u32, Vec<u8>>,
}

impl Library {
    fn of(recording: &Recording) -> Self {
        let (mut blocks, mut milestones) = (HashMap::new(), HashMap::new());
        let genuine = recording.lines("blocks_json.jsonl");
        for (bytes, line) in recording.blocks().into_iter().zip(genuine) {
            // Three blocks have the payload of a milestone and are none.
            if let Some(index) = line["metadata"]["milestoneIndex"].as_u64() {
                let payload = Block::parse(&bytes).unwrap().milestone().unwrap().clone();
                milestones.insert(u32::try_from(index).unwrap(), Block::of_milestone(payload).pack());
            }
            blocks.insert(block::id_of(&bytes), bytes);
        }
        Self { blocks, milestones }
    }
}

pub(crate) struct Feeder {
    /// What the node is to dial.
    pub(crate) address: String,
    solid: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Waits for the node, and answers it until this is dropped.
    pub(crate) fn start(recording: &Recording, protocol: &str) -> Self {
        let library = Library::of(recording);
        let mut script = Script::start(protocol);
        let (_, address) = script.host("feeder", true);
        let (solid, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (upto, stopped) = (solid.clone(), stop.clone());
        let thread = std::thread::spawn(move || serve(&mut script, &library, &upto, &stopped));
        Self { address: address.unwrap(), solid, stop, thread: Some(thread) }
    }

    /// From now on it has the network up to this milestone.
    pub(crate) fn advance(&self, index: u32) {
        self.solid.store(index, Ordering::Relaxed);
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its failure is seen as that of the test.
            let _ = thread.join();
        }
    }
}

fn serve(script: &mut Script, library: &Library, solid: &AtomicU32, stop: &AtomicBool) {
    let mut streams = Vec::new();
    let (mut told, mut when) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let event = script.event(Duration::from_millis(50));
        let upto = solid.load(Ordering::Relaxed);
        if let Some(event) = event {
            let stream = event["stream"].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str().unwrap() {
                "open" => {
                    script.write(&stream, &heartbeat(upto));
                    streams.push(stream);
                }
                "closed" => streams.retain(|open| *open != stream),
                "data" => answer(script, library, &stream, upto),
                _ => {}
            }
        }
        if upto != told || when.elapsed() > HEARTBEAT_EVERY {
            (told, when) = (upto, Instant::now());
            streams.iter().for_each(|stream| script.write(stream, &heartbeat(upto)));
        }
    }
}

fn answer(script: &mut Script, library: &Library, stream: &str, upto: u32) {
    let received = std::mem::take(script.take(stream));
    let (mut at, mut answers) = (0, Vec::new());
    while let Some((message, length)) = wire::parse(&received[at..]).unwrap() {
        let found = match message {
            Message::MilestoneRequest(MilestoneIndex(0)) => library.milestones.get(&upto),
            Message::MilestoneRequest(MilestoneIndex(index)) if index <= upto => {
                library.milestones.get(&index)
            }
            Message::BlockRequest(id) => library.blocks.get(&id),
            Message::MilestoneRequest(_) | Message::Block(_) | Message::Heartbeat(_) => None,
        };
        answers.extend(found.iter().flat_map(|bytes| Message::Block(bytes).pack()));
        at += length;
    }
    *script.take(stream) = received[at..].to_vec();
    if !answers.is_empty() {
        script.write(stream, &answers);
    }
}

/// That of a peer whose newest milestone is `solid`.
pub(crate) fn heartbeat(solid: u32) -> Vec<u8> {
    let index = MilestoneIndex(solid);
    let pruned = MilestoneIndex(0);
    Message::Heartbeat(Heartbeat { solid: index, pruned, latest: index, connected: 1, synced: 1 }).pack()
}
