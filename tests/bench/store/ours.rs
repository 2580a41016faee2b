//! This project's store, as the engine uses it.

use std::path::Path;
use std::time::{Duration, Instant};

use osmia::config::Config;
use osmia::engine::effect::Confirmation;
use osmia::ledger::{Booked, Delta, Inclusion, Referenced, Spent};
use osmia::protocol::block::Parents;
use osmia::protocol::id::{BlockId, MilestoneId, MilestoneIndex, TransactionId};
use osmia::protocol::milestone::{Essence, Milestone, Signature};
use osmia::snapshot::{genesis, load::Target};
use osmia::store::{Limits, Store};

use super::{Engine, Load, disk_bytes};

struct Ours(Store);

pub(super) fn open(folder: &Path, window: u32) -> Option<Box<dyn Engine>> {
    let limits = Limits { keep_milestones: window, live_milestones: 20, cache_bytes: 8 << 20 };
    let mut store = Store::open(folder, "bench", limits).unwrap();
    if !store.is_empty().unwrap() {
        store.recover(20).unwrap();
    }
    Some(Box::new(Ours(store)))
}

fn confirmation(load: &Load) -> Confirmation {
    let essence = Essence {
        index: MilestoneIndex(load.index),
        timestamp: load.index,
        protocol_version: 2,
        previous: MilestoneId::ZERO,
        parents: Parents::new(vec![BlockId::ZERO]).unwrap(),
        inclusion_merkle_root: [1; 32],
        applied_merkle_root: [2; 32],
        metadata: Vec::new(),
        options: Default::default(),
    };
    let signature = Signature { public_key: [3; 32], signature: [4; 64] };
    let milestone = Milestone::new(essence, vec![signature]).unwrap();
    let referenced = |id: &[u8; 32]| Referenced { id: BlockId(*id), inclusion: Inclusion::NoTransaction };
    let spent = |booked: &Booked| Spent { booked: booked.clone(), transaction: TransactionId([6; 32]) };
    Confirmation {
        block_id: BlockId([5; 32]),
        stamp: milestone.essence.stamp(),
        milestone,
        referenced: load.blocks.iter().map(|(id, _)| referenced(id)).collect(),
        delta: Delta {
            created: load.created.clone(),
            consumed: load.consumed.iter().map(spent).collect(),
            treasury: None,
        },
        schedule: None,
    }
}

impl Engine for Ours {
    fn begin(&mut self, outputs: Vec<Booked>) {
        for output in outputs {
            Target::insert(&mut self.0, output).unwrap();
        }
        let params = Config::parse("[coordinator]\nenabled = true\n").unwrap().network.params;
        self.0.found(&genesis::base(params)).unwrap();
        self.0.recover(0).unwrap();
    }

    fn milestone(&mut self, load: Load) -> Duration {
        let confirmation = confirmation(&load);
        for (id, bytes) in &load.blocks {
            self.0.put_block(&BlockId(*id), bytes, false).unwrap();
        }
        let before = self.0.pruning_index().unwrap();
        let started = Instant::now();
        self.0.commit(&confirmation).unwrap();
        let pruned = self.0.pruning_index().unwrap() > before;
        // The whole commit in which an epoch vanished: more than what pruning took of it.
        if pruned { started.elapsed() } else { Duration::ZERO }
    }

    fn block_bytes(&self, folder: &Path) -> u64 {
        disk_bytes(folder) - disk_bytes(&folder.join("ledger"))
    }

    fn end(self: Box<Self>) {
        self.0.close().unwrap();
    }
}
