//! What the fuzzer begins with: small files for every parser, made of the words of this code. `OSMIA_FUZZ_SEEDS=1` writes
//! them to `tests/fuzz/corpus`.

use osmia::gossip::wire::{Heartbeat, Message};
use osmia::ledger::treasury::Treasury;
use osmia::ledger::{Booked, Spent};
use osmia::net::lan::wire as lan;
use osmia::protocol::block::{Block, Payload};
use osmia::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId, TransactionId};
use osmia::protocol::json::BlockJson;
use osmia::protocol::json_output::OutputJson;
use osmia::protocol::milestone::{Milestone, MilestoneOption, MilestoneStamp, Options};
use osmia::protocol::output::Output;
use osmia::protocol::pack::Writer;
use osmia::protocol::params::{ProtocolParameters, RentStructure};
use osmia::protocol::tagged_data::TaggedData;
use osmia::snapshot::record::Diff;
use osmia::snapshot::{delta, full};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::fuzz::TARGETS;
use crate::{codec, words};

/// Every parser has seeds that it accepts and others that it refuses.
#[test]
fn seeds_are_what_their_names_say() {
    let write = std::env::var_os("OSMIA_FUZZ_SEEDS").is_some();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (folder, name, bytes) in seeds() {
        let target = TARGETS.iter().find(|target| target.name == folder).unwrap();
        assert_eq!((target.check)(&bytes), name.starts_with("valid-"), "{folder}/{name}");
        if write {
            std::fs::create_dir_all(root.join(folder)).unwrap();
            std::fs::write(root.join(folder).join(name), &bytes).unwrap();
        }
    }
}

const TREASURY: Treasury = Treasury { milestone: MilestoneId::ZERO, amount: 9 };

type Seed = (&'static str, &'static str, Vec<u8>);

fn seeds() -> Vec<Seed> {
    [binary(), json(), snapshots(), small(), of_nodes()].concat()
}

fn binary() -> Vec<Seed> {
    let kinds = [3, 4, 5, 6].map(|kind| first(words::output(), |output| output.kind() == kind).to_bytes());
    let [basic, alias, foundry, nft] = kinds;
    let (tagged, transaction, milestone) = (tagged_block(), transaction_block(), milestone_block());
    let payload = |block: &Block| block.payload.as_ref().unwrap().pack();
    let edited = |bytes: &[u8], edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        edit(&mut bytes);
        bytes
    };
    let mut twice = milestone.milestone().unwrap().clone();
    let parameters = |target: u32| MilestoneOption::Parameters {
        target: MilestoneIndex(target),
        protocol_version: 2,
        params: parameters().pack(),
    };
    twice.essence.options = Options::new(vec![parameters(1), parameters(2)]).unwrap();
    let empty = Block { payload: None, ..tagged.clone() };
    vec![
        ("block", "valid-empty", empty.pack()),
        ("block", "valid-tagged-data", tagged.pack()),
        ("block", "valid-transaction", transaction.pack()),
        ("block", "valid-milestone", milestone.pack()),
        ("block", "bad-parents-count", edited(&tagged.pack(), &|bytes| bytes[1] = 255)),
        (
            "block",
            "bad-payload-length",
            edited(&empty.pack(), &|bytes| {
                let at = bytes.len() - 12;
                bytes[at..at + 4].fill(255);
            }),
        ),
        ("milestone", "valid-receipt", payload(&milestone)),
        ("milestone", "valid-options-twice", packed(|writer| twice.pack(writer))),
        ("milestone", "bad-cut", edited(&payload(&milestone), &|bytes| bytes.truncate(bytes.len() - 1))),
        ("output", "bad-tokens", edited(&basic, &|bytes| bytes[9] = 255)),
        ("output", "valid-basic", basic),
        ("output", "valid-alias", alias),
        ("output", "valid-foundry", foundry),
        ("output", "valid-nft", nft),
        ("transaction", "bad-inputs", edited(&payload(&transaction), &|bytes| bytes[13..15].fill(255))),
        ("transaction", "valid-transaction", payload(&transaction)),
    ]
}

fn json() -> Vec<Seed> {
    let block = |block: &Block| serde_json::to_vec(&BlockJson::from_block(block)).unwrap();
    let output = first(words::output(), |output| output.kind() == 4);
    let list = |inside: &str, entry: &str, count: usize| inside.replace('@', &vec![entry; count].join(","));
    let outputs = r#"{"payload":{"type":6,"essence":{"type":1,"networkId":"0","inputs":[],"outputs":[@]}}}"#;
    vec![
        ("block_json", "valid-transaction", block(&transaction_block())),
        ("block_json", "valid-milestone", block(&milestone_block())),
        ("block_json", "valid-draft", br#"{"protocolVersion":2,"payload":{"type":5,"tag":"0x01"}}"#.to_vec()),
        // Short texts that ask for long lists.
        ("block_json", "bad-outputs", list(outputs, "{}", 4_000).into_bytes()),
        (
            "block_json",
            "valid-wide-payload",
            list(r#"{"payload":{"x":[@],"type":5}}"#, "0", 4_100).into_bytes(),
        ),
        ("block_json", "bad-parents", list(r#"{"parents":[@]}"#, r#""""#, 4_100).into_bytes()),
        ("block_json", "bad-depth", format!(r#"{{"payload":{}"#, "[".repeat(4_000)).into_bytes()),
        ("output_json", "valid-alias", serde_json::to_vec(&OutputJson::from_output(&output)).unwrap()),
        ("output_json", "bad-conditions", list(r#"{"unlockConditions":[@]}"#, "{}", 4_000).into_bytes()),
        ("output_json", "bad-features", list(r#"{"features":[@]}"#, "{}", 4_000).into_bytes()),
    ]
}

fn snapshots() -> Vec<Seed> {
    let output = |n: u8| Booked {
        id: OutputId { transaction: TransactionId([n; 32]), index: n.into() },
        block: BlockId([n; 32]),
        index: MilestoneIndex(5),
        timestamp: 6,
        output: first(words::output(), |output| output.kind() == n),
    };
    let milestone = milestone_block().milestone().unwrap().clone();
    let diff = |milestone: Milestone| Diff {
        treasury_before: milestone.essence.options.receipt().map(|_| TREASURY),
        milestone,
        created: vec![output(3), output(6)],
        consumed: vec![Spent { booked: output(4), transaction: TransactionId([7; 32]) }],
    };
    let point = BlockId([8; 32]);
    let header = full::Header {
        genesis: MilestoneIndex(0),
        target: MilestoneStamp { id: MilestoneId([1; 32]), index: MilestoneIndex(2), timestamp: 3 },
        ledger_index: MilestoneIndex(3),
        treasury: TREASURY,
        params_since: MilestoneIndex(0),
        params: parameters(),
        outputs: 2,
        diffs: 1,
        entry_points: 1,
    };
    let mut whole = Vec::new();
    let (outputs, diffs) = ([Ok(output(3)), Ok(output(5))], [Ok(diff(milestone.clone()))]);
    full::write(&mut whole, &header, outputs.into_iter(), diffs.into_iter(), &[point]).unwrap();
    let empty = full::Header { outputs: 0, diffs: 0, entry_points: 0, ..header.clone() };
    let endless = full::Header { outputs: u64::MAX, diffs: u32::MAX, entry_points: u16::MAX, ..header };
    let body = packed(|writer| diff(milestone).pack(writer));
    let delta = |entry_points_at: usize| {
        let header = delta::Header {
            target: MilestoneIndex(4),
            timestamp: 5,
            full_target: MilestoneId([1; 32]),
            entry_points_at: entry_points_at as u64,
            diffs: 1,
            entry_points: 1,
        };
        [&header.to_bytes(), &body[..], &point.0].concat()
    };
    let mut long = delta(delta::Header::BYTES + body.len());
    // The length of the diff.
    long[delta::Header::BYTES..delta::Header::BYTES + 4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    vec![
        ("full_snapshot", "valid-all-records", whole),
        ("full_snapshot", "valid-empty", empty.to_bytes()),
        ("full_snapshot", "bad-counts", endless.to_bytes()),
        ("delta_snapshot", "valid-all-records", delta(delta::Header::BYTES + body.len())),
        ("delta_snapshot", "bad-offset", delta(7)),
        ("delta_snapshot", "bad-diff-length", long),
    ]
}

fn small() -> Vec<Seed> {
    let card = include_str!("../../image/node.toml");
    let wide = card.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let mut text = parameters().pack();
    text[2] = 0xff;
    let reply = |magic: &[u8], options: &[u8]| {
        let mut bytes = vec![0; 236];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        // Two more options for those who are told to look here.
        bytes[108..115].copy_from_slice(&[6, 4, 9, 9, 9, 9, 255]);
        [&bytes, magic, options].concat()
    };
    let magic = [99, 130, 83, 99];
    let mut answer = vec![0; 48];
    (answer[0], answer[1]) = (4 << 3 | 4, 2);
    answer[32..].fill(0xee);
    vec![
        ("protocol_parameters", "valid-private", parameters().pack()),
        ("protocol_parameters", "bad-name", text),
        ("config", "valid-card", card.as_bytes().to_vec()),
        ("config", "valid-utf16", [&[0xff, 0xfe], &wide[..]].concat()),
        ("config", "bad-key", b"[rest]\nport = 1\n".to_vec()),
        ("config", "bad-list", format!("[clock]\nntp = [{}]\n", "0,".repeat(2_000)).into_bytes()),
        ("config", "bad-depth", format!("a = {}", "[".repeat(2_000)).into_bytes()),
        ("config", "bad-dots", format!("{}a = 1\n", "a.".repeat(1_000)).into_bytes()),
        ("dhcp", "valid-ack", reply(&magic, &[53, 1, 5, 51, 4, 0, 0, 1, 0, 3, 4, 10, 0, 0, 1, 255])),
        ("dhcp", "valid-overload", reply(&magic, &[53, 1, 2, 52, 1, 3, 255])),
        ("dhcp", "bad-cookie", reply(&[0; 4], &[53, 1, 5, 255])),
        ("dhcp", "bad-option-length", reply(&magic, &[53, 255, 5])),
        ("sntp", "bad-stratum", vec![0x24; 24].into_iter().chain([0; 24]).collect()),
        ("sntp", "valid-answer", answer),
    ]
}

/// What nodes tell each other.
fn of_nodes() -> Vec<Seed> {
    let index = MilestoneIndex(7);
    let heartbeat = Heartbeat { solid: index, pruned: index, latest: index, connected: 1, synced: 1 };
    let block = tagged_block().pack();
    let messages = [
        Message::Heartbeat(heartbeat),
        Message::MilestoneRequest(index),
        Message::BlockRequest(BlockId::ZERO),
        Message::Block(&block),
    ];
    let card = lan::Card {
        id: "12D3KooWGdr8M5KX8KuKaXSiKfHJstdVnRkadYmupF7tFk2HrRoA".to_owned(),
        port: 15_600,
        network: Some(lan::NetworkMark { id: 1, keys: 2 }),
        open: true,
    };
    let announcement = lan::announcement(&card, Some([192, 0, 2, 1].into())).unwrap();
    let cut = announcement[..announcement.len() - 1].to_vec();
    // Claims 65,535 answers.
    let lists = [&announcement[..6], &[0xff; 2], &announcement[8..]].concat();
    // A service of UDP at 14626, of that name.
    let service = [&[0x0a, 3], &b"udp"[..], &[0x10, 0xa2, 0x72]].concat();
    let services = [&[0x0a, 19, 0x0a, 7], &b"peering"[..], &[0x12, 8], &service].concat();
    let pong = [&[11, 0x0a, 1, 7, 0x12, 21], &services[..]].concat();
    vec![
        ("gossip", "valid-frames", messages.iter().flat_map(Message::pack).collect()),
        ("gossip", "bad-type", vec![9, 1, 0, 0]),
        ("gossip", "bad-length", vec![4, 15, 0]),
        ("autopeering", "valid-pong", pong),
        ("autopeering", "valid-no-peers", vec![13, 0x0a, 1, 7]),
        ("autopeering", "bad-cut", vec![13, 0x12, 40, 1]),
        ("mdns", "valid-question", lan::question().unwrap()),
        ("mdns", "valid-announcement", announcement),
        ("mdns", "bad-cut", cut),
        ("mdns", "bad-count", lists),
    ]
}

fn parameters() -> ProtocolParameters {
    ProtocolParameters {
        version: 2,
        network_name: "osmia-private".to_owned(),
        bech32_hrp: "tst".to_owned(),
        min_pow_score: 100,
        below_max_depth: 15,
        rent: RentStructure { v_byte_cost: 100, v_byte_factor_data: 1, v_byte_factor_key: 10 },
        token_supply: 2_779_530_283_277_761,
    }
}

fn tagged_block() -> Block {
    let mut block = transaction_block();
    block.payload = Some(Payload::TaggedData(TaggedData::new(b"IOTA".to_vec(), vec![1; 20]).unwrap()));
    block
}

fn transaction_block() -> Block {
    first(codec::block(), |block| {
        let outputs = |kind| move |output: &Output| output.kind() == kind;
        let with = |kind| block.transaction().is_some_and(|it| it.essence.outputs.iter().any(outputs(kind)));
        with(3) && with(5) && block.transaction().is_some_and(|it| it.essence.payload.is_some())
    })
}

fn milestone_block() -> Block {
    first(codec::block(), |block| {
        let options = block.milestone().map(|milestone| milestone.essence.options.as_slice().len());
        options == Some(2)
    })
}

/// The first of arbitrary values, always in the same order, that is as wanted.
fn first<T: std::fmt::Debug>(words: impl Strategy<Value = T>, wanted: impl Fn(&T) -> bool) -> T {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[1; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut values = std::iter::repeat_with(|| words.new_tree(&mut runner).unwrap().current()).take(10_000);
    values.find(wanted).unwrap()
}

fn packed(pack: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    pack(&mut writer);
    writer.into_bytes()
}
