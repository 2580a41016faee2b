//! A store that engine and store themselves make of a recorded network.

use std::path::Path;
use std::sync::Arc;

use osmia::engine::effect::Effect;
use osmia::engine::{Engine, Network, Origin, Start, checked};
use osmia::ledger::authority::{Authority, KeyRange};
use osmia::protocol::hex;
use osmia::protocol::id::MilestoneIndex;
use osmia::snapshot::full::FullReader;
use osmia::snapshot::load::load;
use osmia::snapshot::{Base, delta::DeltaReader};
use osmia::store::{Limits, Store};

use crate::recording::{Recording, text};

/// Who signs a recorded network's milestones.
pub(crate) fn authority(recording: &Recording) -> Authority {
    let network = recording.network();
    let range = |range: &serde_json::Value| KeyRange {
        public_key: hex::decode_array("key", &format!("0x{}", text(&range["key"]))).unwrap(),
        start: MilestoneIndex(0),
        end: MilestoneIndex(0),
    };
    let keys = network["publicKeyRanges"].as_array().unwrap().iter().map(range).collect();
    let threshold = usize::try_from(network["milestonePublicKeyCount"].as_u64().unwrap()).unwrap();
    Authority { keys, threshold }
}

/// Puts a network's genesis into an empty store.
pub(crate) fn found(recording: &Recording, store: &mut Store) -> Base {
    let genesis = std::fs::read(recording.folder.join("genesis_full.bin")).unwrap();
    let full = FullReader::new(genesis.as_slice()).unwrap();
    let base = load(full, None::<DeltaReader<&[u8]>>, store).unwrap().base;
    store.found(&base).unwrap();
    base
}

/// Replays all of it, one block after the other; `committed` sees the store after each milestone.
pub(crate) fn build(
    recording: &Recording,
    folder: &Path,
    limits: Limits,
    mut committed: impl FnMut(&mut Store, MilestoneIndex),
) -> Store {
    let mut store = Store::open(folder, text(&recording.network()["networkName"]), limits).unwrap();
    let base = found(recording, &mut store);
    store.recover(0).unwrap();
    let network = Network { params: base.schedule.active.clone(), authority: authority(recording) };
    let reader = store.reader();
    let mut engine = Engine::new(Start::at(&base));
    for bytes in recording.blocks() {
        let block = checked::check(&network, Arc::from(bytes)).unwrap();
        engine.submit(&reader, block, Origin::Replayed, 0).unwrap();
        loop {
            while let Some(effect) = engine.poll() {
                match effect {
                    Effect::Store { id, bytes, forward: _ } => store.put_block(&id, &bytes, false).unwrap(),
                    Effect::Request { .. } => {}
                    Effect::Commit(confirmation) => {
                        store.commit(&confirmation).unwrap();
                        committed(&mut store, confirmation.stamp.index);
                    }
                }
            }
            if !engine.advance(&reader).unwrap() {
                break;
            }
        }
    }
    store
}
