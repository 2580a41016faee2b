//! `db-verify`, `db-snapshot`: reads everything in a store and checks that it belongs together; writes its ledger to a
//! file. The node must not run meanwhile.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::Answer;
use crate::protocol::block::{self, Block};
use crate::protocol::hex;
use crate::protocol::id::MilestoneIndex;
use crate::snapshot::hash::LedgerHash;
use crate::store::{Limits, Recovered, Store};

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ledger_index: u32,
    unspent_outputs: u64,
    milestones: u32,
    referenced_blocks: u64,
    ledger_hash: String,
}

fn open(data: &Path, network: &str) -> anyhow::Result<(Store, Recovered)> {
    let folder = data.join("store");
    anyhow::ensure!(folder.is_dir(), "{}: no store there", folder.display());
    let limits = Limits { keep_milestones: u32::MAX, live_milestones: 5, cache_bytes: 4 << 20 };
    let mut store = Store::open(&folder, network, limits)?;
    let recovered = store.recover(0)?;
    Ok((store, recovered))
}

/// Writes a full snapshot. Never over a file that exists.
pub(super) fn snapshot(data: &Path, network: &str, target: u32, out: &Path) -> anyhow::Result<Answer> {
    let (store, _) = open(data, network)?;
    let shown = || out.display().to_string();
    let mut file = BufWriter::new(File::create_new(out).with_context(shown)?);
    let header = store.reader().write_full(MilestoneIndex(target), &mut file).with_context(shown)?;
    file.into_inner()
        .map_err(|error| error.into_error())
        .and_then(|file| file.sync_all())
        .with_context(shown)?;
    super::files::written(out, &header)
}

/// Checks the store below `data`, in a folder of its own that the node made.
pub(super) fn run(data: &Path, network: &str) -> anyhow::Result<Answer> {
    let (store, recovered) = open(data, network)?;
    let reader = store.reader();
    let mut report = Report { ledger_index: reader.ledger_index().0, ..Report::default() };
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
            report.referenced_blocks += 1;
        }
        report.milestones += 1;
    }
    let Report { ledger_index, unspent_outputs, milestones, ledger_hash, .. } = &report;
    let text = format!(
        "good: {unspent_outputs} unspent outputs at milestone {ledger_index}, {milestones} milestones\nledger hash: {ledger_hash}"
    );
    Ok(Answer { text, json: serde_json::to_value(&report)? })
}
