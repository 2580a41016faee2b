//! Value through a real node: founding, transfers, conflicts, what the API says of them, access tokens.

use ed25519_zebra::{SigningKey, VerificationKey};
use osmia::identity::Identity;
use osmia::ledger::treasury::plain;
use osmia::protocol::address::Address;
use osmia::protocol::block::{self, Block, Payload};
use osmia::protocol::hex;
use osmia::protocol::id::{BlockId, OutputId, TransactionId};
use osmia::protocol::output::Output;
use osmia::protocol::pack::Reader;
use osmia::protocol::transaction::{Essence, Transaction, Unlock, inputs_commitment};
use osmia::token::{SALT, Tokens};
use serde_json::{Value, json};

use crate::http;
use crate::node::Node;

const BINARY: &str = "application/vnd.iota.serializer-v1";

/// Of a founder's default configuration.
const SUPPLY: u64 = 2_779_530_283_277_761;

/// The output with all base tokens of a new network.
const GENESIS: OutputId = OutputId { transaction: TransactionId::ZERO, index: 0 };

#[test]
fn value_moves_and_is_told_in_all_its_forms() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    let owner = genesis_key(folder.path());
    let genesis = node.json(&format!("/api/core/v2/outputs/{GENESIS}"));
    assert_eq!(genesis["output"]["amount"], SUPPLY.to_string());
    assert_eq!(genesis["metadata"]["isSpent"], false);

    let friend = SigningKey::from([7; 32]);
    let outputs = vec![plain(address(&friend), 1_000_000), plain(address(&owner), SUPPLY - 1_000_000)];
    let sent = spend(&owner, &[(GENESIS, output(&node, GENESIS))], outputs.clone());
    let transaction = sent.id();
    let block = attach(&node, sent);
    let metadata = referenced(&node, block);
    assert_eq!(metadata["ledgerInclusionState"], "included", "{metadata}");
    assert_eq!(metadata.get("conflictReason"), None);
    let index = metadata["referencedByMilestoneIndex"].as_u64().unwrap();

    let spent = node.json(&format!("/api/core/v2/outputs/{GENESIS}/metadata"));
    assert_eq!(spent["isSpent"], true);
    assert_eq!(spent["transactionIdSpent"], transaction.to_string());
    assert_eq!(spent["milestoneIndexSpent"], index);
    assert!(spent["milestoneTimestampSpent"].as_u64().unwrap() > 1_700_000_000);
    let created = |index| OutputId { transaction, index };
    for (index, expected) in (0..).zip(&outputs) {
        assert_eq!(&output(&node, created(index)), expected);
        let found = node.json(&format!("/api/core/v2/outputs/{}/metadata", created(index)));
        assert_eq!((&found["isSpent"], &found["blockId"]), (&json!(false), &json!(block.to_string())));
    }
    let changes = node.json(&format!("/api/core/v2/milestones/by-index/{index}/utxo-changes"));
    assert_eq!(changes["createdOutputs"], json!([created(0).to_string(), created(1).to_string()]));
    assert_eq!(changes["consumedOutputs"], json!([GENESIS.to_string()]));
    let included = node.json(&format!("/api/core/v2/transactions/{transaction}/included-block"));
    assert_eq!(included, node.json(&format!("/api/core/v2/blocks/{block}")));
    let included = node.json(&format!("/api/core/v2/transactions/{transaction}/included-block/metadata"));
    assert_eq!(included["blockId"], block.to_string());
    assert_eq!(node.json("/api/core/v2/treasury")["amount"], "0");
    assert_eq!(node.json("/api/core/v2/receipts"), json!({"receipts": []}));

    // The friend spends what he got, in the milestone after or a later one; and power fails.
    let outputs = vec![plain(address(&owner), 1_000_000)];
    let back = spend(&friend, &[(created(0), output(&node, created(0)))], outputs);
    let returned = OutputId { transaction: back.id(), index: 0 };
    let block = attach(&node, back);
    assert_eq!(referenced(&node, block)["ledgerInclusionState"], "included");
    node.kill();
    let node = Node::start(folder.path(), "");
    assert_eq!(node.json(&format!("/api/core/v2/outputs/{returned}/metadata"))["isSpent"], false);
    assert_eq!(node.json(&format!("/api/core/v2/outputs/{}/metadata", created(0)))["isSpent"], true);
}

#[test]
fn conflicts_have_their_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    let (owner, stranger) = (genesis_key(folder.path()), SigningKey::from([7; 32]));
    let whole = output(&node, GENESIS);
    let to = |amount| vec![plain(address(&owner), amount)];
    let unknown = OutputId { transaction: TransactionId([9; 32]), index: 0 };
    let reason = |transaction: Transaction| {
        let metadata = referenced(&node, attach(&node, transaction));
        assert_eq!(metadata["ledgerInclusionState"], "conflicting", "{metadata}");
        metadata["conflictReason"].as_u64().unwrap()
    };
    assert_eq!(reason(spend(&owner, &[(unknown, whole.clone())], to(SUPPLY))), 3);
    assert_eq!(reason(spend(&owner, &[(GENESIS, whole.clone())], to(SUPPLY - 1))), 4);
    assert_eq!(reason(spend(&stranger, &[(GENESIS, whole.clone())], to(SUPPLY))), 5);
    assert_eq!(reason(spend(&owner, &[(GENESIS, plain(address(&owner), 5))], to(SUPPLY))), 10);
    // Nothing of that changed anything: it can still be spent, once.
    let block = attach(&node, spend(&owner, &[(GENESIS, whole.clone())], to(SUPPLY)));
    assert_eq!(referenced(&node, block)["ledgerInclusionState"], "included");
    assert_eq!(reason(spend(&owner, &[(GENESIS, whole)], to(SUPPLY))), 1);
}

/// Protected routes want a token of this node; what is neither public nor protected is forbidden.
#[test]
fn protected_routes_want_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "jwt_salt = \"pepper\"\npassword = \"open sesame, please\"\n");
    node.wait_confirmed(1);
    let identity = Identity::load(&folder.path().join("data/identity")).unwrap().unwrap();
    let tokens = |salt: &str| Tokens::new(identity.token_secret(), identity.peer_id(), salt.to_owned());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (good, foreign) = (tokens("pepper").issue(now), tokens(SALT).issue(now));
    let late = tokens("pepper").issue(now + 3_600);
    let ask = |authorization: Option<&str>, body: &str| {
        let header = authorization.map(|value| format!("Authorization: {value}"));
        let headers = header.iter().map(String::as_str).collect::<Vec<_>>();
        http::request(node.api, "POST", "/api/core/v2/whiteflag?/health", &headers, body.as_bytes()).unwrap()
    };
    for (authorization, status) in [
        (None, 400),
        (Some("Digest eDp5".to_owned()), 400),
        (Some("Basic eDp5".to_owned()), 401),
        // "owner:open sesame, pleasE", "other:open sesame, please", and the right ones.
        (Some("Basic b3duZXI6b3BlbiBzZXNhbWUsIHBsZWFzRQ==".to_owned()), 401),
        (Some("Basic b3RoZXI6b3BlbiBzZXNhbWUsIHBsZWFzZQ==".to_owned()), 401),
        (Some("basic b3duZXI6b3BlbiBzZXNhbWUsIHBsZWFzZQ==".to_owned()), 400),
        (Some("Bearer ".to_owned()), 400),
        (Some("Bearer abc".to_owned()), 401),
        (Some(format!("Bearer {foreign}")), 401),
        (Some(format!("Bearer {late}")), 401),
        (Some(format!("bearer {good}")), 400),
    ] {
        let answer = ask(authorization.as_deref(), "{}");
        assert_eq!(answer.status, status, "{authorization:?}: {}", String::from_utf8_lossy(&answer.body));
    }
    // The roots of the milestone to come, asked for until no milestone comes between.
    let roots = || {
        let confirmed = &node.json("/api/core/v2/info")["status"]["confirmedMilestone"];
        let body = json!({
            "index": confirmed["index"].as_u64().unwrap() + 1,
            "timestamp": confirmed["timestamp"].as_u64().unwrap() + 1,
            "parents": node.tips().iter().map(BlockId::to_string).collect::<Vec<_>>(),
            "previousMilestoneId": confirmed["milestoneId"],
        });
        ask(Some(&format!("Bearer {good}")), &body.to_string())
    };
    node.wait_for("answer to whiteflag", |_| roots().status == 200);
    assert_eq!(node.get("/nonsense").status, 403);
    assert_eq!(node.get("/api/core/v2/control/database/prune?/health").status, 400);
}

fn genesis_key(folder: &std::path::Path) -> SigningKey {
    let text = std::fs::read_to_string(folder.join("data/identity/genesis.key")).unwrap();
    SigningKey::from(hex::decode_array::<32>("key", text.trim()).unwrap())
}

fn address(key: &SigningKey) -> Address {
    Address::of_key(&VerificationKey::from(key).into())
}

/// An output in its binary form.
fn output(node: &Node, id: OutputId) -> Output {
    let path = format!("/api/core/v2/outputs/{id}");
    let answer = http::request(node.api, "GET", &path, &[&format!("Accept: {BINARY}")], &[]).unwrap();
    assert_eq!(answer.status, 200, "{path}");
    Output::parse(&mut Reader::new(&answer.body)).unwrap()
}

/// A transaction signed by one key that owns all inputs.
fn spend(key: &SigningKey, inputs: &[(OutputId, Output)], outputs: Vec<Output>) -> Transaction {
    let network = osmia::config::Config::parse("[coordinator]\nenabled = true\n").unwrap().network;
    let essence = Essence {
        network_id: network.params.network_id(),
        inputs: inputs.iter().map(|(id, _)| *id).collect(),
        inputs_commitment: inputs_commitment(inputs.iter().map(|(_, output)| output)),
        outputs,
        payload: None,
    };
    let signature = key.sign(&essence.signing_hash()).into();
    let first = Unlock::Signature { public_key: VerificationKey::from(key).into(), signature };
    let others = std::iter::repeat_n(Unlock::Reference(0), inputs.len() - 1);
    Transaction { essence, unlocks: std::iter::once(first).chain(others).collect() }
}

fn attach(node: &Node, transaction: Transaction) -> BlockId {
    let bytes = node.mined(Payload::Transaction(Box::new(transaction)));
    let answer = node.post(BINARY, &bytes);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert!(Block::parse(&bytes).unwrap().transaction().is_some());
    block::id_of(&bytes)
}

/// Its metadata once a milestone references it.
fn referenced(node: &Node, block: BlockId) -> Value {
    let metadata = || node.json(&format!("/api/core/v2/blocks/{block}/metadata"));
    node.wait_for("reference", |_| metadata()["referencedByMilestoneIndex"].is_u64());
    metadata()
}
