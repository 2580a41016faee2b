//! The first ledger of a node: from snapshot files in its folder, downloaded if need be, or that of a new network.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;

use super::joining::Joining;
use crate::config::Config;
use crate::coordinator;
use crate::handle::Facts;
use crate::keeper::Keeper;
use crate::keeper::fetch::{self, Judge};
use crate::keeper::progress::Progress;
use crate::keeper::web::{Names, PATIENCE, Web};
use crate::ledger::Booked;
use crate::ledger::authority::Authority;
use crate::protocol::address::Address;
use crate::protocol::block::Block;
use crate::protocol::hex;
use crate::protocol::id::{MilestoneIndex, OutputId};
use crate::snapshot::delta::DeltaReader;
use crate::snapshot::full::FullReader;
use crate::snapshot::hash::LedgerHash;
use crate::snapshot::load::{Loaded, Target, load};
use crate::snapshot::{Base, genesis};
use crate::store::{self, Store};

/// Folder of snapshot files in the node's folder.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// Between two rounds through the sources, in seconds: the first pause, and the longest.
const PAUSES_S: (u32, u32) = (5, 600);

/// What a first ledger is made of.
pub(super) struct Founding<'a> {
    pub(super) config: &'a Config,
    pub(super) authority: &'a Authority,
    pub(super) keeper: &'a Keeper,
    pub(super) identity: &'a Path,
    pub(super) facts: &'a Facts,
    pub(super) joining: &'a Joining<'a>,
    pub(super) progress: &'a Progress,
}

impl Founding<'_> {
    /// Fills an empty ledger. Waits for as long as a snapshot is to be downloaded and no source has one.
    pub(super) async fn found(&self, store: &mut Store, names: Names) -> anyhow::Result<()> {
        let first = store.reader().first_milestone()?;
        let mut files = tokio::task::block_in_place(|| self.usable_files(first.is_some()));
        // What milestones did leads on from the network's beginning as well.
        let has_all = first == Some(MilestoneIndex(1)) && self.knows_genesis_owner();
        let can_ask = !self.config.snapshots.sources.is_empty() || self.joining.has_learned();
        if files.is_none() && !has_all && can_ask {
            match self.config.snapshots.sources.is_empty() {
                true => self.joining.take_again(self.config, self.progress).await?,
                false => self.download(names).await?,
            }
            self.keeper.forget_sums().context("forgetting old checksums")?;
            // An old delta may lie beside.
            files = tokio::task::block_in_place(|| self.usable_files(false));
        }
        if files.is_some() && has_all && !self.keeper.vouches_for_files() {
            tracing::warn!("nothing is known of the snapshot that is there: left out");
            files = None;
        }
        tokio::task::block_in_place(|| match files {
            Some((full, delta)) => self.load(store, &full, delta.as_deref()),
            // Where there was a snapshot, there was a ledger.
            None if has_all || (first.is_none() && !self.keeper.had_full()) => self.begin(store),
            None => anyhow::bail!(
                "the ledger is lost, and there is no snapshot to make it again from: put one of this network into {}, or \
                 name sources of one in snapshots.sources; to begin anew, move that folder and the store away",
                self.keeper.full_path().display()
            ),
        })
    }

    /// The snapshot files, without what is damaged. What cannot be read is put aside where the node had a ledger before; what is
    /// there at its first start is its owner's to mend.
    fn usable_files(&self, has_blocks: bool) -> Option<(PathBuf, Option<PathBuf>)> {
        self.progress.say("looking at the snapshot".to_owned());
        // Whoever empties the store may have put another file there.
        let (full, delta) = self.keeper.whole_files(!has_blocks)?;
        // A full snapshot is good without its delta, too.
        if let Some(delta) = delta {
            match fetch::check(&full, Some(&delta), None) {
                Ok(_) => return Some((full, Some(delta))),
                Err(error) => tracing::warn!(%error, delta = %delta.display(), "left out"),
            }
        }
        if (has_blocks || self.keeper.had_full())
            && let Err(error) = fetch::check(&full, None, None)
        {
            tracing::warn!(%error, full = %full.display(), "left out");
            self.keeper.put_full_aside();
            return None;
        }
        Some((full, None))
    }

    async fn download(&self, names: Names) -> anyhow::Result<()> {
        let snapshots = &self.config.snapshots;
        let web = Web::new(snapshots.authority.as_deref(), names, PATIENCE).context("snapshots.authority")?;
        let network = &self.config.network.params.network_name;
        let likes = |loaded: &Loaded| {
            let (found, wanted) = (&loaded.base.schedule.active.network_name, network);
            if found != wanted {
                return Err(format!("of the network {found:?}, not {wanted:?}"));
            }
            // Nobody vouches for what a stranger sends but the coordinator, for its milestone.
            if loaded.milestone.is_none() && loaded.base.target.index.0 > 0 {
                return Err("its milestone is not in it, so nobody vouches for it".to_owned());
            }
            self.check_milestone(loaded).map_err(|error| format!("{error:#}"))
        };
        let judge = Judge { likes: &likes, ledger_hash: snapshots.ledger_hash };
        let mut pause_s = PAUSES_S.0;
        loop {
            // A certificate is valid for a time.
            while !self.facts.clock_trusted.load(Ordering::Relaxed) {
                self.progress.say("waiting for the clock, to download a snapshot".to_owned());
                self.wait(1).await;
            }
            let fetch = self.keeper.fetch(&snapshots.sources, network, &web, &judge, self.progress);
            // Every step of it ends in time by itself.
            let waiting = async {
                loop {
                    self.wait(1).await;
                }
            };
            let fetched = tokio::select! {
                fetched = fetch => fetched,
                () = waiting => unreachable!("it waits for ever"),
            };
            match fetched {
                Ok(base) => {
                    tracing::info!(milestone = base.target.index.0, "snapshot downloaded");
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(pause_s, "{error} (snapshots.sources)");
                    self.progress.say(format!("{error} (snapshots.sources); trying again"));
                }
            }
            self.wait(pause_s).await;
            pause_s = pause_s.saturating_mul(2).min(PAUSES_S.1);
        }
    }

    async fn wait(&self, seconds: u32) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.progress.step();
        }
    }

    /// A snapshot's milestone must be one of the network's: the coordinator vouches for it, if not for the outputs. A file
    /// that its owner put there may be without.
    fn check_milestone(&self, loaded: &Loaded) -> anyhow::Result<()> {
        let Some(milestone) = &loaded.milestone else {
            if loaded.base.target.index.0 > 0 {
                tracing::warn!("the snapshot does not hold its own milestone: nobody vouches for it");
            }
            return Ok(());
        };
        let checked = self.authority.check(&Block::of_milestone(milestone.clone()), milestone);
        checked.with_context(|| format!("its milestone {} is none of this network", loaded.base.target.index))
    }

    fn load(&self, store: &mut Store, full: &Path, delta: Option<&Path>) -> anyhow::Result<()> {
        self.progress.say("loading the snapshot".to_owned());
        let mut filling = Filling { store, progress: self.progress };
        let base = self.load_files(&mut filling, full, delta);
        let base = base.with_context(|| full.display().to_string())?;
        self.keeper.vouch().context("keeping its checksums")?;
        Ok(filling.store.found(&base)?)
    }

    /// The ledger of a network that begins.
    fn begin(&self, store: &mut Store) -> anyhow::Result<()> {
        let mut filling = Filling { store, progress: self.progress };
        let params = &self.config.network.params;
        let owner = self.genesis_owner()?;
        tracing::info!(
            owner = owner.to_bech32(&params.bech32_hrp),
            "a new network: all base tokens go there"
        );
        for output in genesis::outputs(params.token_supply, owner, &[]).unwrap_or_default() {
            filling.insert(output)?;
        }
        Ok(filling.store.found(&genesis::base(params.clone()))?)
    }

    fn load_files(
        &self,
        filling: &mut Filling<'_>,
        full: &Path,
        delta: Option<&Path>,
    ) -> anyhow::Result<Base> {
        let open = |path: &Path| File::open(path).map(BufReader::new);
        let reader = FullReader::new(open(full)?)?;
        let (found, wanted) =
            (&reader.header().params.network_name, &self.config.network.params.network_name);
        // Checked before anything is imported.
        anyhow::ensure!(
            found == wanted,
            "a snapshot of the network {found:?}, but network.name is {wanted:?}"
        );
        let delta = delta.map(|path| {
            let reader = open(path).map_err(anyhow::Error::from).and_then(|file| Ok(DeltaReader::new(file)?));
            reader.with_context(|| path.display().to_string())
        });
        let loaded = load(reader, delta.transpose()?, filling)?;
        self.check_milestone(&loaded)?;
        let Loaded { base, milestone } = loaded;
        if let Some(milestone) = milestone {
            filling.store.bring(Block::of_milestone(milestone).pack())?;
        }
        self.check_hash(&base, filling)?;
        Ok(base)
    }

    /// Tells the hash of the ledger, for its owner to compare with another node's, and compares it with a wanted one.
    fn check_hash(&self, base: &Base, filling: &Filling<'_>) -> anyhow::Result<()> {
        let mut hash = LedgerHash::new(base.target.index, base.treasury);
        let mut sum = u128::from(base.treasury.amount);
        for output in filling.store.reader().all_unspent() {
            let output = output?;
            sum += u128::from(output.output.value().amount);
            hash.add(&output);
            filling.progress.step();
        }
        let supply = base.schedule.active.token_supply;
        anyhow::ensure!(sum == u128::from(supply), "the ledger holds {sum}, the token supply is {supply}");
        let (found, _) = hash.finish(Vec::new());
        let milestone = base.target.index.0;
        tracing::info!(milestone, ledger_hash = hex::encode(&found), "snapshot loaded");
        if let Some(wanted) = self.config.snapshots.ledger_hash {
            anyhow::ensure!(
                found == wanted,
                "the hash of its ledger is {}, but snapshots.ledger_hash is {}: move the file away, or correct the key",
                hex::encode(&found),
                hex::encode(&wanted)
            );
        }
        Ok(())
    }

    /// Whether it is known who owned all base tokens.
    fn knows_genesis_owner(&self) -> bool {
        self.config.network.genesis_address.is_some() || coordinator::has_genesis_key(self.identity)
    }

    /// Who owns all base tokens of a new network.
    fn genesis_owner(&self) -> anyhow::Result<Address> {
        let network = &self.config.network;
        if let Some(owner) = network.genesis_address {
            return Ok(owner);
        }
        let is_founder = self.config.coordinator.enabled && network.milestone_keys.is_empty();
        anyhow::ensure!(
            is_founder,
            "network.genesis_address: a node that joins a network must know who got its base tokens (its founder's log \
             names the address), or have a snapshot of it in {}, or sources of one in snapshots.sources",
            self.keeper.full_path().display()
        );
        Ok(Address::of_key(&coordinator::genesis_key(self.identity)?))
    }
}

/// A store while it is filled.
struct Filling<'a> {
    store: &'a mut Store,
    progress: &'a Progress,
}

impl Target for Filling<'_> {
    type Error = store::Error;

    fn insert(&mut self, output: Booked) -> Result<bool, store::Error> {
        self.progress.step();
        Target::insert(self.store, output)
    }

    fn remove(&mut self, id: &OutputId) -> Result<bool, store::Error> {
        self.progress.step();
        Target::remove(self.store, id)
    }
}
