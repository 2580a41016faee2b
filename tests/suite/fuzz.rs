//! What every parser of bytes from outside must do with any bytes: give a value or an error, never panic, take no more
//! memory than the bytes are worth, and read again what it wrote. `tests/fuzz` runs these with a fuzzer.

use osmia::autopeering;
use osmia::config::Config;
use osmia::dhcp::wire;
use osmia::gossip;
use osmia::ledger::syntactic;
use osmia::net::lan::wire as mdns;
use osmia::protocol::block::{Block, Draft};
use osmia::protocol::json::BlockJson;
use osmia::protocol::json_output::OutputJson;
use osmia::protocol::milestone::{self, Milestone};
use osmia::protocol::output::Output;
use osmia::protocol::pack::{Reader, Writer};
use osmia::protocol::params::ProtocolParameters;
use osmia::protocol::transaction::{self, Transaction};
use osmia::snapshot::delta::DeltaReader;
use osmia::snapshot::full::{self, FullReader};
use osmia::snapshot::record::Diff;
use osmia::{ledger::Booked, protocol::id::BlockId, snapshot, sntp};

/// A parser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Folder of its corpus, name of its fuzz target.
    pub(crate) name: &'static str,
    /// The parser alone, whose memory is measured: whether it accepts.
    pub(crate) parse: fn(&[u8]) -> bool,
    /// Parses and compares what was read with what is written of it: whether it accepts.
    pub(crate) check: fn(&[u8]) -> bool,
    /// Bytes it may take for each byte of input.
    pub(crate) factor: usize,
    /// Bytes it may take whatever the input, for what is bounded: entries of a list, lines of a message.
    pub(crate) floor: usize,
}

/// All of them.
pub(crate) const TARGETS: [Target; 15] = [
    Target {
        name: "block",
        parse: |bytes| Block::parse(bytes).is_ok(),
        check: block,
        factor: 16,
        floor: 4096,
    },
    Target {
        name: "milestone",
        parse: |bytes| read_milestone(bytes).is_some(),
        check: milestone,
        factor: 16,
        floor: 4096,
    },
    Target {
        name: "output",
        parse: |bytes| read_output(bytes).is_some(),
        check: output,
        factor: 16,
        floor: 4096,
    },
    Target {
        name: "transaction",
        parse: |bytes| read_transaction(bytes).is_some(),
        check: transaction,
        factor: 16,
        floor: 4096,
    },
    // Entries of a list may be empty objects; how many there may be is bounded.
    Target {
        name: "block_json",
        parse: |bytes| read_block_json(bytes).is_some(),
        check: block_json,
        factor: 16,
        floor: 1 << 20,
    },
    Target {
        name: "output_json",
        parse: |bytes| read_output_json(bytes).is_some(),
        check: output_json,
        factor: 16,
        floor: 1 << 16,
    },
    Target {
        name: "full_snapshot",
        parse: |bytes| walk_full(bytes).is_some(),
        check: full_snapshot,
        factor: 16,
        floor: 8192,
    },
    Target {
        name: "delta_snapshot",
        parse: |bytes| walk_delta(bytes).is_some(),
        check: delta_snapshot,
        factor: 16,
        floor: 8192,
    },
    Target {
        name: "protocol_parameters",
        parse: |bytes| ProtocolParameters::parse(bytes).is_ok(),
        check: protocol_parameters,
        factor: 16,
        floor: 4096,
    },
    // The tree of a TOML text costs far more than its bytes; it comes from the card, not from the network.
    Target {
        name: "config",
        parse: |bytes| Config::parse_bytes(bytes).is_ok(),
        check: config,
        factor: 160,
        floor: 1 << 16,
    },
    Target {
        name: "dhcp",
        parse: |bytes| wire::decode(bytes, mac_in(bytes)).is_some(),
        check: dhcp,
        factor: 16,
        floor: 16_384,
    },
    Target {
        name: "sntp",
        parse: |bytes| read_sntp(bytes).is_some(),
        check: sntp_answer,
        factor: 16,
        floor: 1024,
    },
    Target {
        name: "gossip",
        parse: |bytes| walk_frames(bytes, |_, _| {}),
        check: |bytes| walk_frames(bytes, |message, frame| assert_eq!(message.pack(), frame)),
        factor: 0,
        floor: 0,
    },
    // Empty records of two bytes each; a datagram has 1,280 at most.
    Target {
        name: "autopeering",
        parse: |bytes| autopeering::wire::is_message(bytes, GOSSIP),
        check: |bytes| autopeering::wire::is_message(bytes, GOSSIP),
        factor: 160,
        floor: 4096,
    },
    // Names are told by pointing at others.
    Target {
        name: "mdns",
        parse: |bytes| mdns::hear(bytes, &nobody()) != mdns::Heard::default(),
        check: mdns,
        factor: 128,
        floor: 8192,
    },
];

/// What a fuzz target does.
#[allow(dead_code, reason = "called by the fuzz targets")]
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    assert_eq!((target.parse)(bytes), (target.check)(bytes), "{name}");
}

/// Every file of the corpus; `valid-…` is accepted, `bad-…` is not.
#[test]
fn the_corpus_is_replayed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let (mut files, mut bytes_of_all) = (0, 0);
    for target in TARGETS {
        let mut kinds = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(root.join(target.name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let accepted = judge(&target, &bytes, &path.display().to_string());
            if name.starts_with("valid-") || name.starts_with("bad-") {
                assert_eq!(accepted, name.starts_with("valid-"), "{}", path.display());
            }
            kinds.insert(accepted);
            files += 1;
            bytes_of_all += bytes.len();
        }
        assert_eq!(kinds.len(), 2, "{}: no valid file, or no other", target.name);
    }
    assert!(
        files <= 60 && bytes_of_all < 200 * 1024,
        "{files} files of {bytes_of_all} bytes: too many to keep"
    );
}

/// The corpus, damaged: a little of what the fuzzer does, on every run; `OSMIA_FUZZ_ROUNDS` asks for more.
#[test]
fn damaged_corpus_files_do_no_harm() {
    let rounds = std::env::var("OSMIA_FUZZ_ROUNDS").map_or(100, |rounds| rounds.parse().unwrap());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for target in TARGETS {
        let entries = std::fs::read_dir(root.join(target.name)).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        paths.sort();
        for path in paths {
            let whole = std::fs::read(&path).unwrap();
            for seed in 0..rounds {
                let mut bytes = whole.clone();
                crate::damage::damage(&mut bytes, &[], &mut crate::damage::Dice(seed));
                judge(&target, &bytes, &format!("{}, seed {seed}", path.display()));
            }
        }
    }
}

/// Memory first, alone; then everything.
#[cfg(test)]
fn judge(target: &Target, bytes: &[u8], name: &str) -> bool {
    let (most, accepted) = crate::allocation::most_held(|| (target.parse)(bytes));
    let allowed = target.factor * bytes.len() + target.floor;
    assert!(most <= allowed, "{name}: {most} bytes of memory for {} of input", bytes.len());
    let checked = std::panic::catch_unwind(|| (target.check)(bytes));
    let checked =
        checked.unwrap_or_else(|_| panic!("{name} panicked: {}", osmia::protocol::hex::encode(bytes)));
    assert_eq!(checked, accepted, "{name}");
    accepted
}

fn block(bytes: &[u8]) -> bool {
    let _ = Draft::parse(bytes);
    let Ok(block) = Block::parse(bytes) else { return false };
    assert_eq!(block.pack(), bytes);
    let text = serde_json::to_vec(&BlockJson::from_block(&block)).unwrap();
    assert_eq!(read_block_json(&text).unwrap().into_block().unwrap(), block);
    check_ledger_rules(block.transaction());
    true
}

/// Rules that calculate with what was read.
fn check_ledger_rules(transaction: Option<&Transaction>) {
    let supply = [u64::MAX, 2_779_530_283_277_761];
    for token_supply in supply.into_iter().take(2 * usize::from(transaction.is_some())) {
        let mut params = ProtocolParameters::parse(&PARAMETERS).unwrap();
        params.token_supply = token_supply;
        if let Some(transaction) = transaction {
            params.network_name.clear();
            let mut transaction = transaction.clone();
            transaction.essence.network_id = params.network_id();
            let _ = syntactic::check(&transaction, &params);
            let _ = (transaction.id(), transaction.essence.signing_hash());
        }
    }
}

/// Of a network without name.
const PARAMETERS: [u8; 22] = [2, 0, 0, 0, 0, 0, 0, 15, 100, 0, 0, 0, 1, 10, 1, 0, 0, 0, 0, 0, 0, 0];

fn read_milestone(bytes: &[u8]) -> Option<Milestone> {
    let mut reader = Reader::new(bytes);
    reader.u32("type").ok().filter(|kind| *kind == milestone::KIND)?;
    let milestone = Milestone::parse(&mut reader).ok()?;
    reader.finish("milestone").ok().map(|()| milestone)
}

fn milestone(bytes: &[u8]) -> bool {
    let Some(milestone) = read_milestone(bytes) else { return false };
    assert_eq!(packed(|writer| milestone.pack(writer)), bytes);
    let _ = milestone.essence.id();
    true
}

fn read_output(bytes: &[u8]) -> Option<Output> {
    let mut reader = Reader::new(bytes);
    let output = Output::parse(&mut reader).ok()?;
    reader.finish("output").ok().map(|()| output)
}

fn output(bytes: &[u8]) -> bool {
    let Some(output) = read_output(bytes) else { return false };
    assert_eq!(output.to_bytes(), bytes);
    let text = serde_json::to_vec(&OutputJson::from_output(&output)).unwrap();
    assert_eq!(read_output_json(&text).unwrap(), output);
    true
}

fn read_transaction(bytes: &[u8]) -> Option<Transaction> {
    let mut reader = Reader::new(bytes);
    reader.u32("type").ok().filter(|kind| *kind == transaction::KIND)?;
    let transaction = Transaction::parse(&mut reader).ok()?;
    reader.finish("transaction").ok().map(|()| transaction)
}

fn transaction(bytes: &[u8]) -> bool {
    let Some(transaction) = read_transaction(bytes) else { return false };
    assert_eq!(packed(|writer| transaction.pack(writer)), bytes);
    check_ledger_rules(Some(&transaction));
    true
}

fn read_block_json(bytes: &[u8]) -> Option<Draft> {
    serde_json::from_slice::<BlockJson>(bytes).ok()?.to_draft().ok()
}

fn block_json(bytes: &[u8]) -> bool {
    let Some(draft) = read_block_json(bytes) else { return false };
    if let Ok(block) = draft.into_block() {
        let text = serde_json::to_vec(&BlockJson::from_block(&block)).unwrap();
        assert_eq!(read_block_json(&text).unwrap().into_block().unwrap(), block);
        // A block in JSON may be longer than one in bytes.
        let packed = block.pack();
        assert!(Block::parse(&packed).is_ok_and(|parsed| parsed == block) || packed.len() > 32_768);
    }
    true
}

fn read_output_json(bytes: &[u8]) -> Option<Output> {
    serde_json::from_slice::<OutputJson>(bytes).ok()?.to_output().ok()
}

fn output_json(bytes: &[u8]) -> bool {
    let Some(output) = read_output_json(bytes) else { return false };
    let text = serde_json::to_vec(&OutputJson::from_output(&output)).unwrap();
    assert_eq!(read_output_json(&text).unwrap(), output);
    assert_eq!(read_output(&output.to_bytes()).unwrap(), output);
    true
}

/// Holds one record at a time, as whoever loads a snapshot.
fn walk_full(bytes: &[u8]) -> Option<()> {
    let mut reader = FullReader::new(bytes).ok()?;
    while reader.output().ok()?.is_some() {}
    while reader.diff().ok()?.is_some() {}
    reader.entry_points().ok().map(|_| ())
}

fn full_snapshot(bytes: &[u8]) -> bool {
    let Some((header, outputs, diffs, points)) = read_full(bytes) else { return walk_full(bytes).is_some() };
    let mut written = Vec::new();
    let (outputs_again, diffs_again) = (outputs.iter().cloned().map(Ok), diffs.iter().cloned().map(Ok));
    full::write(&mut written, &header, outputs_again, diffs_again, &points).unwrap();
    assert_eq!(read_full(&written), Some((header, outputs, diffs, points)));
    true
}

type Full = (full::Header, Vec<Booked>, Vec<Diff>, Vec<BlockId>);

fn read_full(bytes: &[u8]) -> Option<Full> {
    let mut reader = FullReader::new(bytes).ok()?;
    let header = reader.header().clone();
    let outputs = std::iter::from_fn(|| reader.output().transpose()).collect::<Result<_, _>>().ok()?;
    let diffs = std::iter::from_fn(|| reader.diff().transpose()).collect::<Result<_, _>>().ok()?;
    assert_eq!(reader.header(), &header);
    Some((header, outputs, diffs, reader.entry_points().ok()?))
}

fn walk_delta(bytes: &[u8]) -> Option<()> {
    let mut reader = DeltaReader::new(bytes).ok()?;
    while reader.diff().ok()?.is_some() {}
    reader.entry_points().ok().map(|_| ())
}

fn delta_snapshot(bytes: &[u8]) -> bool {
    let read = || -> Result<Vec<u8>, snapshot::Error> {
        let mut reader = DeltaReader::new(bytes)?;
        let mut writer = Writer::default();
        writer.bytes(&reader.header().to_bytes());
        while let Some(diff) = reader.diff()? {
            diff.pack(&mut writer);
        }
        reader.entry_points()?.iter().for_each(|point| {
            writer.bytes(&point.0);
        });
        Ok(writer.into_bytes())
    };
    let written = read().ok();
    assert!(written.as_deref().is_none_or(|written| written == bytes));
    written.is_some()
}

fn protocol_parameters(bytes: &[u8]) -> bool {
    let Ok(params) = ProtocolParameters::parse(bytes) else { return false };
    assert_eq!(params.pack(), bytes);
    let _ = params.network_id();
    true
}

fn config(bytes: &[u8]) -> bool {
    match Config::parse_bytes(bytes) {
        Ok(config) => {
            let _ = config.small();
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The address that the packet is for, so that it is looked into.
fn mac_in(bytes: &[u8]) -> wire::Mac {
    bytes.get(28..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

fn dhcp(bytes: &[u8]) -> bool {
    let _ = wire::unframe(bytes).map(|payload| wire::decode(payload, mac_in(payload)));
    let Some(reply) = wire::decode(bytes, mac_in(bytes)) else { return false };
    for code in 0..=u8::MAX {
        assert_eq!(reply.address(code), reply.addresses(code).first().copied());
        let _ = reply.number(code);
    }
    true
}

fn read_sntp(bytes: &[u8]) -> Option<sntp::Answer> {
    let nonce = bytes.get(24..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    sntp::answer(bytes, u64::from_be_bytes(nonce), 1_764_000_000_000_000_000, 200_000_000).ok()
}

fn sntp_answer(bytes: &[u8]) -> bool {
    let Some(answer) = read_sntp(bytes) else { return false };
    assert!(answer.delay_ns >= 0);
    true
}

fn packed(pack: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    pack(&mut writer);
    writer.into_bytes()
}

/// As a stream is read; `each` gets every message with its frame. Whether nothing is left.
fn walk_frames(bytes: &[u8], each: impl Fn(&gossip::wire::Message<'_>, &[u8])) -> bool {
    let mut rest = bytes;
    while let Ok(Some((message, length))) = gossip::wire::parse(rest) {
        each(&message, &rest[..length]);
        rest = &rest[length..];
    }
    rest.is_empty()
}

/// Name of the service of gossip.
const GOSSIP: &str = "gossip";

fn nobody() -> mdns::Card {
    mdns::Card { id: String::new(), port: 0, network: None, open: false }
}

fn mdns(bytes: &[u8]) -> bool {
    let heard = mdns::hear(bytes, &nobody());
    for card in &heard.cards {
        let again = mdns::announcement(card, None).map(|bytes| mdns::hear(&bytes, &nobody()).cards);
        assert!(again.is_none_or(|again| again == [card.clone()]), "{card:?}");
    }
    heard != mdns::Heard::default()
}
