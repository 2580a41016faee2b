//! Snapshots: written by a store that goes on meanwhile, read back, and started from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use osmia::engine::effect::Confirmation;
use osmia::ledger::treasury::plain;
use osmia::ledger::{Booked, Delta, Inclusion, Referenced, Spent};
use osmia::protocol::address::Address;
use osmia::protocol::block::{self, Block, Parents};
use osmia::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId, TransactionId};
use osmia::protocol::milestone::{Essence, Milestone, Signature};
use osmia::protocol::pack::Writer;
use osmia::snapshot::delta::{self, DeltaReader};
use osmia::snapshot::full::FullReader;
use osmia::snapshot::record::Diff;
use osmia::snapshot::{Base, genesis, load};
use osmia::store::{Limits, Store};
use serde_json::{Value, json};

use crate::damage::Dice;
use crate::http;
use crate::node::Node;

pub(crate) type Outputs = BTreeMap<OutputId, Booked>;

const SUPPLY: u64 = 1_000_000;

/// A store, and what its ledger must be after each milestone.
pub(crate) struct Model {
    dice: Dice,
    outputs: Outputs,
    pub(crate) history: Vec<Outputs>,
    pub(crate) diffs: Vec<Diff>,
    /// Those that each milestone references.
    pub(crate) blocks: Vec<Vec<BlockId>>,
    /// Blocks that are to be referenced by the next milestone, beside its own.
    pub(crate) late: Vec<BlockId>,
    last: BlockId,
}

impl Model {
    /// `grants` are that many outputs of the genesis, beside the one with the rest.
    pub(crate) fn new(seed: u64, grants: u64, store: &mut Store) -> Self {
        let grants = (0..grants).map(|_| (Address::Ed25519([3; 32]), 20)).collect::<Vec<_>>();
        let outputs = genesis::outputs(SUPPLY, Address::Ed25519([1; 32]), &grants).unwrap();
        for output in &outputs {
            load::Target::insert(store, output.clone()).unwrap();
        }
        store.found(&base()).unwrap();
        store.recover(0).unwrap();
        let outputs = outputs.into_iter().map(|output| (output.id, output)).collect::<Outputs>();
        let history = vec![outputs.clone()];
        Self {
            dice: Dice(seed),
            outputs,
            history,
            diffs: Vec::new(),
            blocks: Vec::new(),
            late: Vec::new(),
            last: BlockId::ZERO,
        }
    }

    /// The next milestone: some outputs are split or joined, one of the new ones at times within the same milestone.
    pub(crate) fn step(&mut self, store: &mut Store) {
        let index = MilestoneIndex(u32::try_from(self.history.len()).unwrap());
        let mut delta = Delta::default();
        let mut referenced = Vec::new();
        for number in 0..1 + self.dice.below(4) as u64 {
            let parents = Parents::from_unsorted(vec![self.last]).unwrap();
            let nonce = u64::from(index.0) << 8 | number;
            let bytes = Block { protocol_version: 2, parents, payload: None, nonce }.pack();
            let id = block::id_of(&bytes);
            store.put_block(&id, &bytes, false).unwrap();
            self.transaction(id, index, &mut delta);
            referenced.push(Referenced { id, inclusion: Inclusion::Included });
            self.last = id;
        }
        let late = self.late.drain(..);
        referenced.extend(late.map(|id| Referenced { id, inclusion: Inclusion::NoTransaction }));
        self.blocks.push(referenced.iter().map(|block| block.id).collect());
        let milestone = milestone(index, &self.last);
        self.diffs.push(Diff {
            milestone: milestone.clone(),
            treasury_before: None,
            created: delta.created.clone(),
            consumed: delta.consumed.clone(),
        });
        let stamp = milestone.essence.stamp();
        let block_id = BlockId([9; 32]);
        let confirmation = Confirmation { block_id, milestone, stamp, referenced, delta, schedule: None };
        store.commit(&confirmation).unwrap();
        self.history.push(self.outputs.clone());
    }

    /// A block that no milestone references yet; `number` tells it from others.
    pub(crate) fn put_late_block(&mut self, store: &mut Store, number: u64) -> BlockId {
        let parents = Parents::from_unsorted(vec![BlockId::ZERO]).unwrap();
        let bytes = Block { protocol_version: 2, parents, payload: None, nonce: 1 << 63 | number }.pack();
        let id = block::id_of(&bytes);
        store.put_block(&id, &bytes, false).unwrap();
        id
    }

    fn transaction(&mut self, block: BlockId, index: MilestoneIndex, delta: &mut Delta) {
        let transaction = TransactionId(block.0);
        let all = self.outputs.keys().copied().collect::<Vec<_>>();
        let spent = self.dice.pick(&all).unwrap();
        let booked = self.outputs.remove(&spent).unwrap();
        let amount = booked.output.value().amount;
        let parts = if amount > 10 { vec![amount / 3, amount - amount / 3] } else { vec![amount] };
        delta.consumed.push(Spent { booked, transaction });
        for (number, amount) in (0..).zip(parts) {
            let output = Booked {
                id: OutputId { transaction, index: number },
                block,
                index,
                timestamp: 1_000 + index.0,
                output: plain(Address::Ed25519([2; 32]), amount),
            };
            self.outputs.insert(output.id, output.clone());
            delta.created.push(output);
        }
    }
}

fn base() -> Base {
    let params = osmia::config::Config::parse("[coordinator]\nenabled = true\n").unwrap().network.params;
    genesis::base(osmia::protocol::params::ProtocolParameters { token_supply: SUPPLY, ..params })
}

fn milestone(index: MilestoneIndex, parent: &BlockId) -> Milestone {
    let essence = Essence {
        index,
        timestamp: 1_000 + index.0,
        protocol_version: 2,
        previous: MilestoneId::ZERO,
        parents: Parents::new(vec![*parent]).unwrap(),
        inclusion_merkle_root: [1; 32],
        applied_merkle_root: [2; 32],
        metadata: Vec::new(),
        options: Default::default(),
    };
    Milestone::new(essence, vec![Signature { public_key: [3; 32], signature: [4; 64] }]).unwrap()
}

pub(crate) fn open(folder: &Path) -> Store {
    Store::open(folder, "test", Limits { keep_milestones: 200, live_milestones: 5, cache_bytes: 1 << 20 })
        .unwrap()
}

pub(crate) fn loaded(file: &[u8], delta: Option<&[u8]>) -> (Base, Outputs) {
    let mut outputs = Outputs::new();
    let delta = delta.map(|bytes| DeltaReader::new(bytes).unwrap());
    let base = load::load(FullReader::new(file).unwrap(), delta, &mut outputs).unwrap().base;
    (base, outputs)
}

pub(crate) fn written(store: &Store, target: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    store.reader().write_full(MilestoneIndex(target), &mut file).unwrap();
    file.into_inner()
}

#[test]
fn a_full_snapshot_holds_the_ledger_of_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut model = Model::new(1, 0, &mut store);
    (0..60).for_each(|_| model.step(&mut store));
    for target in [0, 1, 17, 40, 59, 60] {
        let (base, outputs) = loaded(&written(&store, target), None);
        assert_eq!(base.target.index.0, target);
        assert!(outputs == model.history[target as usize], "ledger at {target}");
        // Each block stands on the one before: there is one that later ones stand on.
        let points = if target == 60 { 0 } else { 1 };
        assert_eq!(base.entry_points.len(), points, "solid entry points at {target}");
    }
    let error = store.reader().write_full(MilestoneIndex(61), &mut Cursor::new(Vec::new())).unwrap_err();
    assert_eq!(error.to_string(), "milestone 61: a snapshot can be of 0 to 60");
    // What a power cut leaves is the same ledger.
    drop(store);
    let mut store = open(folder.path());
    store.recover(0).unwrap();
    assert!(loaded(&written(&store, 60), None).1 == model.outputs);
}

/// Milestones are confirmed while the file is written.
#[test]
fn a_snapshot_is_of_one_milestone_whatever_happens_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut model = Model::new(2, 3_500, &mut store);
    // Four portions of outputs.
    (0..40).for_each(|_| model.step(&mut store));
    let reader = store.reader();
    let target = MilestoneIndex(35);
    let files = std::thread::scope(|scope| {
        let write = move || {
            let (mut files, started) = (Vec::new(), Instant::now());
            // Until milestones came between.
            while files.len() < 20 || ends(&files).len() < 3 {
                let mut file = Cursor::new(Vec::new());
                reader.write_full(target, &mut file).unwrap();
                files.push(file.into_inner());
                assert!(started.elapsed() < Duration::from_secs(120), "nothing is confirmed meanwhile");
            }
            files
        };
        let writing = scope.spawn(write);
        while !writing.is_finished() {
            model.step(&mut store);
        }
        writing.join().unwrap()
    });
    for file in &files {
        assert!(loaded(file, None).1 == model.history[35]);
    }
}

/// Milestones that the files end with.
fn ends(files: &[Vec<u8>]) -> BTreeSet<u32> {
    files.iter().map(|file| FullReader::new(file.as_slice()).unwrap().header().ledger_index.0).collect()
}

#[test]
fn a_delta_snapshot_leads_on_and_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut model = Model::new(3, 10, &mut store);
    (0..30).for_each(|_| model.step(&mut store));
    let full = written(&store, 10);
    let diffs = &model.diffs[10..25];
    let mut body = Writer::default();
    diffs.iter().for_each(|diff| diff.pack(&mut body));
    let body = body.into_bytes();
    let (at_full, _) = loaded(&full, None);
    let header = |full_target| delta::Header {
        target: MilestoneIndex(25),
        timestamp: 1_025,
        full_target,
        entry_points_at: (delta::Header::BYTES + body.len()) as u64,
        diffs: 15,
        entry_points: 1,
    };
    let file = |header: delta::Header| [&*header.to_bytes(), &body, &[7; 32]].concat();
    let good = file(header(at_full.target.id));
    let (base, outputs) = loaded(&full, Some(&good));
    assert_eq!((base.target.index.0, base.entry_points), (25, vec![BlockId([7; 32])]));
    assert!(outputs == model.history[25]);

    let fails = |full: &[u8], delta: Option<&[u8]>| {
        let load = || {
            let delta = delta.map(DeltaReader::new).transpose()?;
            load::load(FullReader::new(full)?, delta, &mut Outputs::new())
        };
        load().unwrap_err().to_string()
    };
    let other = file(header(MilestoneId([5; 32])));
    assert!(fails(&full, Some(&other)).contains("the delta snapshot goes on from"), "another full snapshot");
    for cut in (0..full.len()).step_by(97) {
        fails(&full[..cut], None);
    }
    for cut in (0..good.len()).step_by(97) {
        fails(&full, Some(&good[..cut]));
    }
    fails(&[&*full, &[0]].concat(), None);
    // An output that stands twice, and an index that nobody can count on from.
    let (header, mut twice) = (FullReader::new(full.as_slice()).unwrap().header().clone(), Vec::new());
    let mut reader = FullReader::new(full.as_slice()).unwrap();
    let first = reader.output().unwrap().unwrap();
    let mut outputs = vec![first.clone(), first];
    outputs.extend(std::iter::from_fn(|| reader.output().unwrap()));
    let mut rest = Vec::new();
    while let Some(diff) = reader.diff().unwrap() {
        rest.push(diff);
    }
    let points = reader.entry_points().unwrap();
    let more = osmia::snapshot::full::Header { outputs: header.outputs + 1, ..header.clone() };
    let (outputs, diffs) = (outputs.into_iter().map(Ok), rest.into_iter().map(Ok));
    osmia::snapshot::full::write(&mut twice, &more, outputs, diffs, &points).unwrap();
    assert!(fails(&twice, None).contains("is there twice"));
    let far = osmia::snapshot::full::Header { ledger_index: MilestoneIndex(u32::MAX - 1), ..header };
    assert!(fails(&far.to_bytes(), None).contains("ledger index"));
    // A sum that is not the token supply: one base token more in the first output.
    let mut more = full.clone();
    let amount =
        FullReader::new(full.as_slice()).unwrap().header().to_bytes().len() + 34 + 32 + 4 + 4 + 4 + 1;
    more[amount] ^= 1;
    assert!(fails(&more, None).contains("token supply"));
}

/// A snapshot made on demand, and a second node that begins with it.
#[test]
fn a_node_starts_from_the_snapshot_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "[network]\nname = \"passed on\"\nbelow_max_depth = 1\n");
    node.wait_confirmed(1);
    let identity = osmia::identity::Identity::load(&folder.path().join("data/identity")).unwrap().unwrap();
    let (secret, peer, salt) = (identity.token_secret(), identity.peer_id(), osmia::token::SALT.to_owned());
    let token = osmia::token::Tokens::new(secret, peer, salt).issue(1_700_000_000);
    let create = |index: u64| {
        let body = json!({ "index": index }).to_string();
        let headers = [&*format!("Authorization: Bearer {token}")];
        let path = "/api/core/v2/control/snapshots/create";
        http::request(node.api, "POST", path, &headers, body.as_bytes()).unwrap()
    };
    let refused = create(1);
    assert_eq!(refused.status, 500, "{}", String::from_utf8_lossy(&refused.body));
    node.wait_confirmed(14);
    let answer = create(8);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let file = Path::new(answer["filePath"].as_str().unwrap());
    assert_eq!(
        (answer["index"].as_u64(), file.file_name().unwrap().to_str()),
        (Some(8), Some("full_snapshot_8.bin"))
    );

    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join("data/snapshots")).unwrap();
    std::fs::copy(file, other.path().join("data/snapshots/full_snapshot.bin")).unwrap();
    let own = osmia::coordinator::public_key(&folder.path().join("data/identity")).unwrap();
    let text = |name: &str, key: [u8; 32]| {
        let key = osmia::protocol::hex::encode(&key);
        format!(
            "[network]\nname = \"{name}\"\nmilestone_keys = [{{ public_key = \"{key}\" }}]\n[rest]\nbind = \"127.0.0.1:0\"\n[peering]\nbind = []\n"
        )
    };
    let (config, data) = (other.path().join("node.toml"), other.path().join("data"));
    // Nothing is loaded whose milestone another network's coordinator signed, or that has another name.
    for (text, problem) in [
        (text("passed on", [7; 32]), "its milestone 8 is none of this network"),
        (text("another", own), "a snapshot of the network \"passed on\", but network.name is \"another\""),
    ] {
        let error = Node::refuses(&config, &text, &data);
        assert!(error.contains(problem), "{error}");
        std::fs::remove_dir_all(data.join("store")).unwrap();
    }
    let second = Node::start_with(&config, &text("passed on", own), &data);
    let info = second.json("/api/core/v2/info");
    assert_eq!(info["status"]["confirmedMilestone"]["index"], 8, "{info}");
    assert_eq!(info["protocol"]["belowMaxDepth"], 1, "parameters are the network's");
    let genesis = format!("/api/core/v2/outputs/0x{}/metadata", "00".repeat(34));
    assert_eq!(second.json(&genesis)["isSpent"], false);
}
