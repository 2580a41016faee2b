//! `osmia db`: what is stored, read, measured, taken out and put in again.

use std::fs;
use std::path::Path;
use std::process::Command;

use osmia::store::Limits;
use serde_json::Value;

use crate::recorded_store::build;
use crate::recording::{Recording, configuration};

const ALL: Limits = Limits { keep_milestones: 470, live_milestones: 20, cache_bytes: 1 << 20 };
/// Pruned on the way.
const SOME: Limits = Limits { keep_milestones: 100, ..ALL };

fn db(data: &Path, arguments: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osmia"));
    command.arg("db").args(arguments).args(["--json", "--network", "private_tangle1", "--data"]).arg(data);
    let output = command.output().map_err(|error| error.to_string())?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(said());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", said()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_store_is_read_measured_taken_out_and_put_in() {
    let recording = Recording::of("tangle-a");
    for (limits, pruned) in [(ALL, 0), (SOME, 340)] {
        let folder = tempfile::tempdir().unwrap();
        let (data, out, new) =
            (folder.path().join("data"), folder.path().join("out"), folder.path().join("new"));
        build(&recording, &data.join("store"), limits, |_, _| {}).close().unwrap();
        let config = folder.path().join("node.toml");
        fs::write(&config, configuration(&recording, false)).unwrap();

        let verified = db(&data, &["verify"]).unwrap();
        assert_eq!(verified["ledgerHash"], recording.ledger_hash("database at 466"));
        let stats = db(&data, &["stats"]).unwrap();
        assert_eq!((&stats["confirmed"], &stats["unspentOutputs"]), (&466.into(), &95.into()));
        assert!(stats["pruned"].as_u64() >= Some(pruned), "{stats}");
        assert!(stats["blockBytes"].as_u64() > Some(100_000), "{stats}");

        let exported = db(&data, &["export", "--out", text(&out)]).unwrap();
        assert_eq!(exported["confirmed"], 466);
        let again = db(&data, &["export", "--out", text(&out)]).unwrap_err();
        assert!(again.contains("exists already"), "{again}");
        let arguments = ["import", "--from", text(&out), "--config", text(&config)];
        let imported = db(&new, &arguments).unwrap();
        assert_eq!(imported["confirmed"], 466, "{imported}");
        let again = db(&new, &["verify"]).unwrap();
        assert_eq!(again["ledgerHash"], recording.ledger_hash("database at 466"));
        // Each milestone references the one before at least; those that began at the snapshot lack its own blocks.
        let referenced = verified["referencedBlocks"].as_u64().unwrap();
        assert!(referenced >= verified["milestones"].as_u64().unwrap(), "{verified}");
        assert!(pruned > 0 || again["referencedBlocks"] == referenced, "{again}");
        assert!(db(&new, &arguments).unwrap_err().contains("move it away first"));

        // A cut or changed file is told, never taken; and no key is made that verifies nothing.
        fs::remove_dir_all(&new).unwrap();
        let nobodys = folder.path().join("nobodys.toml");
        fs::write(&nobodys, "[network]\nname = \"golden-a\"\n[coordinator]\nenabled = true\n").unwrap();
        let refused = db(&new, &["import", "--from", text(&out), "--config", text(&nobodys)]).unwrap_err();
        assert!(refused.contains("network.milestone_keys: missing"), "{refused}");
        assert!(!new.exists(), "something was made");
        let blocks = out.join("blocks.bin");
        let whole = fs::read(&blocks).unwrap();
        let mut changed = whole.clone();
        changed[900] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &changed, &[]] {
            fs::write(&blocks, damaged).unwrap();
            let told = db(&new, &arguments).unwrap_err();
            assert!(told.contains("damaged, or not whole"), "{told}");
        }
        fs::remove_file(out.join("b2sums.txt")).unwrap();
        let told = db(&new, &arguments).unwrap_err();
        assert!(told.contains("no whole export") && !new.exists(), "{told}");
    }
}

#[test]
fn damage_is_told_and_named() {
    let recording = Recording::of("tangle-a");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    build(&recording, &data.join("store"), ALL, |_, _| {}).close().unwrap();
    for slab in fs::read_dir(data.join("store/e00000002/slabs")).unwrap() {
        let path = slab.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(path, bytes).unwrap();
    }
    let problem = db(&data, &["verify"]).unwrap_err();
    assert!(problem.contains("e00000002"), "{problem}");
    assert!(db(&folder.path().join("none"), &["stats"]).unwrap_err().contains("no store there"));
}
