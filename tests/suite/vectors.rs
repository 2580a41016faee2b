//! Values from the TIPs and from the published Go library, typed here. Sources: `tests/vectors/README.md`.

use osmia::pow;
use osmia::protocol::address::Address;
use osmia::protocol::block::{self, Block, Payload};
use osmia::protocol::id::BlockId;
use osmia::protocol::params::{ProtocolParameters, RentStructure};
use osmia::protocol::{hex, merkle};

fn bytes(text: &str) -> Vec<u8> {
    hex::decode("vector", &format!("0x{text}")).unwrap()
}

#[test]
fn v1_tip_12_example() {
    let message = bytes("48656c6c6f2c20576f726c64215ee6aaaaaaaaaaaa");
    assert_eq!(pow::trailing_zeros(&message), Some(9));
    assert_eq!(pow::score(&message), Some(937.285_714_285_714_3));
    assert!(pow::is_sufficient(&message, 937) && !pow::is_sufficient(&message, 938));
}

#[test]
fn v2_published_scores() {
    let score = |message: &[u8]| pow::score(message).unwrap();
    let thirds = |zeros: i32, length: f64| 3f64.powi(zeros) / length;
    assert_eq!(score(&[0; 8]).to_bits(), thirds(1, 8.0).to_bits());
    assert_eq!(score(&bytes("cb7c020000000000")).to_bits(), thirds(10, 8.0).to_bits());
    assert_eq!(score(&bytes("41eb775555555555")).to_bits(), thirds(14, 8.0).to_bits());
    assert_eq!(score(&[0; 10_000]).to_bits(), (1.0f64 / 10_000.0).to_bits());
    assert_eq!(pow::score(&[0; 7]), None);
}

/// TIP-19: the smallest output of each kind, in bytes, and its deposit at 250, 500 and 100 tokens for a virtual byte.
#[test]
fn v11_storage_deposits() {
    use osmia::protocol::id::{AliasId, NftId};
    use osmia::protocol::output::condition::{Condition, Conditions};
    use osmia::protocol::output::{Alias, Basic, Foundry, Nft, Output, TokenScheme, Value};
    let owner = Address::Ed25519([7; 32]);
    let value = || Value { amount: 1, native_tokens: Default::default() };
    let owned = || Conditions::new(vec![Condition::Address(owner)], &[0], &[0]).unwrap();
    let controllers = vec![Condition::StateController(owner), Condition::Governor(owner)];
    let scheme = TokenScheme { minted: 0.into(), melted: 0.into(), maximum: 1.into() };
    let immutable = vec![Condition::ImmutableAlias(AliasId([1; 32]))];
    let outputs = [
        Output::Basic(Basic { value: value(), conditions: owned(), features: Default::default() }),
        Output::Alias(Alias {
            value: value(),
            id: AliasId::ZERO,
            state_index: 0,
            state_metadata: vec![],
            foundry_counter: 0,
            conditions: Conditions::new(controllers, &[4, 5], &[4, 5]).unwrap(),
            features: Default::default(),
            immutable_features: Default::default(),
        }),
        Output::Foundry(Foundry {
            value: value(),
            serial: 1,
            scheme,
            conditions: Conditions::new(immutable, &[6], &[6]).unwrap(),
            features: Default::default(),
            immutable_features: Default::default(),
        }),
        Output::Nft(Nft {
            value: value(),
            id: NftId::ZERO,
            conditions: owned(),
            features: Default::default(),
            immutable_features: Default::default(),
        }),
    ];
    let deposits = |cost: u32| {
        let rent = RentStructure { v_byte_cost: cost, v_byte_factor_data: 1, v_byte_factor_key: 10 };
        outputs.each_ref().map(|output| osmia::protocol::rent::min_deposit(&rent, output))
    };
    assert_eq!(outputs.each_ref().map(|output| output.to_bytes().len()), [46, 123, 148, 79]);
    assert_eq!(deposits(250), [106_500, 125_750, 132_000, 114_750]);
    assert_eq!(deposits(500), [213_000, 251_500, 264_000, 229_500]);
    assert_eq!(deposits(100), [42_600, 50_300, 52_800, 45_900]);
}

#[test]
fn v3_tip_24_block() {
    let example = bytes(
        "0202210fc7bb818639ac48a4c6afa2f1581a8b9525e20fda68927f2b2ff836f73578db0fa54c29f7fd928d92ca43f193dee47f59\
         1549f597a811c8fa67ab031ebd9c180000000500000004494f54410b00000068656c6c6f20776f726c64ce6d000000000000",
    );
    let block = Block::parse(&example).unwrap();
    assert_eq!(block.pack(), example);
    assert_eq!(
        block::id_of(&example).to_string(),
        "0x1a58801fbea0f94796b125669dc293edce794188ca3514f834e2cfaa79c52cf6"
    );
    assert_eq!((block.protocol_version, block.nonce), (2, 0x6dce));
    let Some(Payload::TaggedData(payload)) = &block.payload else { panic!("{block:?}") };
    assert_eq!((payload.tag(), payload.data()), (&b"IOTA"[..], &b"hello world"[..]));
    assert!((pow::score(&example).unwrap() - 3.0 / 102.0).abs() < 1e-12);
}

#[test]
fn v4_tip_4_seven_leaves() {
    let leaves = [
        "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
        "81855ad8681d0d86d1e91e00167939cb6694d2c422acd208a0072939487f6999",
        "eb9d18a44784045d87f3c67cf22746e995af5a25367951baa2ff6cd471c483f1",
        "5fb90badb37c5821b6d95526a41a9504680b4e7c8b763a1b1d49d4955c848621",
        "6325253fec738dd7a9e28bf921119c160f0702448615bbda08313f6a8eb668d2",
        "0bf5059875921e668a5bdf2c7fc4844592d2572bcd0668d2d6c52f5054e2d083",
        "6bf84c7174cb7476364cc3dbd968b0f7172ed85794bb358b0c3b525da1786f9f",
    ];
    let leaves = leaves.map(|leaf| BlockId(bytes(leaf).try_into().unwrap()));
    assert_eq!(
        hex::encode(&merkle::root(&leaves)),
        "0xbf67ce7ba23e8c0951b5abaec4f5524360d2c26d971ff226d3359fa70cdb0beb"
    );
}

#[test]
fn v5_empty_tree() {
    assert_eq!(
        hex::encode(&merkle::root(&[])),
        "0x0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    );
}

fn parameters(name: &str) -> ProtocolParameters {
    ProtocolParameters {
        version: 2,
        network_name: name.to_owned(),
        bech32_hrp: "tst".to_owned(),
        min_pow_score: 0,
        below_max_depth: 15,
        rent: RentStructure { v_byte_cost: 500, v_byte_factor_data: 1, v_byte_factor_key: 10 },
        token_supply: 2_779_530_283_277_761,
    }
}

#[test]
fn v6_network_ids() {
    for (name, id) in [
        ("iota-mainnet", 9_374_574_019_616_453_254),
        ("shimmer", 14_364_762_045_254_553_490),
        ("testnet", 8_342_982_141_227_064_571),
        ("private_tangle1", 8_453_507_715_857_476_362),
        ("alphanet1", 6_530_425_480_034_647_824),
    ] {
        assert_eq!(parameters(name).network_id(), id, "{name}");
    }
}

#[test]
fn v7_protocol_parameters() {
    let packed = bytes("020f707269766174655f74616e676c653103747374000000000ff4010000010ac15d2dd3f7df0900");
    assert_eq!(parameters("private_tangle1").pack(), packed);
    assert_eq!(ProtocolParameters::parse(&packed).unwrap(), parameters("private_tangle1"));
    for cut in 0..packed.len() {
        ProtocolParameters::parse(&packed[..cut]).unwrap_err();
    }
}

/// A milestone that HORNET 2.0.1 issued in a private network, as its gossip carried it.
#[test]
fn a_recorded_milestone_block() {
    let recorded = bytes(include_str!("../vectors/milestone_block.hex").trim());
    let block = Block::parse(&recorded).unwrap();
    assert_eq!(block.pack(), recorded);
    let milestone = block.milestone().unwrap();
    let expected = include_str!("../vectors/milestone_block.txt");
    let line = |name: &str| {
        expected
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name}"))
            .trim()
    };
    assert_eq!(block::id_of(&recorded).to_string(), line("blockId"));
    assert_eq!(milestone.essence.id().to_string(), line("milestoneId"));
    assert_eq!(milestone.essence.index.to_string(), line("index"));
    let keys = line("keys").split(' ').map(|key| osmia::ledger::authority::KeyRange {
        public_key: bytes(key).try_into().unwrap(),
        start: osmia::protocol::id::MilestoneIndex(0),
        end: osmia::protocol::id::MilestoneIndex(0),
    });
    let mut authority = osmia::ledger::authority::Authority { keys: keys.collect(), threshold: 2 };
    authority.check(&block, milestone).unwrap();
    // One key less, one signature too many: all of them must be by known keys.
    authority.keys.pop();
    authority.threshold = 1;
    authority.check(&block, milestone).unwrap_err();
}

#[test]
fn v8_parameters_as_an_option() {
    use osmia::protocol::milestone::MilestoneOption;
    use osmia::protocol::pack::{Reader, Writer};
    let params = parameters("private_tangle1").pack();
    let option = MilestoneOption::Parameters {
        target: osmia::protocol::id::MilestoneIndex(0),
        protocol_version: 2,
        params: params.clone(),
    };
    let mut writer = Writer::default();
    option.pack(&mut writer);
    let packed = writer.into_bytes();
    assert_eq!(packed, [bytes("0100000000022800"), params].concat());
    assert_eq!(MilestoneOption::parse(&mut Reader::new(&packed)), Ok(option));
}

/// The genesis snapshot of HORNET's integration tests, 304 bytes, field by field.
#[test]
fn v12_a_genesis_snapshot() {
    use osmia::snapshot::full::{self, FullReader};
    let zeros = |count: usize| "00".repeat(count);
    let text = [
        "0200".to_owned(),
        zeros(12 + 32 + 4 + 32 + 8),
        "2a00".to_owned(),
        "01000000000222000209616c7068616e65743103726d73640000000ff4010000010ac15d2dd3f7df0900".to_owned(),
        "0100000000000000000000000100".to_owned(),
        zeros(34 + 32 + 8),
        "2e000000".to_owned(),
        "03c15d2dd3f7df0900000100006920b176f613ec7be59e68fc68f597eb3393af80f74c7c3db78198147d5f1f9200"
            .to_owned(),
        zeros(32),
    ];
    let file = bytes(&text.concat());
    assert_eq!(file.len(), 304);
    let mut reader = FullReader::new(file.as_slice()).unwrap();
    let header = reader.header().clone();
    assert_eq!((header.params.network_name.as_str(), header.params.min_pow_score), ("alphanet1", 100));
    let output = reader.output().unwrap().unwrap();
    assert_eq!(output.output.value().amount, 2_779_530_283_277_761);
    assert!(reader.output().unwrap().is_none() && reader.diff().unwrap().is_none());
    let points = reader.entry_points().unwrap();
    let mut again = Vec::new();
    full::write(&mut again, &header, std::iter::once(Ok(output)), std::iter::empty(), &points).unwrap();
    assert_eq!(again, file);
}
