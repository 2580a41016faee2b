//! Two networks recorded from HORNET (`tests/recordings`): replayed without a difference, and a node on what was
//! replayed answers what HORNET answered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use osmia::identity::Identity;
use osmia::keeper::{Keeper, Kind, Sizes};
use osmia::protocol::hex;
use osmia::protocol::id::{BlockId, MilestoneIndex};
use osmia::snapshot::delta::{self, DeltaReader};
use osmia::snapshot::record::Diff;
use osmia::store::{Limits, Store};
use osmia::token::{SALT, Tokens};
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::node::Node;
use crate::recording::{
    Exchange, Recording, blocks, blocks_in_json, compare_objects, configuration, keep_identity, milestones,
    outputs, references, replay, replay_into, replay_well, text,
};

/// When tokens were asked with, in Unix seconds: just after they were made.
const TOKENS_AT: u64 = 1_795_626_000;

/// Milestone that the node had confirmed when most of `tangle-c/rest.jsonl` was recorded.
const MOMENT: u64 = 635;

#[test]
fn recorded_snapshots_lead_to_the_recorded_ledger() {
    for (name, end, blocks, full, delta) in [
        ("tangle-a", 466, 2_964, ("full_441.bin.gz", 25), ("delta_400.bin.gz", 66)),
        ("tangle-c", 715, 928, ("full_613.bin.gz", 102), ("delta_600.bin.gz", 115)),
    ] {
        let recording = Recording::of(name);
        for (option, (file, milestones)) in [("--full", full), ("--delta", delta)] {
            let report = replay_well(&recording.folder, &[(option, recording.folder.join(file))]);
            let hash = recording.ledger_hash(&format!("database at {end}"));
            let expected = json!({
                "milestones": milestones, "blocks": blocks, "differences": 0, "ledgerIndex": end,
                "ledgerHash": hash, "found": [],
            });
            assert_eq!(report, expected, "{name} {file}");
        }
    }
}

/// What the other tests rely on.
#[test]
fn a_replay_finds_what_was_not_recorded_so() {
    let recording = Recording::of("tangle-c");
    let referenced = String::from_utf8(recording.unpacked("referenced.jsonl")).unwrap();
    let last = referenced.rfind("\"included\"").unwrap();
    let changed = format!("{}\"conflicting\"{}", &referenced[..last], &referenced[last + 10..]);
    let folder = recording.with(&[("referenced.jsonl", changed.into_bytes())]);
    let full = recording.folder.join("full_613.bin.gz");
    let Output { status, stdout, .. } = replay(folder.path(), &[("--full", full)]);
    let report: Value = serde_json::from_slice(&stdout).unwrap();
    assert!(!status.success() && report["differences"] == 1, "{report}");
}

/// A node, and what is known of the network that it is in.
struct Ground {
    node: Node,
    folder: PathBuf,
    recording: Recording,
    tokens: Tokens,
    /// The newest milestone: its line in `milestones.jsonl`, or index 0.
    newest: Value,
    /// Metadata of outputs after the last milestone.
    outputs: BTreeMap<String, Value>,
}

impl Ground {
    /// Starts a node that is configured as the recorded one, on what is below `folder`.
    fn new(recording: Recording, folder: &Path, newest: u64, pow: bool) -> Self {
        keep_identity(&recording, folder);
        let config = configuration(&recording, pow);
        let node = Node::start_with(&folder.join("node.toml"), &config, &folder.join("data"));
        let identity = Identity::load(&folder.join("data/identity")).unwrap().unwrap();
        let tokens = Tokens::new(identity.token_secret(), identity.peer_id(), SALT.to_owned());
        let mut milestones = recording.lines("milestones.jsonl").into_iter();
        let newest =
            milestones.find(|line| line["index"] == newest).unwrap_or_else(|| json!({"index": newest}));
        let outputs = recording.lines("outputs.jsonl").into_iter();
        let outputs =
            outputs.map(|mut line| (text(&line["outputId"]).to_owned(), line["metadata"].take())).collect();
        Self { node, folder: folder.to_path_buf(), recording, tokens, newest, outputs }
    }

    /// Asks what was asked then. Tokens that were good then may not be so now: fresh ones stand in for them.
    fn ask(&self, exchange: &Exchange, as_owner: bool) -> Answer {
        let fresh = self.tokens.issue(1_700_000_000);
        let mut headers = Vec::new();
        // Compression is another test's.
        let headers_then = exchange.request_headers.iter().filter(|(name, _)| *name != "Accept-Encoding");
        for (name, value) in headers_then {
            match exchange.token() {
                Some((scheme, token)) if name == "Authorization" => {
                    let good = self.tokens.check(token, TOKENS_AT).is_ok();
                    headers.push(format!("{name}: {scheme} {}", if good { &fresh } else { token }));
                }
                _ => headers.push(format!("{name}: {value}")),
            }
        }
        if as_owner && exchange.token().is_none() {
            headers.push(format!("Authorization: Bearer {fresh}"));
        }
        let headers = headers.iter().map(String::as_str).collect::<Vec<_>>();
        http::request(self.node.api, &exchange.method, &exchange.path, &headers, &exchange.body())
            .unwrap_or_else(|| panic!("no answer: {} {}", exchange.method, exchange.path))
    }

    /// Compares the answers, by the first rule that is for them; how many by which.
    fn compare(&self, exchanges: &[Exchange], as_owner: bool, counts: &mut BTreeMap<&str, usize>) {
        for exchange in exchanges {
            let rule = RULES.iter().find(|rule| (rule.is_for)(exchange, self));
            let (name, check) = rule.map_or(("same", Check::Same), |rule| (rule.name, rule.check));
            *counts.entry(name).or_default() += 1;
            if let Check::None = check {
                continue;
            }
            let answer = self.ask(exchange, as_owner);
            let compared = match check {
                Check::None => Ok(()),
                Check::Same => same(exchange, &answer),
                Check::Status(status) => is_status(status, &answer),
                Check::Form(form) => form(exchange, &answer, self),
            };
            let Exchange { method, path, note, .. } = exchange;
            let why = rule.map_or("", |rule| rule.why);
            let body = String::from_utf8_lossy(&answer.body);
            compared
                .unwrap_or_else(|wrong| panic!("{method} {path} ({note}; {name}: {why}): {wrong}\n{body}"));
        }
    }
}

/// What of an answer is compared.
#[derive(Clone, Copy)]
enum Check {
    /// Status, type, where it leads, every field or byte; of errors not the words.
    Same,
    /// Another status is right here.
    Status(u16),
    /// What does not depend on the moment.
    Form(fn(&Exchange, &Answer, &Ground) -> Result<(), String>),
    /// Nothing; it is not asked.
    None,
}

/// For answers that cannot be the recorded ones.
struct Rule {
    name: &'static str,
    is_for: fn(&Exchange, &Ground) -> bool,
    check: Check,
    why: &'static str,
}

/// All of them. Those with a status stand in the table at the top of `src/rest/mod.rs`, too.
const RULES: [Rule; 17] = [
    Rule {
        name: "faucet",
        is_for: |asked, _| asked.group == "faucet",
        check: Check::None,
        why: "another program answered",
    },
    Rule {
        name: "token of then",
        is_for: |asked, _| ["token: not yet valid", "token: issued in the future"].contains(&&*asked.note),
        check: Check::None,
        why: "it is good by now; judged in a test of its own",
    },
    Rule {
        name: "public query",
        is_for: |asked, _| asked.path.contains("peers?") && asked.status == 200,
        check: Check::Status(400),
        why: "a query makes no path public",
    },
    Rule {
        name: "two slashes",
        is_for: |asked, _| asked.path.starts_with("//"),
        check: Check::Status(403),
        why: "it is no public path",
    },
    Rule {
        name: "empty question",
        is_for: |asked, _| asked.note == "white flag: empty",
        check: Check::Status(400),
        why: "a field is missing",
    },
    Rule {
        name: "old milestone",
        is_for: |asked, _| asked.note == "POST blocks: raw of a known block",
        check: Check::Status(201),
        why: "milestones may have parents that are too deep for others",
    },
    Rule {
        name: "not here yet",
        is_for: |asked, _| {
            let missing = MISSING.iter().any(|start| asked.path.starts_with(start));
            missing && ![401, 404].contains(&asked.status) && !asked.message().contains("jwt")
        },
        check: Check::Status(404),
        why: "there is no such route",
    },
    Rule {
        name: "health",
        is_for: |asked, _| asked.is("GET", "/health", 200),
        check: Check::Form(health),
        why: "the newest milestone may be older than five minutes",
    },
    Rule {
        name: "routes",
        is_for: |asked, _| asked.is("GET", "/api/routes", 200),
        check: Check::Form(routes),
        why: "there are no plugins",
    },
    Rule {
        name: "peer then",
        is_for: |asked, _| {
            asked.path.starts_with("/api/core/v2/peers/")
                && asked.json.as_ref().is_some_and(|peer| peer["connected"] == true)
        },
        check: Check::Status(404),
        why: "HORNET was connected to it",
    },
    Rule {
        name: "peers",
        is_for: |asked, _| asked.is("GET", "/api/core/v2/peers", 200) && asked.json.is_some(),
        check: Check::Form(peers),
        why: "HORNET was connected to others",
    },
    Rule {
        name: "info",
        is_for: |asked, _| asked.is("GET", "/api/core/v2/info", 200),
        check: Check::Form(info),
        why: "name, version, health, newest milestone, pruning and rates are the node's and the moment's",
    },
    Rule {
        name: "tips",
        is_for: |asked, _| asked.is("GET", "/api/core/v2/tips", 200),
        check: Check::Form(tips),
        why: "chosen by chance",
    },
    Rule {
        name: "output later",
        is_for: |asked, ground| {
            let index = asked.json.as_ref().map(ledger_index);
            index.is_some_and(|index| index.is_u64() && *index != ground.newest["index"])
        },
        check: Check::Form(output_later),
        why: "the ledger went on: metadata are those recorded at the end",
    },
    Rule {
        name: "own block",
        is_for: |asked, _| asked.note == "POST blocks: no parents, no nonce, tagged data",
        check: Check::Form(own_block),
        why: "the node chooses parents and nonce",
    },
    Rule {
        name: "prune",
        is_for: |asked, _| asked.is("POST", "/api/core/v2/control/database/prune", 200),
        check: Check::None,
        why: "it takes away what others ask for: done last",
    },
    Rule {
        name: "snapshot",
        is_for: |asked, _| asked.is("POST", "/api/core/v2/control/snapshots/create", 200),
        check: Check::Form(snapshot),
        why: "the node chooses the folder; the file is compared",
    },
];

/// Beginnings of paths that HORNET or its plugins have.
const MISSING: [&str; 4] = ["/api/dashboard-metrics/", "/api/debug/", "/api/indexer/", "/api/spammer/"];

fn ensure(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    ensure(found == expected, || format!("{what} {found:?}, recorded {expected:?}"))
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

fn json_of(answer: &Answer) -> Result<Value, String> {
    serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))
}

/// TIP-25's body of a refusal, or any other body of another status.
fn is_status(status: u16, answer: &Answer) -> Result<(), String> {
    equal("status", &answer.status, &status)?;
    if status < 400 {
        return Ok(());
    }
    let body = json_of(answer)?;
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let expected = json!({"error": {"code": status.to_string(), "message": message}});
    ensure(body == expected && !message.is_empty(), || "no error as in TIP-25".to_owned())
}

/// Status and type, and who may read the answer.
fn same_head(asked: &Exchange, answer: &Answer) -> Result<(), String> {
    equal("status", &answer.status, &asked.status)?;
    let (found, recorded) = (header(answer, "content-type"), asked.header("content-type"));
    equal("type", &found, &recorded)?;
    // HORNET tells that only to those who say where they come from.
    let allowed = "access-control-allow-origin";
    match asked.header(allowed) {
        Some(recorded) => equal(allowed, &header(answer, allowed), &Some(recorded)),
        None => Ok(()),
    }
}

fn same(asked: &Exchange, answer: &Answer) -> Result<(), String> {
    same_head(asked, answer)?;
    equal("location", &header(answer, "location"), &asked.header("location"))?;
    match (&asked.json, &asked.body_hex) {
        (Some(json), _) if json["error"].is_object() => is_status(asked.status, answer),
        (Some(json), _) => equal("JSON", &json_of(answer)?, json),
        (None, Some(bytes)) => equal("bytes", &hex::encode(&answer.body), bytes),
        (None, None) => ensure(answer.body.is_empty(), || "a body".to_owned()),
    }
}

/// JSON with the names that were recorded, whatever their values.
fn alike(asked: &Exchange, answer: &Answer) -> Result<Value, String> {
    same_head(asked, answer)?;
    let found = json_of(answer)?;
    same_names(&found, asked.json())?;
    Ok(found)
}

/// Same names in two objects, whatever the values.
fn same_names(found: &Value, expected: &Value) -> Result<(), String> {
    let names = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<BTreeSet<_>>());
    equal("names", &names(found), &names(expected))
}

fn health(_: &Exchange, answer: &Answer, _: &Ground) -> Result<(), String> {
    ensure([200, 503].contains(&answer.status), || "neither healthy nor not".to_owned())?;
    let bare = answer.body.is_empty() && header(answer, "content-type").is_none();
    ensure(bare, || "there is no body".to_owned())
}

fn routes(asked: &Exchange, answer: &Answer, _: &Ground) -> Result<(), String> {
    let (found, recorded) = (alike(asked, answer)?, &asked.json()["routes"]);
    let found = found["routes"].as_array().ok_or("no list")?;
    let known = found.iter().all(|route| recorded.as_array().unwrap().contains(route));
    ensure(known && found.contains(&json!("core/v2")), || "other routes".to_owned())
}

fn info(asked: &Exchange, answer: &Answer, ground: &Ground) -> Result<(), String> {
    let (found, recorded) = (alike(asked, answer)?, asked.json());
    for name in
        ["supportedProtocolVersions", "protocol", "pendingProtocolParameters", "baseToken", "features"]
    {
        equal(name, &found[name], &recorded[name])?;
    }
    ensure(found["name"].is_string() && found["version"].is_string(), || "no name or version".to_owned())?;
    same_names(&found["metrics"], &recorded["metrics"])?;
    let mut rates = found["metrics"].as_object().unwrap().values();
    ensure(rates.all(Value::is_number), || "a rate that is no number".to_owned())?;
    let (status, recorded) = (&found["status"], &recorded["status"]);
    same_names(status, recorded)?;
    let typed = status["isHealthy"].is_boolean() && status["pruningIndex"].is_u64();
    ensure(typed, || "health or pruning index of another type".to_owned())?;
    for name in ["latestMilestone", "confirmedMilestone"] {
        let (found, recorded) = (&status[name], &recorded[name]);
        if recorded["index"] == ground.newest["index"] {
            equal(name, found, recorded)?;
        }
        same_names(found, recorded)?;
        for field in ["index", "timestamp"] {
            equal(field, &found[field], &ground.newest[field])?;
        }
    }
    Ok(())
}

/// One to eight different blocks that the node has.
fn tips(asked: &Exchange, answer: &Answer, ground: &Ground) -> Result<(), String> {
    let found = alike(asked, answer)?;
    let tips = found["tips"].as_array().ok_or("no list")?.iter().map(text).collect::<BTreeSet<_>>();
    let blocks = tips.iter().all(|id| ground.node.get(&format!("/api/core/v2/blocks/{id}")).status == 200);
    ensure(blocks && (1..=8).contains(&tips.len()), || "other tips".to_owned())
}

fn ledger_index(json: &Value) -> &Value {
    if json["metadata"].is_object() { &json["metadata"]["ledgerIndex"] } else { &json["ledgerIndex"] }
}

fn output_later(asked: &Exchange, answer: &Answer, ground: &Ground) -> Result<(), String> {
    same_head(asked, answer)?;
    let id = asked.path.split('/').nth(5).unwrap();
    let mut expected = asked.json().clone();
    let metadata = if expected["metadata"].is_object() { &mut expected["metadata"] } else { &mut expected };
    *metadata = ground.outputs[id].clone();
    equal("JSON", &json_of(answer)?, &expected)
}

fn own_block(asked: &Exchange, answer: &Answer, ground: &Ground) -> Result<(), String> {
    let found = alike(asked, answer)?;
    let id = text(&found["blockId"]);
    equal("location", &header(answer, "location").as_deref(), &Some(id))?;
    let block = ground.node.json(&format!("/api/core/v2/blocks/{id}"));
    let sent = asked.body();
    let sent: Value = serde_json::from_slice(&sent).map_err(|error| error.to_string())?;
    equal("payload", &block["payload"], &sent["payload"])
}

/// Those that were named and not connected.
fn peers(asked: &Exchange, answer: &Answer, _: &Ground) -> Result<(), String> {
    same_head(asked, answer)?;
    let alone = |peers: &Value| {
        let peers = peers.as_array().ok_or_else(|| format!("no list of peers: {peers}"))?;
        Ok::<_, String>(peers.iter().filter(|peer| peer["connected"] == false).cloned().collect::<Vec<_>>())
    };
    equal("peers", &alone(&json_of(answer)?)?, &alone(asked.json())?)
}

/// The file holds the ledger and the solid entry points that HORNET's has.
fn snapshot(asked: &Exchange, answer: &Answer, ground: &Ground) -> Result<(), String> {
    let (found, recorded) = (alike(asked, answer)?, asked.json());
    equal("index", &found["index"], &recorded["index"])?;
    let (path, expected) = (Path::new(text(&found["filePath"])), Path::new(text(&recorded["filePath"])));
    equal("name", &path.file_name(), &expected.file_name())?;
    ensure(path.starts_with(&ground.folder), || "not in the node's folder".to_owned())?;
    let tool = ["tools", "snap-hash", "--json", "--full", text(&found["filePath"])];
    let output = Command::new(env!("CARGO_BIN_EXE_osmia")).args(tool).output();
    let output = output.map_err(|error| error.to_string())?.stdout;
    let hash: Value = serde_json::from_slice(&output).map_err(|error| error.to_string())?;
    let name = format!("full_{}", found["index"]);
    let recorded = &ground.recording.network()["ledgerHash"][name];
    equal("ledger index", &hash["ledgerIndex"], &recorded["ledgerIndex"])?;
    equal("hash", &hash["ledgerStateHashWithoutSolidEntryPoints"], &recorded["withoutSeps"])?;
    equal("hash with entry points", &hash["ledgerStateHashWithSolidEntryPoints"], &recorded["withSeps"])
}

#[test]
fn a_replayed_node_answers_as_was_recorded() {
    let (recording, folder) = (Recording::of("tangle-a"), tempfile::tempdir().unwrap());
    let report = replay_into(folder.path(), &recording.folder);
    assert_eq!((&report["milestones"], &report["differences"]), (&json!(466), &json!(0)));
    assert_eq!(report["ledgerHash"], recording.ledger_hash("database at 466"));
    let ground = Ground::new(recording, folder.path(), 466, true);
    let objects = [outputs, milestones, blocks, references].map(|of| of(&ground.recording));
    assert_eq!(objects.each_ref().map(Vec::len), [8_978, 932, 2_964, 2_963]);
    objects.iter().for_each(|objects| compare_objects(ground.node.api, objects));
    // At last, as one of these adds a block.
    let mut counts = BTreeMap::new();
    let exchanges = ground.recording.exchanges();
    ground.compare(&exchanges, true, &mut counts);
    let expected = BTreeMap::from([
        ("same", 121),
        ("health", 1),
        ("info", 2),
        ("not here yet", 20),
        ("old milestone", 1),
        ("peer then", 1),
        ("peers", 1),
        ("output later", 38),
        ("own block", 1),
        ("prune", 1),
        ("routes", 1),
        ("tips", 2),
    ]);
    assert_eq!(counts, expected);
    // HORNET went as far before the newest of its milestones, which was 344.
    let prune = exchanges.iter().find(|asked| asked.is("POST", "/api/core/v2/control/database/prune", 200));
    let prune = prune.unwrap();
    assert_eq!(prune.json(), &json!({ "index": 344 - 20 }));
    let answer = ground.ask(prune, true);
    assert_eq!((answer.status, json_of(&answer)), (200, Ok(json!({ "index": 466 - 20 }))));
    assert_eq!(ground.node.json("/api/core/v2/info")["status"]["pruningIndex"], 446);
    ground.node.stop();
}

#[test]
fn a_node_with_proof_of_work_and_forged_milestones_behind_it_answers_as_was_recorded() {
    let (recording, folder) = (Recording::of("tangle-c"), tempfile::tempdir().unwrap());
    let report = replay_into(folder.path(), &recording.folder);
    assert_eq!((&report["milestones"], &report["differences"]), (&json!(715), &json!(0)));
    assert_eq!(report["ledgerHash"], recording.ledger_hash("database at 715"));
    let ground = Ground::new(recording, folder.path(), 715, false);
    let objects = [outputs, milestones, blocks, references, blocks_in_json].map(|of| of(&ground.recording));
    assert_eq!(objects.each_ref().map(Vec::len), [862, 1_430, 927, 924, 1_854]);
    objects.iter().for_each(|objects| compare_objects(ground.node.api, objects));
    ground.node.stop();
}

/// Also what a node does with blocks that are young at that moment.
#[test]
fn a_node_at_the_recorded_moment_answers_as_was_recorded() {
    let (recording, folder) = (Recording::of("tangle-c"), tempfile::tempdir().unwrap());
    let moment = recording.until(MOMENT);
    let report = replay_into(folder.path(), moment.path());
    assert_eq!((&report["milestones"], &report["differences"]), (&json!(MOMENT), &json!(0)));
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for exchange in recording.exchanges() {
        groups.entry(exchange.group.clone()).or_default().push(exchange);
    }
    assert_eq!(groups.remove("node without peers, not synchronised").map(|group| group.len()), Some(19));
    let mut counts = BTreeMap::new();
    let defaults = groups.remove("default routes, JWT, proof of work off").unwrap();
    let ground = Ground::new(recording, folder.path(), MOMENT, false);
    ground.compare(&defaults, false, &mut counts);
    let Ground { node, recording, .. } = ground;
    node.stop();
    // The others were asked of a node with proof of work whose routes were all open.
    let ground = Ground::new(recording, folder.path(), MOMENT, true);
    groups.values().for_each(|group| ground.compare(group, true, &mut counts));
    let expected = BTreeMap::from([
        ("same", 78),
        ("empty question", 1),
        ("faucet", 8),
        ("health", 1),
        ("info", 4),
        ("not here yet", 212),
        ("peers", 6),
        ("public query", 2),
        ("routes", 1),
        ("snapshot", 1),
        ("tips", 4),
        ("token of then", 2),
        ("two slashes", 1),
    ]);
    assert_eq!(counts, expected);
    ground.node.stop();
}

#[test]
fn a_node_that_is_not_synchronised_answers_as_was_recorded() {
    let (recording, folder) = (Recording::of("tangle-c"), tempfile::tempdir().unwrap());
    let snapshots = folder.path().join("data/snapshots");
    std::fs::create_dir_all(&snapshots).unwrap();
    std::fs::copy(recording.folder.join("genesis_full.bin"), snapshots.join("full_snapshot.bin")).unwrap();
    let mut exchanges = recording.exchanges();
    exchanges.retain(|asked| asked.group == "node without peers, not synchronised");
    let ground = Ground::new(recording, folder.path(), 0, true);
    let mut counts = BTreeMap::new();
    ground.compare(&exchanges, true, &mut counts);
    assert_eq!(counts, BTreeMap::from([("same", 16), ("info", 1), ("peers", 1), ("routes", 1)]));
    ground.node.stop();
}

/// At the second of the recording; a node judges them by its own clock.
#[test]
fn recorded_tokens_are_judged_as_recorded() {
    let recording = Recording::of("tangle-c");
    let network = recording.network();
    let node = &network["jwtTestNode"];
    let seed = format!("0x{}", &text(&node["identityPrivateKey"])[..64]);
    let identity = Identity::from_seed(hex::decode_array("key", &seed).unwrap());
    assert_eq!(identity.peer_id(), text(&node["peerId"]));
    let tokens = Tokens::new(identity.token_secret(), identity.peer_id(), text(&node["salt"]).to_owned());
    let (mut good, mut bad) = (0, 0);
    for asked in recording.exchanges() {
        let Some((scheme, token)) = asked.token() else { continue };
        // Without a token, and where none is looked at.
        if token.is_empty() || scheme == "Basic" || asked.note.contains("public route") {
            continue;
        }
        let judged = tokens.check(token, TOKENS_AT);
        assert_eq!(judged.is_err(), asked.status == 401, "{}: {judged:?}", asked.note);
        *if judged.is_ok() { &mut good } else { &mut bad } += 1;
    }
    assert_eq!((good, bad), (10, 9));
}

/// What this node makes of genesis and its own history is HORNET's delta snapshot, whether it was written at once or led on
/// in steps.
#[test]
fn the_delta_snapshot_is_the_recorded_one() {
    for (name, target, file) in [("tangle-a", 400, "delta_400.bin"), ("tangle-c", 600, "delta_600.bin")] {
        let recording = Recording::of(name);
        let folder = tempfile::tempdir().unwrap();
        replay_into(folder.path(), &recording.folder);
        let limits = Limits { keep_milestones: 10_000, live_milestones: 20, cache_bytes: 1 << 20 };
        let mut store = Store::open(&folder.path().join("data/store"), "private_tangle1", limits).unwrap();
        store.recover(20).unwrap();
        let recorded = contents(&recording.unpacked(file));
        for steps in [vec![target], vec![57, 58, 300, target]] {
            let snapshots = tempfile::tempdir().unwrap();
            let (full, delta) = ("full_snapshot.bin", "delta_snapshot.bin");
            std::fs::copy(recording.folder.join("genesis_full.bin"), snapshots.path().join(full)).unwrap();
            let keeper = Keeper::open(snapshots.path().to_path_buf());
            keeper.vouch().unwrap();
            for step in steps {
                let kind = keeper.lead_on(&store.reader(), MilestoneIndex(step), Sizes::HORNET).unwrap();
                assert_eq!(kind, Kind::Delta);
            }
            let own = contents(&std::fs::read(snapshots.path().join(delta)).unwrap());
            assert!(own == recorded, "{name}");
        }
    }
}

/// Head, diffs and solid entry points of a delta snapshot; what has no order is sorted.
fn contents(bytes: &[u8]) -> (delta::Header, Vec<Diff>, Vec<BlockId>) {
    let mut reader = DeltaReader::new(bytes).unwrap();
    let header = *reader.header();
    let mut diffs = Vec::new();
    while let Some(mut diff) = reader.diff().unwrap() {
        diff.created.sort_unstable_by_key(|output| output.id);
        diff.consumed.sort_unstable_by_key(|spent| spent.booked.id);
        diffs.push(diff);
    }
    let mut points = reader.entry_points().unwrap();
    points.sort_unstable();
    (header, diffs, points)
}
