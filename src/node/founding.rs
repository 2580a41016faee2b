//! The first ledger of a node: from snapshot files in its folder, or that of a new network.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Config;
use crate::coordinator;
use crate::keeper::Keeper;
use crate::ledger::authority::Authority;
use crate::protocol::address::Address;
use crate::protocol::block::Block;
use crate::snapshot::delta::DeltaReader;
use crate::snapshot::full::FullReader;
use crate::snapshot::{genesis, load};
use crate::store::Store;

/// Folder of snapshot files in the node's folder.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// Fills an empty store.
pub(super) fn found(
    store: &mut Store,
    config: &Config,
    authority: &Authority,
    keeper: &Keeper,
    identity: &Path,
) -> anyhow::Result<()> {
    if let Some((full, delta)) = keeper.files() {
        return load_files(store, config, authority, &full, delta.as_ref());
    }
    let params = &config.network.params;
    let owner = genesis_owner(config, identity, &keeper.full_path())?;
    tracing::info!(owner = owner.to_bech32(&params.bech32_hrp), "a new network: all base tokens go there");
    for output in genesis::outputs(params.token_supply, owner, &[]).unwrap_or_default() {
        load::Target::insert(store, output)?;
    }
    Ok(store.found(&genesis::base(params.clone()))?)
}

fn load_files(
    store: &mut Store,
    config: &Config,
    authority: &Authority,
    full: &Path,
    delta: Option<&PathBuf>,
) -> anyhow::Result<()> {
    let open = |path: &Path| File::open(path).map(BufReader::new).with_context(|| path.display().to_string());
    let reader = FullReader::new(open(full)?).with_context(|| full.display().to_string())?;
    let (found, wanted) = (&reader.header().params.network_name, &config.network.params.network_name);
    // Checked before anything is imported.
    anyhow::ensure!(
        found == wanted,
        "{}: a snapshot of the network {found:?}, but network.name is {wanted:?}",
        full.display()
    );
    let delta = delta.map(|path| Ok::<_, anyhow::Error>(DeltaReader::new(open(path)?)?));
    let loaded = load::load(reader, delta.transpose()?, store).with_context(|| full.display().to_string())?;
    let load::Loaded { base, milestone } = loaded;
    if let Some(milestone) = milestone {
        let block = Block::of_milestone(milestone.clone());
        authority.check(&block, &milestone).with_context(|| {
            format!("{}: its milestone {} is none of this network", full.display(), base.target.index)
        })?;
        store.bring(block.pack())?;
    }
    tracing::info!(milestone = base.target.index.0, "snapshot loaded");
    Ok(store.found(&base)?)
}

/// Who owns all base tokens of a new network.
fn genesis_owner(config: &Config, identity: &Path, snapshot: &Path) -> anyhow::Result<Address> {
    if let Some(owner) = config.network.genesis_address {
        return Ok(owner);
    }
    let is_founder = config.coordinator.enabled && config.network.milestone_keys.is_empty();
    anyhow::ensure!(
        is_founder,
        "network.genesis_address: a node that joins a network must know who got its base tokens (its founder's log names \
         the address), or have a snapshot of it in {}",
        snapshot.display()
    );
    Ok(Address::of_key(&coordinator::genesis_key(identity)?))
}
