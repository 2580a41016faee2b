//! Blocks: bytes to values and back, JSON to values and back, and no input that panics.

use osmia::protocol::block::{Block, Draft, Parents, Payload};
use osmia::protocol::id::{BlockId, MilestoneId, MilestoneIndex};
use osmia::protocol::json::BlockJson;
use osmia::protocol::json_output::OutputJson;
use osmia::protocol::json_transaction::OptionJson;
use osmia::protocol::milestone::{Essence, Milestone, MilestoneOption, Options, Signature};
use osmia::protocol::output::Output;
use osmia::protocol::pack::Reader;
use osmia::protocol::tagged_data::TaggedData;
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::words;

fn parents() -> impl Strategy<Value = Parents> {
    btree_set(any::<[u8; 32]>(), 1..=8)
        .prop_map(|ids| Parents::new(ids.into_iter().map(BlockId).collect()).unwrap())
}

fn tagged_data() -> impl Strategy<Value = Payload> {
    (vec(any::<u8>(), 0..=64), vec(any::<u8>(), 0..200))
        .prop_map(|(tag, data)| Payload::TaggedData(TaggedData::new(tag, data).unwrap()))
}

fn signatures() -> impl Strategy<Value = Vec<Signature>> {
    let pair = (any::<[u8; 32]>(), any::<[u8; 32]>());
    // Keys whose first 31 bytes differ, as HORNET compares no more.
    vec((any::<[u8; 31]>(), pair), 1..5).prop_map(|parts| {
        let mut signatures = parts
            .into_iter()
            .map(|(key, (first, second))| {
                let mut public_key = [0; 32];
                public_key[..31].copy_from_slice(&key);
                let signature = [first, second].concat().try_into().unwrap();
                Signature { public_key, signature }
            })
            .collect::<Vec<_>>();
        signatures.sort_unstable();
        signatures.dedup_by_key(|signature| signature.public_key);
        signatures
    })
}

fn milestone() -> impl Strategy<Value = Payload> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u8>());
    let hashes = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>());
    (numbers, hashes, parents(), vec(any::<u8>(), 0..50), words::options(), signatures()).prop_map(
        |(
            (index, timestamp, protocol_version),
            (previous, inclusion, applied),
            parents,
            metadata,
            options,
            signatures,
        )| {
            let essence = Essence {
                index: MilestoneIndex(index),
                timestamp,
                protocol_version,
                previous: MilestoneId(previous),
                parents,
                inclusion_merkle_root: inclusion,
                applied_merkle_root: applied,
                metadata,
                options,
            };
            Payload::Milestone(Box::new(Milestone::new(essence, signatures).unwrap()))
        },
    )
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    let transaction = words::transaction().prop_map(|payload| Some(Payload::Transaction(Box::new(payload))));
    let payload =
        prop_oneof![Just(None), tagged_data().prop_map(Some), milestone().prop_map(Some), transaction];
    (any::<u8>(), parents(), payload, any::<u64>()).prop_map(|(protocol_version, parents, payload, nonce)| {
        Block { protocol_version, parents, payload, nonce }
    })
}

proptest! {
    #[test]
    fn binary_form_round_trips(block in block()) {
        let bytes = block.pack();
        prop_assert_eq!(Block::parse(&bytes).unwrap(), block);
    }

    #[test]
    fn json_form_round_trips(block in block()) {
        let text = serde_json::to_string(&BlockJson::from_block(&block)).unwrap();
        let json: BlockJson = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(json.to_draft().unwrap().into_block().unwrap(), block);
    }

    /// Whatever parses packs to the same bytes: there is one binary form of a block.
    #[test]
    fn a_changed_byte_is_refused_or_read_as_it_is(block in block(), at in any::<usize>(), flip in 1..=255u8) {
        let mut bytes = block.pack();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(changed) = Block::parse(&bytes) {
            prop_assert_eq!(changed.pack(), bytes);
        }
    }

    #[test]
    fn a_cut_or_lengthened_block_is_refused(block in block(), cut in any::<usize>()) {
        let mut bytes = block.pack();
        let cut = cut % bytes.len();
        prop_assert!(Block::parse(&bytes[..cut]).is_err());
        bytes.push(0);
        prop_assert!(Block::parse(&bytes).is_err());
    }

    #[test]
    fn outputs_round_trip(output in words::output()) {
        let bytes = output.to_bytes();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Output::parse(&mut reader).unwrap(), output.clone());
        reader.finish("output").unwrap();
        let text = serde_json::to_string(&OutputJson::from_output(&output)).unwrap();
        prop_assert_eq!(serde_json::from_str::<OutputJson>(&text).unwrap().to_output().unwrap(), output);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Block::parse(&bytes);
        let _ = Draft::parse(&bytes);
    }

    #[test]
    fn no_json_panics(text in "\\{[ -~]{0,80}\\}", value in any::<u64>()) {
        let _ = serde_json::from_str::<BlockJson>(&text).map(|json| json.to_draft());
        let text = format!(r#"{{"protocolVersion":2,"parents":["0x{value:x}"],"payload":{{"type":{}}},"nonce":"{value}"}}"#, value % 9);
        let _ = serde_json::from_str::<BlockJson>(&text).map(|json| json.to_draft());
    }
}

/// Each rule of TIP-24, TIP-23 and TIP-29 that this code enforces, broken alone, and the field it is told by.
#[test]
fn each_broken_rule_is_named() {
    let id = |n: u8| [n; 32];
    let frame = |parents: &[[u8; 32]], payload: &[u8]| {
        let mut bytes = vec![2, u8::try_from(parents.len()).unwrap()];
        bytes.extend(parents.concat());
        bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend(payload);
        bytes.extend([0; 8]);
        bytes
    };
    let tagged = |tag: u8| [&[5, 0, 0, 0, tag][..], &vec![7; tag.into()], &[0, 0, 0, 0]].concat();
    Block::parse(&frame(&[id(1), id(2)], &tagged(64))).unwrap();
    let mut oversized = frame(&[id(1)], &[]);
    oversized.resize(32_769, 0);
    for (bytes, field) in [
        (frame(&[], &[]), "parents count"),
        (frame(&[1, 2, 3, 4, 5, 6, 7, 8, 9].map(id), &[]), "parents count"),
        (frame(&[id(2), id(1)], &[]), "parents"),
        (frame(&[id(1), id(1)], &[]), "parents"),
        (frame(&[id(1)], &tagged(65)), "payload.tag length"),
        (frame(&[id(1)], &[6, 0, 0, 0, 2]), "payload.essence type"),
        (frame(&[id(1)], &[8, 0, 0, 0]), "payload.type"),
        (frame(&[id(1)], &[5, 0, 0]), "payload.type"),
        (frame(&[id(1)], &[&tagged(0)[..], &[0]].concat()), "payload"),
        (frame(&[id(1)], &[7, 0, 0, 0, 1]), "payload.index"),
        (oversized, "block length"),
        (vec![], "protocolVersion"),
    ] {
        let error = Block::parse(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}:")), "{error:?} does not name {field}");
    }
}

/// JSON may hold what no length of the binary form can say.
#[test]
fn json_longer_than_its_length_field_is_refused() {
    let params = "00".repeat(65_536);
    let json = format!(r#"{{"type":1,"targetMilestoneIndex":1,"protocolVersion":2,"params":"0x{params}"}}"#);
    let option = serde_json::from_str::<OptionJson>(&json).unwrap().to_option().unwrap();
    let error = Options::new(vec![option]).unwrap_err().to_string();
    assert_eq!(error, "payload.options params length: 65536 is not in 0..=8192");
}

/// Two options of one type are read as HORNET reads them, in the order of their bytes; three, or two equal ones, are not.
#[test]
fn milestone_options_may_share_a_type() {
    let option = |target: u32| MilestoneOption::Parameters {
        target: MilestoneIndex(target),
        protocol_version: 2,
        params: vec![1],
    };
    let options = |targets: &[u32]| Options::new(targets.iter().map(|target| option(*target)).collect());
    assert_eq!(options(&[1, 2]).unwrap().as_slice().len(), 2);
    for refused in [&[2, 1][..], &[1, 1], &[1, 2, 3]] {
        options(refused).unwrap_err();
    }
}

/// A length prefix near 2^32 must not make the reader allocate that much.
#[test]
fn announced_lengths_are_not_believed() {
    let mut bytes = vec![2, 1];
    bytes.extend([0; 32]);
    bytes.extend(u32::MAX.to_le_bytes());
    assert!(Block::parse(&bytes).unwrap_err().to_string().contains("4294967295 more bytes needed"));
}
