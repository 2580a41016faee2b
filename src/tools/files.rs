//! `snap-info`, `snap-hash`, `snap-gen`, `snap-merge`: snapshot files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use serde::Serialize;

use super::Answer;
use super::recording::open;
use crate::ledger::Booked;
use crate::ledger::treasury::Treasury;
use crate::protocol::address::Address;
use crate::protocol::hex;
use crate::protocol::id::{MilestoneId, OutputId};
use crate::protocol::json_params::ParametersJson;
use crate::protocol::milestone::MilestoneOption;
use crate::protocol::pack::Writer;
use crate::protocol::params::Schedule;
use crate::snapshot::delta::{self, DeltaReader};
use crate::snapshot::full::{self, FullReader};
use crate::snapshot::hash::LedgerHash;
use crate::snapshot::{Base, genesis, load};

/// What a full snapshot says first; the names are HORNET's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FullInfo {
    file_path: PathBuf,
    version: u8,
    #[serde(rename = "type")]
    kind: &'static str,
    genesis_milestone_index: u32,
    target_milestone_index: u32,
    target_milestone_timestamp: String,
    target_milestone_id: String,
    ledger_milestone_index: u32,
    treasury_output: TreasuryInfo,
    protocol_parameters: ParametersJson,
    output_count: u64,
    milestone_diff_count: u32,
    solid_entry_points_count: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TreasuryInfo {
    milestone_id: String,
    amount: String,
}

/// What a delta snapshot says first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeltaInfo {
    file_path: PathBuf,
    version: u8,
    #[serde(rename = "type")]
    kind: &'static str,
    target_milestone_index: u32,
    target_milestone_timestamp: String,
    full_snapshot_target_milestone_id: String,
    solid_entry_points_file_offset: u64,
    milestone_diff_count: u32,
    solid_entry_points_count: u16,
}

/// As RFC 3339.
fn time(seconds: u32) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.into())).to_string()
}

fn full_info(path: &Path, header: &full::Header) -> FullInfo {
    FullInfo {
        file_path: path.to_path_buf(),
        version: crate::snapshot::VERSION,
        kind: "full",
        genesis_milestone_index: header.genesis.0,
        target_milestone_index: header.target.index.0,
        target_milestone_timestamp: time(header.target.timestamp),
        target_milestone_id: header.target.id.to_string(),
        ledger_milestone_index: header.ledger_index.0,
        treasury_output: TreasuryInfo {
            milestone_id: header.treasury.milestone.to_string(),
            amount: header.treasury.amount.to_string(),
        },
        protocol_parameters: ParametersJson::from_params(&header.params),
        output_count: header.outputs,
        milestone_diff_count: header.diffs,
        solid_entry_points_count: header.entry_points,
    }
}

fn delta_info(path: &Path, header: &delta::Header) -> DeltaInfo {
    DeltaInfo {
        file_path: path.to_path_buf(),
        version: crate::snapshot::VERSION,
        kind: "delta",
        target_milestone_index: header.target.0,
        target_milestone_timestamp: time(header.timestamp),
        full_snapshot_target_milestone_id: header.full_target.to_string(),
        solid_entry_points_file_offset: header.entry_points_at,
        milestone_diff_count: header.diffs,
        solid_entry_points_count: header.entry_points,
    }
}

/// The header of either kind.
pub(super) fn info(path: &Path) -> anyhow::Result<Answer> {
    let shown = || path.display().to_string();
    let mut kind = [0; 2];
    open(path)?.read_exact(&mut kind).with_context(shown)?;
    let json = match kind[1] {
        1 => serde_json::to_value(delta_info(
            path,
            DeltaReader::new(open(path)?).with_context(shown)?.header(),
        ))?,
        _ => {
            serde_json::to_value(full_info(path, FullReader::new(open(path)?).with_context(shown)?.header()))?
        }
    };
    Ok(Answer { text: serde_json::to_string_pretty(&json)?, json })
}

/// The ledger of a full snapshot, led on by a delta one.
fn ledger(full: &Path, delta: Option<&Path>) -> anyhow::Result<(Base, BTreeMap<OutputId, Booked>)> {
    let names = || {
        [Some(full), delta]
            .into_iter()
            .flatten()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let reader = FullReader::new(open(full)?).with_context(names)?;
    let delta = delta
        .map(|path| Ok::<_, anyhow::Error>(DeltaReader::new(open(path)?)?))
        .transpose()
        .with_context(names)?;
    let mut outputs = BTreeMap::new();
    let base = load::load(reader, delta, &mut outputs).with_context(names)?.base;
    Ok((base, outputs))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HashInfo {
    snapshot_time: String,
    network_id: String,
    treasury: TreasuryInfo,
    ledger_index: u32,
    outputs_count: usize,
    solid_entry_points_count: usize,
    token_supply: String,
    ledger_state_hash_without_solid_entry_points: String,
    ledger_state_hash_with_solid_entry_points: String,
    protocol_parameters_hash: String,
}

/// The hash of a ledger's state as HORNET computes it; all sums are checked on the way.
pub(super) fn hash(full: &Path, delta: Option<&Path>) -> anyhow::Result<Answer> {
    let (base, outputs) = ledger(full, delta)?;
    let mut hash = LedgerHash::new(base.target.index, base.treasury);
    outputs.values().for_each(|output| hash.add(output));
    let (without, with) = hash.finish(base.entry_points.clone());
    let digits = |hash: [u8; 32]| hex::encode(&hash).trim_start_matches("0x").to_owned();
    let info = HashInfo {
        snapshot_time: time(base.target.timestamp),
        network_id: base.schedule.active.network_id().to_string(),
        treasury: TreasuryInfo {
            milestone_id: base.treasury.milestone.to_string(),
            amount: base.treasury.amount.to_string(),
        },
        ledger_index: base.target.index.0,
        outputs_count: outputs.len(),
        solid_entry_points_count: base.entry_points.len(),
        token_supply: base.schedule.active.token_supply.to_string(),
        ledger_state_hash_without_solid_entry_points: digits(without),
        ledger_state_hash_with_solid_entry_points: digits(with),
        protocol_parameters_hash: digits(parameters_hash(&base.schedule)),
    };
    let mut text = String::new();
    writeln!(text, "ledger index: {}", info.ledger_index)?;
    writeln!(text, "snapshot time: {}", info.snapshot_time)?;
    writeln!(text, "unspent outputs: {}", info.outputs_count)?;
    writeln!(text, "solid entry points: {}", info.solid_entry_points_count)?;
    writeln!(text, "ledger state hash (w/o  solid entry points): {}", digits(without))?;
    writeln!(text, "ledger state hash (with solid entry points): {}", digits(with))?;
    write!(text, "protocol parameters hash (current+pending): {}", info.protocol_parameters_hash)?;
    Ok(Answer { text, json: serde_json::to_value(info)? })
}

/// SHA-256 over the options that brought the parameters in force and those to come, by their targets (HORNET).
fn parameters_hash(schedule: &Schedule) -> [u8; 32] {
    use sha2::Digest;
    let active = MilestoneOption::Parameters {
        target: schedule.since,
        protocol_version: schedule.active.version,
        params: schedule.active.pack(),
    };
    let mut pending = schedule.pending.clone();
    pending.sort_by_key(|next| next.target);
    let pending = pending.into_iter().map(|next| MilestoneOption::Parameters {
        target: next.target,
        protocol_version: next.protocol_version,
        params: next.params,
    });
    let mut hash = sha2::Sha256::new();
    for option in std::iter::once(active).chain(pending) {
        let mut writer = Writer::default();
        option.pack(&mut writer);
        hash.update(writer.into_bytes());
    }
    hash.finalize().into()
}

/// What a new network's ledger is made of.
pub(super) struct Founding {
    pub(super) params: PathBuf,
    pub(super) mint_address: String,
    pub(super) treasury: u64,
    /// `address:amount`.
    pub(super) grants: Vec<String>,
    pub(super) out: PathBuf,
}

/// The first snapshot of a new network.
pub(super) fn generate(founding: &Founding) -> anyhow::Result<Answer> {
    let Founding { params: path, out, .. } = founding;
    let json: ParametersJson = serde_json::from_reader(BufReader::new(
        File::open(path).with_context(|| path.display().to_string())?,
    ))
    .with_context(|| path.display().to_string())?;
    let params = json.to_params().with_context(|| path.display().to_string())?;
    let address = |text: &str| {
        let fix = || {
            format!("{text:?}: a bech32 address that begins with {}1, or 64 hex digits", params.bech32_hrp)
        };
        match hex::decode_array("address", &format!("0x{}", text.trim_start_matches("0x"))) {
            Ok(hash) => Ok(Address::Ed25519(hash)),
            Err(_) => Address::from_bech32(&params.bech32_hrp, text).with_context(fix),
        }
    };
    let grant = |text: &String| {
        let (owner, amount) =
            text.rsplit_once(':').with_context(|| format!("{text:?}: write ADDRESS:AMOUNT"))?;
        Ok((
            address(owner)?,
            amount.parse::<u64>().with_context(|| format!("{text:?}: the amount is no number"))?,
        ))
    };
    let grants = founding.grants.iter().map(grant).collect::<anyhow::Result<Vec<_>>>()?;
    let supply = params.token_supply.checked_sub(founding.treasury);
    let supply =
        supply.with_context(|| format!("--treasury: more than the token supply {}", params.token_supply))?;
    let outputs = genesis::outputs(supply, address(&founding.mint_address)?, &grants);
    let outputs = outputs.with_context(|| format!("--grant: all of them together are more than {supply}"))?;
    let mut base = genesis::base(params);
    base.treasury = Treasury { milestone: MilestoneId::ZERO, amount: founding.treasury };
    let header = write_full(out, &base, outputs)?;
    written(out, &header)
}

/// A full snapshot at the target of a delta one.
pub(super) fn merge(full: &Path, delta: &Path, out: &Path) -> anyhow::Result<Answer> {
    let (base, outputs) = ledger(full, Some(delta))?;
    // Only diffs can tell them, and here are none.
    anyhow::ensure!(
        base.schedule.pending.is_empty(),
        "protocol parameters are announced for a milestone to come, which a merged file cannot tell: keep both files, or \
         merge a later delta"
    );
    let header = write_full(out, &base, outputs.into_values().collect())?;
    written(out, &header)
}

pub(super) fn written(out: &Path, header: &full::Header) -> anyhow::Result<Answer> {
    let json = serde_json::to_value(full_info(out, header))?;
    Ok(Answer { text: format!("{} written\n{}", out.display(), serde_json::to_string_pretty(&json)?), json })
}

/// Writes a ledger with nothing to roll back. Never over a file that exists.
fn write_full(out: &Path, base: &Base, outputs: Vec<Booked>) -> anyhow::Result<full::Header> {
    let shown = || out.display().to_string();
    let header = full::Header::of(base, outputs.len() as u64);
    let header = header.context("more solid entry points than the file can hold")?;
    let file = File::create_new(out).with_context(shown)?;
    let mut buffered = BufWriter::new(&file);
    full::write(&mut buffered, &header, outputs.into_iter().map(Ok), std::iter::empty(), &base.entry_points)
        .with_context(shown)?;
    buffered.into_inner().map_err(|error| error.into_error()).with_context(shown)?;
    file.sync_all().with_context(shown)?;
    Ok(header)
}
