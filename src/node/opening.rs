//! From a folder to a store that goes on: damage is put aside, and what it held is made again, as often as it takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use super::StartAgain;
use super::engine_thread::EngineThread;
use super::founding::Founding;
use super::joining::Joining;
use super::starting::Starting;
use crate::config::Config;
use crate::handle::Facts;
use crate::keeper::Keeper;
use crate::keeper::web::Names;
use crate::ledger::authority::Authority;
use crate::node::supervised;
use crate::protocol::id::MilestoneIndex;
use crate::store::{self, Error, Limits, Recovered, Store, Suspects, mend};

/// Each one puts something aside; a store has some two dozen parts.
const MOST_ATTEMPTS: u32 = 32;

/// What is left of one epoch is read within this time, or is given up.
const SALVAGE_WITHIN: Duration = Duration::from_secs(300);

/// Milestones before the confirmed one whose blocks may be needed again.
const SALVAGE_DEPTH: u32 = 40;

/// See the module.
pub(super) struct Opening<'a> {
    pub(super) folder: PathBuf,
    pub(super) limits: Limits,
    pub(super) suspects: Suspects,
    pub(super) config: &'a Config,
    pub(super) authority: &'a Authority,
    pub(super) keeper: &'a Keeper,
    pub(super) identity: &'a Path,
    pub(super) facts: &'a Facts,
    pub(super) joining: &'a Joining<'a>,
    pub(super) names: Names,
    pub(super) listener: &'a Arc<TcpListener>,
    pub(super) probe: Option<&'a Arc<TcpListener>>,
}

/// A store that can go on; who tells clients of the work, if there was any.
type Opened = (Store, Recovered, Option<Starting>);

impl Opening<'_> {
    /// Opens the store; an empty one gets its first ledger.
    ///
    /// # Errors
    /// What cannot be mended: the surroundings, or an empty store without a snapshot.
    pub(super) async fn open(&self) -> anyhow::Result<Opened> {
        let mut starting = None;
        let known = self.suspects.all();
        for _ in 0..MOST_ATTEMPTS {
            if self.is_damaged()? {
                self.tell(&mut starting, "mending the store")?;
                self.inspect(&mut starting).await?;
                let found_here = !self.suspects.all().is_subset(&known);
                for done in mend::put_aside(&self.folder, &self.suspects)? {
                    self.healed(&done);
                    self.tell(&mut starting, &format!("mending the store: {done}"))?;
                }
                // What sled held when it came upon that, it may hold for as long as this process lives.
                if found_here {
                    anyhow::bail!(StartAgain("damage was found and put aside"));
                }
            }
            match self.attempt(&mut starting).await {
                Ok((store, recovered)) => return Ok((store, recovered, starting)),
                // It is known now what is to be put aside.
                Err(error) if !self.suspects.all().is_empty() => tracing::warn!("{error:#}"),
                Err(error) => match error.downcast_ref::<Gap>() {
                    Some(Gap { fresh, .. }) => {
                        tracing::warn!("{error:#}");
                        mend::bridge(&self.folder, *fresh)?.iter().for_each(|done| self.healed(done));
                    }
                    None => {
                        if error.is::<Panicked>() {
                            // A panic that nobody is to blame for: the next start looks at everything.
                            store::note_crash(&self.folder);
                        }
                        return Err(error);
                    }
                },
            }
        }
        anyhow::bail!("{}: the store cannot be mended: move it away to start afresh", self.folder.display())
    }

    /// Tells the owner.
    fn healed(&self, done: &str) {
        tracing::warn!("the store heals itself: {done}");
        if self.probe.is_some() {
            supervised::did(&format!("The store healed itself: {done}."));
        }
    }

    fn is_damaged(&self) -> anyhow::Result<bool> {
        Ok(!self.suspects.all().is_empty() || mend::has_crashed(&self.folder))
    }

    fn tell(&self, starting: &mut Option<Starting>, doing: &str) -> anyhow::Result<()> {
        if starting.is_none() {
            *starting = Some(Starting::begin(self.listener, self.probe)?);
        }
        if let Some(starting) = starting {
            starting.progress.say(doing.to_owned());
        }
        Ok(())
    }

    async fn inspect(&self, starting: &mut Option<Starting>) -> anyhow::Result<()> {
        if mend::has_crashed(&self.folder) {
            // What was tried may be what crashed.
            mend::give_up_salvage(&self.folder)?;
        }
        let progress = starting.as_ref().map(|starting| starting.progress.clone());
        let (folder, limits, suspects) = (self.folder.clone(), self.limits, self.suspects.clone());
        let inspect = move || {
            let step = |doing: String| {
                if let Some(progress) = &progress {
                    progress.step();
                    progress.say(doing);
                }
            };
            mend::inspect_after_crash(&folder, limits, &suspects, &step)
        };
        match self.aside(inspect).await {
            Ok(inspected) => Ok(inspected?),
            // Whatever was looked at is to blame; the rest is looked at by the next attempt.
            Err(_) if !self.suspects.all().is_empty() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// On a thread of its own. A panic there is survived, and so is that sled then waits for ever for what it had begun: the
    /// part is known by then.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        // Before the work: no panic is missed.
        let mut panics = self.suspects.panics();
        tokio::select! {
            done = tokio::task::spawn_blocking(work) => done.map_err(|_| Panicked.into()),
            _ = panics.changed() => Err(Panicked.into()),
        }
    }

    async fn attempt(&self, starting: &mut Option<Starting>) -> anyhow::Result<(Store, Recovered)> {
        let (folder, limits, suspects) = (self.folder.clone(), self.limits, self.suspects.clone());
        let network = self.config.network.params.network_name.clone();
        let open = move || Store::open_watched(&folder, &network, limits, &suspects);
        let mut store = self.aside(open).await??;
        let fresh = store.is_empty()?;
        if fresh {
            self.tell(starting, "the node is starting")?;
            if let Some(starting) = starting {
                let founding = Founding {
                    config: self.config,
                    authority: self.authority,
                    keeper: self.keeper,
                    identity: self.identity,
                    facts: self.facts,
                    joining: self.joining,
                    progress: &starting.progress,
                };
                founding.found(&mut store, self.names.clone()).await?;
            }
        }
        let replay = u32::from(store.schedule()?.active.below_max_depth) + 5;
        let recover = move || {
            let recovered = store.recover(replay);
            recovered.map(|recovered| (store, recovered))
        };
        let recovered = self.aside(recover).await?;
        recovered.map_err(|error| {
            if let Error::Behind { parts, .. } = &error {
                // Not before the store was dropped: of what is known to be damaged, it would not let go.
                parts.iter().for_each(|part| self.suspects.add(part));
            }
            match matches!(error, Error::Gap { .. }) {
                true => Gap { fresh, error }.into(),
                false => error.into(),
            }
        })
    }

    /// Gives the engine what can still be read of damaged epochs; then clients are no more told to wait.
    pub(super) async fn take_back(
        &self,
        mut starting: Option<Starting>,
        engine: &mut EngineThread,
    ) -> anyhow::Result<()> {
        let folder = &self.folder;
        while mend::has_waiting(folder)? {
            self.tell(&mut starting, "taking back the blocks of a damaged part of the store")?;
            let from = MilestoneIndex(engine.confirmed().0.saturating_sub(SALVAGE_DEPTH));
            let (read_from, limits) = (folder.clone(), self.limits);
            let read = self.aside(move || mend::salvage(&read_from, limits, from));
            let blocks = match tokio::time::timeout(SALVAGE_WITHIN, read).await {
                Ok(Ok(blocks)) => {
                    let blocks =
                        blocks.context(StartAgain("the next start takes back the blocks of a damaged part"));
                    blocks?.unwrap_or_default()
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "nothing of it can be read");
                    Vec::new()
                }
                // The thread that reads may never end: only the end of the process ends it.
                Err(_) => {
                    mend::salvaged(folder)?;
                    anyhow::bail!(StartAgain("reading a damaged part of the store took too long: given up"));
                }
            };
            let count = blocks.len();
            for bytes in blocks {
                engine.take_back(bytes)?;
                if let Some(starting) = &starting {
                    starting.progress.step();
                }
            }
            engine.sync()?;
            mend::salvaged(folder)?;
            let confirmed = engine.confirmed().0;
            self.healed(&format!("{count} blocks taken back, now at milestone {confirmed}"));
        }
        if let Some(starting) = starting {
            starting.end().await;
        }
        Ok(())
    }
}

/// sled did not expect what it found.
#[derive(Debug, thiserror::Error)]
#[error("opening the store panicked")]
struct Panicked;

/// Ledger and epochs do not meet.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct Gap {
    /// The ledger was made just now.
    fresh: bool,
    error: Error,
}
