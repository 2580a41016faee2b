//! `osmia db`: a store of a stopped node. Reads everything and checks that it belongs together, measures, writes its ledger to a
//! file, takes all of it out and puts it into another.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::{panic, thread};

use anyhow::Context;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::Answer;
use super::recording;
use crate::config::Config;
use crate::coordinator;
use crate::engine::effect::Effect;
use crate::engine::{Engine, Network, Origin, Start, checked};
use crate::files::{self, Hold};
use crate::ledger::authority::Authority;
use crate::protocol::MAX_BLOCK_BYTES;
use crate::protocol::block::{self, Block};
use crate::protocol::hex;
use crate::protocol::id::MilestoneIndex;
use crate::snapshot::delta::DeltaReader;
use crate::snapshot::full::FullReader;
use crate::snapshot::hash::LedgerHash;
use crate::snapshot::load;
use crate::store::{Limits, Reader, Recovered, Store, Suspects};

/// Files of an export.
const SNAPSHOT: &str = "full_snapshot.bin";
const BLOCKS: &str = "blocks.bin";
/// Of these two, as `b2sum --length 256` writes and checks them; an export without it is not whole.
const SUMS: &str = "b2sums.txt";

/// Records, or blocks, between two words about how it goes on.
const TELL_EVERY: u64 = 100_000;

/// What is wanted of a store, and how it is told.
#[derive(Debug, Args)]
pub struct Db {
    #[command(subcommand)]
    wish: Wish,
    /// The node's folder
    #[arg(long, global = true, default_value = "osmia-devnet")]
    data: PathBuf,
    /// Name of its network
    #[arg(long, global = true, default_value = "osmia-private")]
    network: String,
    /// As one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// Read every record and check that all belongs together
    Verify,
    /// Tell what is stored
    Stats,
    /// Write a snapshot and every block after it to a new folder
    Export {
        /// The folder
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a new store of an export, judging and confirming every block anew
    Import {
        /// Folder of the export
        #[arg(long)]
        from: PathBuf,
        /// The node's configuration: it names who signs milestones
        #[arg(long)]
        config: PathBuf,
    },
}

/// Does it; what is found goes to `out`.
///
/// # Errors
/// What the user has to know; also when what was looked at is not as it should be.
pub fn run_db(Db { wish, data, network, json }: Db, out: &mut impl Write) -> anyhow::Result<()> {
    let answer = match wish {
        Wish::Verify => verify(&data, &network),
        Wish::Stats => on_store(&data, &network, stats),
        Wish::Export { out } => on_store(&data, &network, move |opened| export(opened, &out)),
        Wish::Import { from, config } => import(&data, &from, &config),
    };
    super::tell(answer, json, out)
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ledger_index: u32,
    unspent_outputs: u64,
    milestones: u32,
    referenced_blocks: u64,
    records: u64,
    ledger_hash: String,
}

/// A store that nobody else has open.
struct Opened {
    store: Store,
    recovered: Recovered,
    _held: Hold,
}

fn hold(data: &Path) -> anyhow::Result<Hold> {
    Hold::of(data).with_context(|| data.display().to_string())
}

/// Opens a store and does something with it, on a thread of its own: sled panics on some damage, and that thread then waits for
/// ever for what it had begun.
fn on_store(
    data: &Path,
    network: &str,
    work: impl FnOnce(Opened) -> anyhow::Result<Answer> + Send + 'static,
) -> anyhow::Result<Answer> {
    let folder = data.join("store");
    anyhow::ensure!(folder.is_dir(), "{}: no store there", folder.display());
    anyhow::ensure!(
        folder.join("ledger").join("db").is_file(),
        "{}: no ledger there; the node makes it again at its next start",
        folder.display()
    );
    let held = hold(data)?;
    // What is damaged is noted, and mended by the node's next start.
    let suspects = Suspects::of(&folder);
    let (done, answer) = mpsc::channel();
    let (report, blamed, panicked) = (panic::take_hook(), suspects.clone(), done.clone());
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        blamed.blame_opened();
        let parts = blamed.all().into_iter().collect::<Vec<_>>().join(", ");
        let error = match parts.is_empty() {
            true => anyhow::anyhow!("{panic}"),
            false => {
                anyhow::anyhow!("damaged, and cannot be read: {parts}; the node mends it at its next start")
            }
        };
        // Nobody waits any more when the work was done before.
        let _ = panicked.send(Err(error));
    }));
    let network = network.to_owned();
    thread::spawn(move || {
        let _ = done.send(open(held, &folder, &network, &suspects).and_then(work));
    });
    answer.recv()?
}

fn open(held: Hold, folder: &Path, network: &str, suspects: &Suspects) -> anyhow::Result<Opened> {
    let limits = Limits { keep_milestones: u32::MAX, live_milestones: 5, cache_bytes: 4 << 20 };
    let mut store = Store::open_watched(folder, network, limits, suspects)?;
    let recovered = store.recover(0)?;
    Ok(Opened { store, recovered, _held: held })
}

/// Writes a full snapshot. Never over a file that exists.
pub(super) fn snapshot(data: &Path, network: &str, target: u32, out: PathBuf) -> anyhow::Result<Answer> {
    on_store(data, network, move |Opened { store, _held, .. }| {
        let shown = || out.display().to_string();
        let mut file = BufWriter::new(File::create_new(&out).with_context(shown)?);
        let header = store.reader().write_full(MilestoneIndex(target), &mut file).with_context(shown)?;
        synced(file).with_context(shown)?;
        super::files::written(&out, &header)
    })
}

/// Checks the store below `data`, in a folder of its own that the node made.
pub(super) fn verify(data: &Path, network: &str) -> anyhow::Result<Answer> {
    on_store(data, network, check)
}

fn check(Opened { store, recovered, _held }: Opened) -> anyhow::Result<Answer> {
    let reader = store.reader();
    let mut report = Report { ledger_index: reader.ledger_index().0, ..Report::default() };
    let tally = reader.read_all(|epoch, count| {
        if count.is_multiple_of(TELL_EVERY) {
            tracing::info!(epoch, records = count, "reading");
        }
    })?;
    (report.records, report.referenced_blocks) = (tally.records, tally.references);
    let mut hash = LedgerHash::new(reader.ledger_index(), recovered.treasury);
    let mut sum = u128::from(recovered.treasury.amount);
    for output in reader.all_unspent() {
        let output = output?;
        sum += u128::from(output.output.value().amount);
        hash.add(&output);
        report.unspent_outputs += 1;
    }
    // TIP-35: > unspent outputs and treasury must make up the token supply
    let supply = recovered.schedule.active.token_supply;
    anyhow::ensure!(
        sum == u128::from(supply),
        "unspent outputs and treasury hold {sum}, the token supply is {supply}"
    );
    report.ledger_hash = hex::encode(&hash.finish(Vec::new()).0).trim_start_matches("0x").to_owned();
    let first = store.pruning_index()?.next().max(recovered.base.target.index.next());
    for index in (first.0..=reader.ledger_index().0).map(MilestoneIndex) {
        let at = || format!("milestone {index}");
        let milestone = reader.milestone(index)?.with_context(|| format!("milestone {index} is missing"))?;
        anyhow::ensure!(
            milestone.milestone.essence.index == index,
            "milestone {index}: another one stands there"
        );
        let delta = reader.delta(index)?.with_context(at)?;
        for spent in &delta.consumed {
            let found = reader.output(&spent.booked.id)?.with_context(at)?;
            anyhow::ensure!(
                found.spent.is_some(),
                "milestone {index}: {} is spent and unspent",
                spent.booked.id
            );
        }
        for block in delta.created.iter().map(|output| output.block) {
            let bytes = reader.block(&block)?;
            // Migrated funds come without a block.
            let good =
                bytes.is_none_or(|bytes| block::id_of(&bytes) == block && Block::parse(&bytes).is_ok());
            anyhow::ensure!(good, "milestone {index}: block {block} is damaged");
        }
        report.milestones += 1;
    }
    store.close()?;
    let Report { ledger_index, unspent_outputs, milestones, ledger_hash, records, .. } = &report;
    let text = format!(
        "good: {unspent_outputs} unspent outputs at milestone {ledger_index}, {milestones} milestones, {records} records\n\
         ledger hash: {ledger_hash}"
    );
    Ok(Answer { text, json: serde_json::to_value(&report)? })
}

/// How much is stored, and of what.
fn stats(Opened { store, recovered, _held }: Opened) -> anyhow::Result<Answer> {
    let (reader, survey) = (store.reader(), store.survey()?);
    let base = recovered.base.target.index;
    let mut outputs = 0_u64;
    for output in reader.all_unspent() {
        output?;
        outputs += 1;
    }
    let epochs = survey.epochs.iter().map(|epoch| {
        let (first, last) = epoch.milestones.unzip();
        json!({
            "number": epoch.number, "bytes": epoch.bytes,
            "firstMilestone": first.map(|index| index.0), "lastMilestone": last.map(|index| index.0),
        })
    });
    let bytes = survey.epochs.iter().map(|epoch| epoch.bytes).sum::<u64>();
    let json = json!({
        "network": recovered.schedule.active.network_name, "confirmed": reader.ledger_index().0, "pruned": store.pruning_index()?.0,
        "began": base.0, "unspentOutputs": outputs, "epochs": epochs.collect::<Vec<_>>(), "blockBytes": bytes,
        "ledgerBytes": survey.ledger_bytes, "journalBytes": survey.journal_bytes, "damagedBytes": survey.damaged_bytes,
    });
    let text = format!(
        "milestone {}, pruned to {}, began at {base}\n{} epochs: {bytes} bytes\n{outputs} unspent outputs: {} bytes\n\
         journal: {} bytes\nput aside as damaged: {} bytes",
        reader.ledger_index(),
        store.pruning_index()?,
        survey.epochs.len(),
        survey.ledger_bytes,
        survey.journal_bytes,
        survey.damaged_bytes,
    );
    store.close()?;
    Ok(Answer { text, json })
}

/// A snapshot of the oldest milestone that can be told, and every block in order of arrival: length u32 LE, bytes.
fn export(Opened { store, recovered, _held }: Opened, out: &Path) -> anyhow::Result<Answer> {
    let reader = store.reader();
    anyhow::ensure!(!out.exists(), "--out {}: exists already; name a new folder", out.display());
    let reach = u32::from(recovered.schedule.active.below_max_depth) + 5;
    let target = reader.oldest_start(reach)?.context("too little is kept: nothing can begin there")?;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let path = out.join(SNAPSHOT);
    let shown = || path.display().to_string();
    let mut file = BufWriter::new(File::create_new(&path).with_context(shown)?);
    reader.write_full(target, &mut file).with_context(shown)?;
    synced(file).with_context(shown)?;
    let path = out.join(BLOCKS);
    let shown = || path.display().to_string();
    let (mut file, mut count) = (BufWriter::new(File::create_new(&path).with_context(shown)?), 0_u64);
    reader.each_block(|bytes| {
        count += 1;
        if count.is_multiple_of(TELL_EVERY) {
            tracing::info!(blocks = count, "writing");
        }
        // A block is at most 32 KiB.
        file.write_all(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        file.write_all(bytes)
    })?;
    synced(file).with_context(shown)?;
    let sums = sums(out)?;
    let path = out.join(SUMS);
    files::write_atomic(&path, sums.as_bytes(), 0o644).with_context(|| path.display().to_string())?;
    let confirmed = reader.ledger_index();
    store.close()?;
    let text = format!(
        "snapshot of milestone {target} and {count} blocks, to milestone {confirmed}: {}",
        out.display()
    );
    Ok(Answer { text, json: json!({ "snapshot": target.0, "blocks": count, "confirmed": confirmed.0 }) })
}

fn sum(path: &Path) -> std::io::Result<[u8; 32]> {
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Blake2b::<U32>::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().into()),
            length => hasher.update(&piece[..length]),
        }
    }
}

fn sums(folder: &Path) -> anyhow::Result<String> {
    let sum = |name: &str| {
        let path = folder.join(name);
        let sum = sum(&path).with_context(|| path.display().to_string())?;
        Ok(format!("{}  {name}\n", hex::encode(&sum).trim_start_matches("0x")))
    };
    Ok([SNAPSHOT, BLOCKS].into_iter().map(sum).collect::<anyhow::Result<Vec<_>>>()?.concat())
}

fn synced(file: BufWriter<File>) -> std::io::Result<()> {
    file.into_inner().map_err(|error| error.into_error())?.sync_all()
}

fn import(data: &Path, from: &Path, config: &Path) -> anyhow::Result<Answer> {
    let text = fs::read(config).with_context(|| config.display().to_string())?;
    let config = Config::parse_bytes(&text).with_context(|| config.display().to_string())?;
    let identity = data.join("identity");
    let own_key = match config.network.milestone_keys.is_empty() {
        true => {
            // A key made for the purpose would verify none of the network's milestones.
            anyhow::ensure!(
                coordinator::has_key(&identity),
                "network.milestone_keys: missing, and {} holds no coordinator's key: name the network's keys there",
                identity.display()
            );
            Some(coordinator::public_key(&identity)?)
        }
        false => None,
    };
    let authority = Authority::of(&config.network, own_key);
    let path = from.join(SUMS);
    let told = fs::read_to_string(&path).with_context(|| format!("{}: no whole export", path.display()))?;
    anyhow::ensure!(told == sums(from)?, "{}: damaged, or not whole: export once more", from.display());
    let folder = data.join("store");
    fs::create_dir_all(data).with_context(|| data.display().to_string())?;
    let _held = hold(data)?;
    anyhow::ensure!(!folder.exists(), "{}: exists already; move it away first", folder.display());
    let imported = import_into(&folder, from, &config, authority);
    // The next try begins anew.
    if imported.is_err()
        && let Err(error) = fs::remove_dir_all(&folder)
    {
        tracing::warn!(%error, "{}: not removed", folder.display());
    }
    imported
}

fn import_into(folder: &Path, from: &Path, config: &Config, authority: Authority) -> anyhow::Result<Answer> {
    let limits = Limits {
        keep_milestones: config.storage.keep_milestones.get(),
        live_milestones: 5,
        cache_bytes: 8 << 20,
    };
    let mut store = Store::open(folder, &config.network.params.network_name, limits)?;
    let path = from.join(SNAPSHOT);
    let shown = || path.display().to_string();
    let full = FullReader::new(recording::open(&path)?).with_context(shown)?;
    let found = &full.header().params.network_name;
    let wanted = &config.network.params.network_name;
    anyhow::ensure!(found == wanted, "{}: of the network {found:?}, not {wanted:?} (network.name)", shown());
    let loaded = load::load(full, None::<DeltaReader<&[u8]>>, &mut store).with_context(shown)?;
    if let Some(milestone) = loaded.milestone {
        store.bring(Block::of_milestone(milestone).pack())?;
    }
    store.found(&loaded.base)?;
    let recovered = store.recover(0)?;
    store.keep_living(&recovered.schedule);
    let engine = Engine::new(Start::at(&loaded.base));
    let network = Network { params: loaded.base.schedule.active.clone(), authority };
    let mut import = Import { reader: store.reader(), store, engine, network, left_out: 0 };
    let blocks = import.feed(&from.join(BLOCKS))?;
    let (confirmed, left_out) = (import.engine.confirmed().index.0, import.left_out);
    if let Some(halt) = import.engine.halted() {
        anyhow::bail!("milestone {}: {halt}", confirmed + 1);
    }
    import.store.close()?;
    let text =
        format!("{blocks} blocks, to milestone {confirmed}; {left_out} older than the snapshot left out");
    Ok(Answer { text, json: json!({ "blocks": blocks, "confirmed": confirmed, "leftOut": left_out }) })
}

/// Engine and store of an import.
struct Import {
    reader: Reader,
    store: Store,
    engine: Engine,
    network: Network,
    left_out: u64,
}

impl Import {
    fn feed(&mut self, path: &Path) -> anyhow::Result<u64> {
        let mut file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
        let mut count = 0;
        loop {
            let mut length = [0; 4];
            match file.read(&mut length[..1]).with_context(|| path.display().to_string())? {
                0 => return Ok(count),
                _ => file
                    .read_exact(&mut length[1..])
                    .with_context(|| format!("{}: ends within a block", path.display()))?,
            }
            let length = u32::from_le_bytes(length) as usize;
            anyhow::ensure!(length <= MAX_BLOCK_BYTES, "{}: block {count} of {length} bytes", path.display());
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)
                .with_context(|| format!("{}: ends within a block", path.display()))?;
            count += 1;
            if count.is_multiple_of(TELL_EVERY) {
                tracing::info!(blocks = count, confirmed = self.engine.confirmed().index.0, "reading");
            }
            self.submit(bytes)?;
        }
    }

    fn submit(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        let Ok(block) = checked::check(&self.network, Arc::from(bytes)) else {
            self.left_out += 1;
            return Ok(());
        };
        match self.engine.submit(&self.reader, block, Origin::Local, 0)? {
            crate::engine::Verdict::Accepted { .. } => {}
            crate::engine::Verdict::Rejected(_) | crate::engine::Verdict::NoRoom => self.left_out += 1,
        }
        loop {
            while let Some(effect) = self.engine.poll() {
                match effect {
                    Effect::Store { id, bytes, forward: _ } => self.store.put_block(&id, &bytes, false)?,
                    // There is nobody to ask.
                    Effect::Request { .. } => {}
                    Effect::Commit(confirmation) => {
                        self.store.commit(&confirmation)?;
                        if let Some(schedule) = &confirmation.schedule {
                            self.network.params = schedule.active.clone();
                        }
                    }
                }
            }
            if !self.engine.advance(&self.reader)? {
                return Ok(());
            }
        }
    }
}
