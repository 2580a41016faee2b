//! A recorded network: blocks, and what another node made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ledger::authority::{Authority, KeyRange};
use crate::protocol::hex;
use crate::protocol::id::{BlockId, MilestoneIndex, OutputId};

/// What a milestone is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) inclusion_merkle_root: String,
    pub(super) applied_merkle_root: String,
    pub(super) created: BTreeSet<OutputId>,
    pub(super) consumed: BTreeSet<OutputId>,
    /// Blocks in white-flag order, each with inclusion state and conflict code.
    pub(super) referenced: Vec<(BlockId, String, u8)>,
}

/// The folder of a recording.
#[derive(Debug)]
pub(super) struct Recording {
    folder: PathBuf,
    pub(super) network_name: String,
    pub(super) authority: Authority,
    /// Ledger hashes by index, the second with solid entry points where these are known.
    pub(super) hashes: Vec<(String, LedgerHash)>,
    pub(super) expected: BTreeMap<MilestoneIndex, Expected>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkFile {
    network_name: String,
    milestone_public_key_count: usize,
    public_key_ranges: Vec<RangeFile>,
    ledger_hash: BTreeMap<String, LedgerHash>,
}

#[derive(Debug, Deserialize)]
struct RangeFile {
    key: String,
    start: u32,
    end: u32,
}

/// Of the ledger at an index.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LedgerHash {
    pub(super) ledger_index: u32,
    pub(super) without_seps: String,
    pub(super) with_seps: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MilestoneLine {
    index: u32,
    inclusion_merkle_root: String,
    applied_merkle_root: String,
    created: Vec<String>,
    consumed: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ReferencedLine {
    index: u32,
    blocks: Vec<(String, String, u8)>,
}

/// A file, or the same compressed; unpacked while it is read.
pub(super) fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    let shown = || path.display().to_string();
    let packed = PathBuf::from(format!("{}.gz", path.display()));
    if !path.exists() && packed.exists() {
        return Ok(Box::new(BufReader::new(GzDecoder::new(File::open(&packed).with_context(shown)?))));
    }
    let file = BufReader::new(File::open(path).with_context(shown)?);
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_packed { Box::new(BufReader::new(GzDecoder::new(file))) } else { Box::new(file) })
}

impl Recording {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("network.json");
        let network: NetworkFile =
            serde_json::from_reader(open(&path)?).with_context(|| path.display().to_string())?;
        let range = |range: RangeFile| {
            let public_key = hex::decode_array("publicKeyRanges.key", &format!("0x{}", range.key))?;
            Ok(KeyRange { public_key, start: MilestoneIndex(range.start), end: MilestoneIndex(range.end) })
        };
        let keys = network.public_key_ranges.into_iter().map(range).collect::<anyhow::Result<Vec<_>>>()?;
        let authority = Authority { keys, threshold: network.milestone_public_key_count };
        let mut recording = Self {
            folder: folder.to_path_buf(),
            network_name: network.network_name,
            authority,
            hashes: network.ledger_hash.into_iter().collect(),
            expected: BTreeMap::new(),
        };
        recording.read_expected()?;
        Ok(recording)
    }

    fn read_expected(&mut self) -> anyhow::Result<()> {
        let ids =
            |texts: Vec<String>| texts.iter().map(|text| OutputId::from_hex(text)).collect::<Result<_, _>>();
        let mut referenced = BTreeMap::new();
        for line in self.lines::<ReferencedLine>("referenced.jsonl")? {
            let line = line?;
            let blocks =
                line.blocks.into_iter().map(|(id, state, code)| Ok((BlockId::from_hex(&id)?, state, code)));
            referenced.insert(line.index, blocks.collect::<anyhow::Result<Vec<_>>>()?);
        }
        for line in self.lines::<MilestoneLine>("milestones.jsonl")? {
            let line = line?;
            let expected = Expected {
                inclusion_merkle_root: line.inclusion_merkle_root,
                applied_merkle_root: line.applied_merkle_root,
                created: ids(line.created)?,
                consumed: ids(line.consumed)?,
                referenced: referenced.remove(&line.index).unwrap_or_default(),
            };
            self.expected.insert(MilestoneIndex(line.index), expected);
        }
        Ok(())
    }

    fn lines<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<T>> + use<T>> {
        let path = self.folder.join(name);
        let lines = BufReader::new(open(&path)?).lines();
        Ok((1..).zip(lines).map(move |(number, line)| {
            let at = || format!("{}:{number}", path.display());
            serde_json::from_str(&line.with_context(at)?).with_context(at)
        }))
    }

    /// The snapshot that everything begins with.
    pub(super) fn genesis(&self) -> PathBuf {
        self.folder.join("genesis_full.bin")
    }

    /// All blocks, in the order of the file.
    pub(super) fn blocks(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Vec<u8>>> + use<>> {
        let path = self.folder.join("blocks.bin");
        let mut file = open(&path)?;
        Ok(std::iter::from_fn(move || {
            next_block(&mut file).with_context(|| path.display().to_string()).transpose()
        }))
    }
}

/// Length, then as many bytes; `None` at the end.
fn next_block(file: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = Vec::new();
    file.take(4).read_to_end(&mut length)?;
    if length.is_empty() {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length.as_slice().try_into().context("cut off within a length")?);
    let mut bytes = Vec::new();
    file.take(length.into()).read_to_end(&mut bytes)?;
    anyhow::ensure!(bytes.len() == length as usize, "cut off within a block");
    Ok(Some(bytes))
}
