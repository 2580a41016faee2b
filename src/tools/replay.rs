//! Feeds a recorded network through the real engine and store, and compares each milestone with what was recorded.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::Serialize;

use super::recording::{self, Expected, Recording};
use crate::engine::checked;
use crate::engine::effect::{Confirmation, Effect};
use crate::engine::{self, Engine, Network, Origin};
use crate::ledger::Inclusion;
use crate::protocol::hex;
use crate::protocol::id::{MilestoneIndex, OutputId};
use crate::snapshot::delta::DeltaReader;
use crate::snapshot::full::FullReader;
use crate::snapshot::hash::LedgerHash;
use crate::snapshot::{Base, load};
use crate::store::{Limits, Reader, Store};

/// Where to begin, and where to keep the store.
#[derive(Debug)]
pub(super) struct Start {
    /// Instead of the recording's genesis.
    pub(super) full: Option<PathBuf>,
    pub(super) delta: Option<PathBuf>,
    /// Instead of a folder that is deleted afterwards.
    pub(super) data: Option<PathBuf>,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) milestones: u32,
    pub(super) blocks: u32,
    pub(super) differences: u32,
    ledger_index: u32,
    ledger_hash: String,
    /// The first of each milestone.
    found: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ledger hash at {}: {}", self.ledger_index, self.ledger_hash)?;
        let Self { milestones, blocks, differences, .. } = self;
        write!(f, "replayed {milestones} milestones, {blocks} blocks, {differences} differences")
    }
}

/// Everything is kept: nothing is pruned during a replay.
const LIMITS: Limits = Limits { keep_milestones: u32::MAX, live_milestones: 5, cache_bytes: 8 << 20 };

/// Replays all of it. `say` gets each line as soon as it is known.
///
/// # Errors
/// Files that cannot be read, blocks that are refused, a folder that is not new.
pub(super) fn run(
    recording: &Recording,
    start: &Start,
    say: impl FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<Report> {
    let folder = match &start.data {
        Some(folder) => {
            anyhow::ensure!(!folder.exists(), "{}: exists already; name a new folder", folder.display());
            folder.clone()
        }
        None => std::env::temp_dir().join(format!("osmia-replay-{}", std::process::id())),
    };
    let report = replay(recording, start, &folder, say);
    if start.data.is_none() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    report
}

fn replay(
    recording: &Recording,
    start: &Start,
    folder: &Path,
    say: impl FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<Report> {
    let mut store = Store::open(folder, &recording.network_name, LIMITS)?;
    let full = start.full.clone().unwrap_or_else(|| recording.genesis());
    let base = import(&mut store, &full, start.delta.as_deref())?;
    store.recover(0)?;
    let network = Network { params: base.schedule.active.clone(), authority: recording.authority.clone() };
    let reader = store.reader();
    let engine = Engine::new(engine::Start::at(&base));
    let mut run = Run { recording, engine, reader, store, report: Report::default(), say };
    run.compare_hash(&base, true)?;
    for bytes in recording.blocks()? {
        let checked = checked::check(&network, Arc::from(bytes?))?;
        run.report.blocks += 1;
        run.engine.submit(&run.reader, checked, Origin::Replayed, 0)?;
        run.settle(&base)?;
    }
    run.end()
}

/// Fills a store with the ledger of snapshot files.
fn import(store: &mut Store, full: &Path, delta: Option<&Path>) -> anyhow::Result<Base> {
    let names = || {
        let delta = delta.map(|path| path.display().to_string()).unwrap_or_default();
        format!("{} {delta}", full.display())
    };
    let reader = FullReader::new(recording::open(full)?).with_context(names)?;
    let delta_reader = delta.map(|path| Ok::<_, anyhow::Error>(DeltaReader::new(recording::open(path)?)?));
    let base =
        load::load(reader, delta_reader.transpose().with_context(names)?, store).with_context(names)?.base;
    store.found(&base)?;
    Ok(base)
}

struct Run<'a, S> {
    recording: &'a Recording,
    engine: Engine,
    reader: Reader,
    store: Store,
    report: Report,
    say: S,
}

impl<S: FnMut(&str) -> io::Result<()>> Run<'_, S> {
    /// Does what the engine asks for, until it asks for nothing more.
    fn settle(&mut self, base: &Base) -> anyhow::Result<()> {
        loop {
            while let Some(effect) = self.engine.poll() {
                match effect {
                    Effect::Store { id, bytes, forward: _ } => self.store.put_block(&id, &bytes, false)?,
                    // There is nobody to ask.
                    Effect::Request { .. } => {}
                    Effect::Commit(confirmation) => {
                        self.store.commit(&confirmation)?;
                        self.compare(&confirmation)?;
                        self.compare_hash(base, false)?;
                    }
                }
            }
            if !self.engine.advance(&self.reader)? {
                return Ok(());
            }
        }
    }

    fn differs(&mut self, what: String) -> anyhow::Result<()> {
        self.report.differences += 1;
        (self.say)(&what)?;
        self.report.found.push(what);
        Ok(())
    }

    fn compare(&mut self, confirmation: &Confirmation) -> anyhow::Result<()> {
        let index = confirmation.stamp.index;
        self.report.milestones += 1;
        let difference = match self.recording.expected.get(&index) {
            None => Some("not in the recording".to_owned()),
            Some(expected) => difference(confirmation, expected),
        };
        match difference {
            Some(difference) => self.differs(format!("milestone {index}: {difference}")),
            None => Ok(()),
        }
    }

    /// Compares the ledger with those recorded hashes that belong to the index it is at.
    fn compare_hash(&mut self, base: &Base, at_base: bool) -> anyhow::Result<()> {
        let index = self.engine.confirmed().index;
        for (name, expected) in &self.recording.hashes {
            if MilestoneIndex(expected.ledger_index) != index {
                continue;
            }
            let (without, with) = self.ledger_hash(base)?;
            if without != expected.without_seps {
                return self.differs(format!("ledger hash at {index} ({name}): {without}"));
            }
            // Solid entry points are those of the snapshot that was loaded.
            if let Some(expected) =
                expected.with_seps.as_ref().filter(|expected| at_base && **expected != with)
            {
                return self.differs(format!(
                    "ledger hash at {index} ({name}) with solid entry points: {with}, not {expected}"
                ));
            }
        }
        Ok(())
    }

    fn ledger_hash(&self, base: &Base) -> anyhow::Result<(String, String)> {
        let mut hash = LedgerHash::new(self.engine.confirmed().index, self.reader.treasury()?);
        for output in self.reader.all_unspent() {
            hash.add(&output?);
        }
        let (without, with) = hash.finish(base.entry_points.clone());
        let text = |hash: [u8; 32]| hex::encode(&hash).trim_start_matches("0x").to_owned();
        Ok((text(without), text(with)))
    }

    fn end(mut self) -> anyhow::Result<Report> {
        if let Some(halt) = self.engine.halted().map(ToString::to_string) {
            self.differs(halt)?;
        }
        let last = self.recording.expected.keys().next_back().copied().unwrap_or_default();
        let reached = self.engine.confirmed().index;
        if reached != last {
            self.differs(format!("ended at milestone {reached}, the recording at {last}"))?;
        }
        let base = self.reader.base()?.context("the store lost its base")?;
        self.report.ledger_index = reached.0;
        self.report.ledger_hash = self.ledger_hash(&base)?.0;
        Ok(self.report)
    }
}

/// The first thing that is not as it was recorded.
fn difference(confirmation: &Confirmation, expected: &Expected) -> Option<String> {
    let essence = &confirmation.milestone.essence;
    let root = |name: &str, found: &[u8; 32], expected: &String| {
        let found = hex::encode(found);
        (found != *expected).then(|| format!("{name} root {found}, recorded {expected}"))
    };
    let ids = |name: &str, found: BTreeSet<OutputId>, expected: &BTreeSet<OutputId>| {
        let only = |a: &BTreeSet<OutputId>, b: &BTreeSet<OutputId>| a.difference(b).next().copied();
        let more = only(&found, expected).map(|id| format!("{id} {name}, not so recorded"));
        more.or_else(|| only(expected, &found).map(|id| format!("{id} not {name}, recorded so")))
    };
    let created = || confirmation.delta.created.iter().map(|output| output.id).collect();
    let consumed = || confirmation.delta.consumed.iter().map(|spent| spent.booked.id).collect();
    root("inclusion", &essence.inclusion_merkle_root, &expected.inclusion_merkle_root)
        .or_else(|| root("applied", &essence.applied_merkle_root, &expected.applied_merkle_root))
        .or_else(|| blocks(confirmation, expected))
        .or_else(|| ids("created", created(), &expected.created))
        .or_else(|| ids("consumed", consumed(), &expected.consumed))
}

fn blocks(confirmation: &Confirmation, expected: &Expected) -> Option<String> {
    let found = confirmation.referenced.iter().map(|block| {
        let (state, code) = match block.inclusion {
            Inclusion::NoTransaction => ("noTransaction", 0),
            Inclusion::Included => ("included", 0),
            Inclusion::Conflicting(conflict) => ("conflicting", conflict.code()),
        };
        (block.id, state.to_owned(), code)
    });
    let found = found.collect::<Vec<_>>();
    let differing =
        found.iter().zip(&expected.referenced).enumerate().find(|(_, (found, expected))| found != expected);
    match differing {
        Some((at, (found, expected))) => Some(format!("block {at}: {found:?}, recorded {expected:?}")),
        None if found.len() != expected.referenced.len() => {
            Some(format!("{} blocks referenced, recorded {}", found.len(), expected.referenced.len()))
        }
        None => None,
    }
}
