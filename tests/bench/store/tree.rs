//! The layout that comes to mind first: one sled database, one tree for each kind of record, pruned key by key.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use osmia::ledger::Booked;
use sled_ledger as sled;

use super::{Engine, Load, disk_bytes, ledger_bytes};

/// Keys of a milestone: its blocks, the outputs that it spent.
type Kept = (Vec<[u8; 32]>, Vec<Vec<u8>>);

struct OneTree {
    db: sled::Db,
    block: sled::Tree,
    meta: sled::Tree,
    unspent: sled::Tree,
    spent: sled::Tree,
    path: PathBuf,
    window: usize,
    /// Keys of each milestone: read from the database by a real node.
    kept: VecDeque<Kept>,
}

pub(super) fn open(folder: &Path, window: u32) -> Option<Box<dyn Engine>> {
    let config =
        sled::Config::new().path(folder.join("db")).cache_capacity(64 << 20).flush_every_ms(Some(5_000));
    let db = config.open().unwrap();
    let tree = |name: &str| db.open_tree(name).unwrap();
    let (block, meta, unspent, spent) = (tree("block"), tree("meta"), tree("unspent"), tree("spent"));
    let window = usize::try_from(window).unwrap();
    let path = folder.join("db");
    Some(Box::new(OneTree { block, meta, unspent, spent, path, window, kept: VecDeque::new(), db }))
}

impl Engine for OneTree {
    fn begin(&mut self, outputs: Vec<Booked>) {
        for output in outputs {
            self.unspent.insert(output.id.pack(), output.to_bytes()).unwrap();
        }
        self.db.flush().unwrap();
    }

    fn milestone(&mut self, load: Load) -> Duration {
        for (number, (id, bytes)) in (0_u32..).zip(&load.blocks) {
            self.block.insert(id, bytes.as_slice()).unwrap();
            let meta = [load.index.to_be_bytes(), number.to_be_bytes()].concat();
            self.meta.insert(id, meta).unwrap();
        }
        for output in &load.created {
            self.unspent.insert(output.id.pack(), output.to_bytes()).unwrap();
        }
        for output in &load.consumed {
            self.unspent.remove(output.id.pack()).unwrap();
            self.spent.insert(output.id.pack(), output.to_bytes()).unwrap();
        }
        let ids = load.blocks.iter().map(|(id, _)| *id).collect();
        let outputs = load.consumed.iter().map(|output| output.id.pack().to_vec()).collect();
        self.kept.push_back((ids, outputs));
        let started = Instant::now();
        if self.kept.len() > self.window
            && let Some((ids, outputs)) = self.kept.pop_front()
        {
            for id in ids {
                self.block.remove(id).unwrap();
                self.meta.remove(id).unwrap();
            }
            for id in outputs {
                self.spent.remove(id).unwrap();
            }
        }
        let stall = started.elapsed();
        self.db.insert("marker", &load.index.to_be_bytes()).unwrap();
        self.db.flush().unwrap();
        File::open(self.path.join("db")).unwrap().sync_all().unwrap();
        stall
    }

    fn block_bytes(&self, folder: &Path) -> u64 {
        disk_bytes(folder).saturating_sub(ledger_bytes())
    }

    fn end(self: Box<Self>) {
        self.db.flush().unwrap();
    }
}
