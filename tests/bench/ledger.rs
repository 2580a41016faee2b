//! The ledger: checking blocks as they come in, and confirming milestones on a real store.
//!
//! `cargo bench --bench ledger`; the last line is one JSON object. `vs` says how many times the peer's figure ours is:
//! checking (parsing, all rules that need no ledger, id, signatures) beside iota-sdk's strict unpacking, id and signature
//! check; confirming beside the signatures alone that the milestone's transactions have, one after the other. `flat` is
//! the cost of a block in a cone of 10,000 over that in one of 1,000, beside a limit of 1.5.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and panics")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_zebra::{Signature, SigningKey, VerificationKey};
use iota_sdk::types::block::address::Ed25519Address as TheirAddress;
use iota_sdk::types::block::payload::Payload as TheirPayload;
use iota_sdk::types::block::protocol::ProtocolParameters as TheirParameters;
use iota_sdk::types::block::signature::Signature as TheirSignature;
use iota_sdk::types::block::unlock::Unlock as TheirUnlock;
use osmia::config::Config;
use osmia::engine::effect::Effect;
use osmia::engine::{Engine, Network, Origin, Start, checked};
use osmia::ledger::authority::{Authority, KeyRange};
use osmia::ledger::treasury::plain;
use osmia::ledger::whiteflag::Question;
use osmia::protocol::address::Address;
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
use osmia::protocol::milestone::{Essence as MilestoneEssence, Milestone, Signature as MilestoneSignature};
use osmia::protocol::params::ProtocolParameters;
use osmia::protocol::tagged_data::TaggedData;
use osmia::protocol::transaction::{Essence, Transaction, Unlock, inputs_commitment};
use osmia::snapshot::{genesis, load};
use osmia::store::{Limits, Store};

/// Times that everything is measured; medians count.
const ROUNDS: usize = 5;

/// What each owner of the genesis has.
const GRANT: u64 = 10_000_000;

fn main() {
    let mut rows = Vec::new();
    let network = network();
    let owner = SigningKey::from([5; 32]);
    let (outputs, blocks) = cone(&network, &owner, 2_000);
    drop(outputs);
    for (name, wanted) in [("check/data", false), ("check/transaction", true)] {
        let of_kind = |bytes: &&Vec<u8>| Block::parse(bytes).unwrap().transaction().is_some() == wanted;
        let some = blocks.iter().filter(of_kind).collect::<Vec<_>>();
        let ours = rate(some.len(), || some.iter().for_each(|bytes| check(&network, bytes)));
        let theirs = their_parameters(&network.params);
        let peer = rate(some.len(), || some.iter().for_each(|bytes| unpack(bytes, &theirs)));
        rows.push(row(name, ours, "blocks/s", "iota-sdk", ours / peer));
    }
    let signatures = signatures_per_second(&blocks);
    let mut each = Vec::new();
    for count in [1_000, 10_000] {
        let seconds = median((0..ROUNDS).map(|_| confirm(&network, &owner, count)).collect());
        let per_second = count as f64 / seconds;
        // Every second block has a signature.
        rows.push(row(
            &format!("confirm/{count}"),
            per_second,
            "blocks/s",
            "signatures",
            per_second / (2.0 * signatures),
        ));
        each.push(seconds / count as f64);
    }
    rows.push(row("confirm/flat", each[1] / each[0], "ratio", "limit", 1.5 / (each[1] / each[0])));
    println!("{{\"bench\":\"ledger\",\"rows\":[{}]}}", rows.join(","));
}

fn row(name: &str, value: f64, unit: &str, peer: &str, ratio: f64) -> String {
    println!("{name:20} {value:12.2} {unit:10} {ratio:6.2} x {peer}");
    format!(
        "{{\"name\":\"{name}\",\"value\":{value:.3},\"unit\":\"{unit}\",\"vs\":{{\"{peer}\":{ratio:.3}}}}}"
    )
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Of `count` things done at once, in a second.
fn rate(count: usize, mut work: impl FnMut()) -> f64 {
    let seconds = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    });
    count as f64 / median(seconds.collect())
}

/// Everything that is done to a block from outside before the engine sees it.
fn check(network: &Network, bytes: &[u8]) {
    let checked = checked::check(network, Arc::from(bytes)).unwrap();
    assert_eq!(checked.signed, checked.block.transaction().is_some());
    black_box(checked.id);
}

fn verify(transaction: &Transaction) -> bool {
    let message = transaction.essence.signing_hash();
    transaction.unlocks.iter().all(|unlock| match unlock {
        Unlock::Signature { public_key, signature } => VerificationKey::try_from(*public_key)
            .and_then(|key| key.verify(&Signature::from(*signature), &message))
            .is_ok(),
        Unlock::Reference(_) | Unlock::Alias(_) | Unlock::Nft(_) => true,
    })
}

fn signatures_per_second(blocks: &[Vec<u8>]) -> f64 {
    let transactions =
        blocks.iter().filter_map(|bytes| Block::parse(bytes).unwrap().into_transaction()).collect::<Vec<_>>();
    rate(transactions.len(), || assert!(transactions.iter().all(verify)))
}

fn unpack(bytes: &[u8], parameters: &TheirParameters) {
    let block = iota_sdk::types::block::Block::unpack_strict(bytes, parameters);
    let block = block.unwrap();
    black_box(block.id());
    let Some(TheirPayload::Transaction(transaction)) = block.payload() else { return };
    let message = transaction.essence().hash();
    for unlock in transaction.unlocks().iter() {
        let TheirUnlock::Signature(unlock) = unlock else { continue };
        let TheirSignature::Ed25519(signature) = unlock.signature();
        let address = TheirAddress::new(osmia::protocol::blake2b_256(signature.public_key_bytes().as_ref()));
        signature.is_valid(&message, &address).unwrap();
    }
}

fn their_parameters(params: &ProtocolParameters) -> TheirParameters {
    let rent = iota_sdk::types::block::output::RentStructure::new(
        params.rent.v_byte_cost,
        params.rent.v_byte_factor_key,
        params.rent.v_byte_factor_data,
    );
    let (name, hrp) = (params.network_name.clone(), params.bech32_hrp.as_str());
    TheirParameters::new(2, name, hrp, 0, params.below_max_depth, rent, params.token_supply).unwrap()
}

fn network() -> Network {
    let params = Config::parse("[coordinator]\nenabled = true\n[network]\nmin_pow_score = 0\n")
        .unwrap()
        .network
        .params;
    let public_key = VerificationKey::from(&coordinator()).into();
    let (start, end) = (MilestoneIndex(0), MilestoneIndex(0));
    Network { params, authority: Authority { keys: vec![KeyRange { public_key, start, end }], threshold: 1 } }
}

fn coordinator() -> SigningKey {
    SigningKey::from([7; 32])
}

/// Outputs of a genesis, and blocks of which every second one spends one of them; each stands on the two before.
fn cone(network: &Network, owner: &SigningKey, count: usize) -> (Vec<osmia::ledger::Booked>, Vec<Vec<u8>>) {
    let address = Address::of_key(&VerificationKey::from(owner).into());
    let grants = vec![(address, GRANT); count / 2];
    let outputs = genesis::outputs(network.params.token_supply, address, &grants).unwrap();
    let mut last = [BlockId::ZERO, BlockId::ZERO];
    let blocks = (0..count).map(|number| {
        let payload = match number % 2 {
            0 => {
                let data = [&number.to_le_bytes()[..], &[0; 242]].concat();
                Payload::TaggedData(TaggedData::new(b"bench".to_vec(), data).unwrap())
            }
            _ => Payload::Transaction(Box::new(spend(network, owner, &outputs[1 + number / 2]))),
        };
        let parents = Parents::from_unsorted(last.to_vec()).unwrap();
        let bytes = Block { protocol_version: 2, parents, payload: Some(payload), nonce: 0 }.pack();
        last = [osmia::protocol::block::id_of(&bytes), last[0]];
        bytes
    });
    let blocks = blocks.collect();
    (outputs, blocks)
}

fn spend(network: &Network, owner: &SigningKey, input: &osmia::ledger::Booked) -> Transaction {
    let address = Address::of_key(&VerificationKey::from(owner).into());
    let inputs: Vec<OutputId> = vec![input.id];
    let essence = Essence {
        network_id: network.params.network_id(),
        inputs,
        inputs_commitment: inputs_commitment(std::iter::once(&input.output)),
        outputs: vec![plain(address, GRANT / 2), plain(address, GRANT / 2)],
        payload: None,
    };
    let signature = owner.sign(&essence.signing_hash()).into();
    let unlock = Unlock::Signature { public_key: VerificationKey::from(owner).into(), signature };
    Transaction { essence, unlocks: vec![unlock] }
}

/// Seconds from the arrival of a milestone to its being durable and told.
fn confirm(network: &Network, owner: &SigningKey, count: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep_milestones: 1_000, live_milestones: 5, cache_bytes: 8 << 20 };
    let mut store = Store::open(folder.path(), &network.params.network_name, limits).unwrap();
    let (outputs, blocks) = cone(network, owner, count);
    for output in outputs {
        load::Target::insert(&mut store, output).unwrap();
    }
    let base = genesis::base(network.params.clone());
    store.found(&base).unwrap();
    store.recover(0).unwrap();
    let reader = store.reader();
    let mut engine = Engine::new(Start::at(&base));
    let mut tip = BlockId::ZERO;
    for bytes in blocks {
        let checked = checked::check(network, Arc::from(bytes)).unwrap();
        tip = checked.id;
        engine.submit(&reader, checked, Origin::Replayed, 0).unwrap();
        settle(&mut engine, &mut store);
    }
    let question = Question {
        index: MilestoneIndex(1),
        timestamp: 1_000,
        parents: Parents::new(vec![tip]).unwrap(),
        previous: MilestoneId::ZERO,
    };
    let roots = engine.white_flag(&reader, &question).unwrap();
    let essence = MilestoneEssence {
        index: question.index,
        timestamp: question.timestamp,
        protocol_version: 2,
        previous: question.previous,
        parents: question.parents,
        inclusion_merkle_root: roots.inclusion_merkle_root,
        applied_merkle_root: roots.applied_merkle_root,
        metadata: Vec::new(),
        options: Default::default(),
    };
    let signature = MilestoneSignature {
        public_key: VerificationKey::from(&coordinator()).into(),
        signature: coordinator().sign(&essence.id().0).into(),
    };
    let parents = essence.parents.clone();
    let milestone = Milestone::new(essence, vec![signature]).unwrap();
    let payload = Some(Payload::Milestone(Box::new(milestone)));
    let bytes = Block { protocol_version: 2, parents, payload, nonce: 0 }.pack();
    let started = Instant::now();
    let checked = checked::check(network, Arc::from(bytes)).unwrap();
    engine.submit(&reader, checked, Origin::Replayed, 0).unwrap();
    settle(&mut engine, &mut store);
    let took: Duration = started.elapsed();
    assert_eq!(engine.confirmed().index, MilestoneIndex(1));
    took.as_secs_f64()
}

fn settle(engine: &mut Engine, store: &mut Store) {
    let reader = store.reader();
    loop {
        while let Some(effect) = engine.poll() {
            match effect {
                Effect::Store { id, bytes, forward: _ } => store.put_block(&id, &bytes, false).unwrap(),
                Effect::Request { .. } => {}
                Effect::Commit(confirmation) => store.commit(&confirmation).unwrap(),
            }
        }
        if !engine.advance(&reader).unwrap() {
            return;
        }
    }
}
