//! What is recorded in `tests/recordings`: files, requests with their answers, the objects of a network; and replays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ed25519_zebra::SigningKey;
use ed25519_zebra::ed25519::pkcs8::EncodePrivateKey;
use ed25519_zebra::ed25519::pkcs8::spki::der::pem::LineEnding;
use flate2::read::GzDecoder;
use osmia::protocol::block;
use osmia::protocol::hex;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Form of a block, an output or a milestone in bytes.
const BINARY: &str = "application/vnd.iota.serializer-v1";

/// A folder below `tests/recordings`.
pub(crate) struct Recording {
    pub(crate) folder: PathBuf,
}

impl Recording {
    pub(crate) fn of(name: &str) -> Self {
        Self { folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name) }
    }

    pub(crate) fn network(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder.join("network.json")).unwrap()).unwrap()
    }

    /// Ledger hash without solid entry points, by its name in `network.json`.
    pub(crate) fn ledger_hash(&self, name: &str) -> Value {
        self.network()["ledgerHash"][name]["withoutSeps"].clone()
    }

    pub(crate) fn unpacked(&self, file: &str) -> Vec<u8> {
        let packed = std::fs::File::open(self.folder.join(format!("{file}.gz"))).unwrap();
        let mut bytes = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<Value> {
        self.unpacked(file).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        let lines = self.lines("rest.jsonl").into_iter();
        lines.map(|line| serde_json::from_value(line).unwrap()).collect()
    }

    pub(crate) fn blocks(&self) -> Vec<Vec<u8>> {
        let bytes = self.unpacked("blocks.bin");
        let mut rest = bytes.as_slice();
        let mut blocks = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk() {
            let (block, more) = more.split_at(u32::from_le_bytes(*length) as usize);
            blocks.push(block.to_vec());
            rest = more;
        }
        blocks
    }

    /// The recording as it was when a milestone was confirmed: without later ones and all that builds on them.
    pub(crate) fn until(&self, newest: u64) -> TempDir {
        let (mut later, mut kept) = (BTreeSet::new(), Vec::new());
        for (bytes, line) in self.blocks().into_iter().zip(self.lines("blocks_json.jsonl")) {
            let id = text(&line["blockId"]).to_owned();
            assert_eq!(block::id_of(&bytes).to_string(), id);
            let mut parents = line["block"]["parents"].as_array().unwrap().iter().map(text);
            let milestone = line["metadata"]["milestoneIndex"].as_u64().unwrap_or_default();
            if milestone > newest || parents.any(|parent| later.contains(parent)) {
                later.insert(id);
                continue;
            }
            kept.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            kept.extend(bytes);
        }
        let milestones = self.lines("milestones.jsonl").into_iter();
        let milestones = milestones.filter(|line| line["index"].as_u64() <= Some(newest));
        let milestones = milestones.map(|line| format!("{line}\n")).collect::<String>();
        self.with(&[("blocks.bin", kept), ("milestones.jsonl", milestones.into_bytes())])
    }

    /// The same folder with other files in it.
    pub(crate) fn with(&self, files: &[(&str, Vec<u8>)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !files.iter().any(|(other, _)| format!("{other}.gz") == name) {
                std::os::unix::fs::symlink(entry.path(), folder.path().join(name)).unwrap();
            }
        }
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }
}

/// Runs the tool.
pub(crate) fn replay(folder: &Path, options: &[(&str, PathBuf)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osmia"));
    command.args(["tools", "replay", "--json"]).arg(folder);
    for (option, path) in options {
        command.arg(option).arg(path);
    }
    command.output().unwrap()
}

/// Replays without a difference, or panics; what the tool says.
pub(crate) fn replay_well(folder: &Path, options: &[(&str, PathBuf)]) -> Value {
    let Output { status, stdout, stderr } = replay(folder, options);
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

/// Replays from genesis into the folder of a node.
pub(crate) fn replay_into(folder: &Path, recording: &Path) -> Value {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    replay_well(recording, &[("--data", folder.join("data/store"))])
}

/// One request to HORNET and its answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exchange {
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default)]
    pub(crate) note: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) request_headers: BTreeMap<String, String>,
    pub(crate) request_body: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) json: Option<Value>,
    pub(crate) body_hex: Option<String>,
}

impl Exchange {
    pub(crate) fn is(&self, method: &str, path: &str, status: u16) -> bool {
        self.method == method && self.path.split('?').next() == Some(path) && self.status == status
    }

    pub(crate) fn json(&self) -> &Value {
        self.json.as_ref().unwrap()
    }

    /// That of an error.
    pub(crate) fn message(&self) -> &str {
        self.json.as_ref().and_then(|json| json["error"]["message"].as_str()).unwrap_or_default()
    }

    /// Scheme and token.
    pub(crate) fn token(&self) -> Option<(&str, &str)> {
        self.request_headers.get("Authorization")?.split_once(' ')
    }

    /// Of the answer; in lower case, as [`crate::http`] has them.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.to_lowercase())
    }

    /// Of the request.
    pub(crate) fn body(&self) -> Vec<u8> {
        let is_binary = self.request_headers.get("Content-Type").is_some_and(|kind| kind.starts_with(BINARY));
        match self.request_body.as_deref() {
            None => Vec::new(),
            Some(text) if is_binary => hex::decode("body", text).unwrap(),
            Some(text) if text.starts_with("(1.2 MB of JSON") => {
                let data = "00".repeat(600_000);
                json!({"protocolVersion": 2, "payload": {"type": 5, "data": format!("0x{data}")}})
                    .to_string()
                    .into_bytes()
            }
            Some(text) => text.as_bytes().to_vec(),
        }
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The identity of the recorded node, if it is known.
pub(crate) fn keep_identity(recording: &Recording, folder: &Path) {
    let key = &recording.network()["jwtTestNode"]["identityPrivateKey"];
    let Some(key) = key.as_str() else { return };
    let seed = hex::decode_array::<32>("key", &format!("0x{}", &key[..64])).unwrap();
    let pem = SigningKey::from(seed).to_pkcs8_pem(LineEnding::LF).unwrap();
    std::fs::create_dir_all(folder.join("data/identity")).unwrap();
    std::fs::write(folder.join("data/identity/identity.key"), pem.as_bytes()).unwrap();
}

/// That of a node in the recorded network, made of what the recorded one said. Texts of JSON are texts of TOML.
pub(crate) fn configuration(recording: &Recording, pow: bool) -> String {
    let network = recording.network();
    let info = recording.exchanges().into_iter().find(|asked| asked.path.ends_with("/info")).unwrap();
    let (params, token) = (&info.json()["protocol"], &info.json()["baseToken"]);
    let keys = network["publicKeyRanges"].as_array().unwrap().iter();
    let keys = keys.map(|range| {
        format!("{{ public_key = {}, start = {}, end = {} }}", range["key"], range["start"], range["end"])
    });
    let rent = &params["rentStructure"];
    format!(
        "[network]\nname = {}\nbech32_hrp = {}\nmin_pow_score = {}\nbelow_max_depth = {}\ntoken_supply = {}\n\
         v_byte_cost = {}\nv_byte_factor_data = {}\nv_byte_factor_key = {}\n\
         milestone_threshold = {}\nmilestone_keys = [{}]\n\
         [token]\nname = {}\nticker_symbol = {}\nunit = {}\nsubunit = {}\ndecimals = {}\nuse_metric_prefix = {}\n\
         [health]\nrequire_peers = false\n[rest]\nbind = \"127.0.0.1:0\"\n[peering]\nbind = [\"127.0.0.1:0\"]\n[pow]\nenabled = {pow}\n",
        network["networkName"],
        network["bech32Hrp"],
        params["minPowScore"],
        params["belowMaxDepth"],
        params["tokenSupply"],
        rent["vByteCost"],
        rent["vByteFactorData"],
        rent["vByteFactorKey"],
        network["milestonePublicKeyCount"],
        keys.collect::<Vec<_>>().join(", "),
        token["name"],
        token["tickerSymbol"],
        token["unit"],
        token["subunit"],
        token["decimals"],
        token["useMetricPrefix"],
    )
}

/// The body that an object is to have.
pub(crate) enum Body {
    Json(Value),
    /// At least these of its fields.
    Fields(Value),
    Bytes(Vec<u8>),
}

/// Many questions on one connection.
struct Line(BufReader<TcpStream>);

impl Line {
    fn to(api: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(api).unwrap()))
    }

    fn get(&mut self, path: &str, accept: &str) -> (String, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: osmia\r\nAccept: {accept}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            assert!(self.0.read_line(&mut head).unwrap() > 0, "cut off: {path}");
            if let Some(value) = head[start..].to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }
}

/// Each object is as expected.
pub(crate) fn compare_objects(api: SocketAddr, objects: &[(String, Body)]) {
    let compare = |objects: &[(String, Body)]| {
        let mut line = Line::to(api);
        for (path, expected) in objects {
            let (accept, kind) = match expected {
                Body::Bytes(_) => (BINARY, BINARY),
                Body::Json(_) | Body::Fields(_) => ("application/json", "application/json; charset=UTF-8"),
            };
            let (head, body) = line.get(&format!("/api/core/v2/{path}"), accept);
            let shown = || format!("{path}: {head}{}", String::from_utf8_lossy(&body));
            let good =
                head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-type: {kind}\r\n"));
            assert!(good, "{}", shown());
            let found = || serde_json::from_slice::<Value>(&body).unwrap();
            match expected {
                Body::Json(expected) => assert_eq!(&found(), expected, "{path}"),
                Body::Bytes(expected) => assert!(&body == expected, "{}", shown()),
                Body::Fields(expected) => {
                    let found = found();
                    for (name, value) in expected.as_object().unwrap() {
                        assert_eq!(&found[name], value, "{path}: {name}");
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for part in objects.chunks(objects.len().div_ceil(4).max(1)) {
            scope.spawn(move || compare(part));
        }
    });
}

/// Every output ever made, with its metadata in JSON, alone in bytes.
pub(crate) fn outputs(recording: &Recording) -> Vec<(String, Body)> {
    let of = |line: Value| {
        let path = format!("outputs/{}", text(&line["outputId"]));
        let bytes = hex::decode("raw", text(&line["raw"])).unwrap();
        let json = json!({"metadata": line["metadata"], "output": line["output"]});
        [(path.clone(), Body::Json(json)), (path, Body::Bytes(bytes))]
    };
    recording.lines("outputs.jsonl").into_iter().flat_map(of).collect()
}

/// Every milestone, and what it did to the ledger.
pub(crate) fn milestones(recording: &Recording) -> Vec<(String, Body)> {
    let of = |line: Value| {
        let path = format!("milestones/by-index/{}", line["index"]);
        let (created, consumed) = (&line["created"], &line["consumed"]);
        let changes = json!({"index": line["index"], "createdOutputs": created, "consumedOutputs": consumed});
        let names = ["index", "timestamp", "parents", "inclusionMerkleRoot", "appliedMerkleRoot"];
        let fields = names.map(|name| (name.to_owned(), line[name].clone())).into_iter().collect();
        let changed = (format!("{path}/utxo-changes"), Body::Json(changes));
        [(path, Body::Fields(Value::Object(fields))), changed]
    };
    recording.lines("milestones.jsonl").into_iter().flat_map(of).collect()
}

/// A block on a parent that nobody has: it never reaches the store.
const ORPHAN: &str = "blocks/0xf019a04eee5f76d6d1bfffbdad64d89386e5fcb536901234bb079e9b0b42b9db";

/// Every solid block in bytes.
pub(crate) fn blocks(recording: &Recording) -> Vec<(String, Body)> {
    let of = |bytes: Vec<u8>| (format!("blocks/{}", block::id_of(&bytes)), Body::Bytes(bytes));
    recording.blocks().into_iter().map(of).filter(|(path, _)| path != ORPHAN).collect()
}

/// What became of the blocks that a milestone referenced.
pub(crate) fn references(recording: &Recording) -> Vec<(String, Body)> {
    let mut found = Vec::new();
    for line in recording.lines("referenced.jsonl") {
        for (place, block) in line["blocks"].as_array().unwrap().iter().enumerate() {
            let mut fields = json!({
                "blockId": block[0], "isSolid": true, "referencedByMilestoneIndex": line["index"],
                "ledgerInclusionState": block[1], "whiteFlagIndex": place, "conflictReason": null,
                "shouldPromote": null, "shouldReattach": null,
            });
            if block[1] == "conflicting" {
                fields["conflictReason"] = block[2].clone();
            }
            found.push((format!("blocks/{}/metadata", text(&block[0])), Body::Fields(fields)));
        }
    }
    found
}

/// Every solid block in JSON, and its metadata, also of those that no milestone referenced.
pub(crate) fn blocks_in_json(recording: &Recording) -> Vec<(String, Body)> {
    let of = |mut line: Value| {
        let path = format!("blocks/{}", text(&line["blockId"]));
        let metadata = (format!("{path}/metadata"), Body::Json(line["metadata"].take()));
        [(path, Body::Json(line["block"].take())), metadata]
    };
    recording
        .lines("blocks_json.jsonl")
        .into_iter()
        .flat_map(of)
        .filter(|(path, _)| !path.starts_with(ORPHAN))
        .collect()
}
