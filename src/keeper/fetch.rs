//! The first snapshot of a node, from the best of several web servers.
//!
//! What each server offers is looked at first, by the heads of its files; then the files of the newest are downloaded, or
//! of the next one when that fails. A download goes on where it was cut short, also after a power cut. Nothing counts
//! before it was read to the last byte, its sums are right, and the caller's judge agrees.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::web::{Part, Web, WebError};
use super::{DELTA, FULL, Keeper};
use crate::config::{Source, Url};
use crate::files;
use crate::ledger::Booked;
use crate::protocol::id::{MilestoneIndex, OutputId};
use crate::snapshot::delta::{self, DeltaReader};
use crate::snapshot::full::{self, FullReader};
use crate::snapshot::load::{self, Loaded, Target};
use crate::snapshot::{self, Base};

/// No head of a snapshot is longer: the protocol parameters take up to 64 KiB.
const MOST_HEAD_BYTES: usize = 66 << 10;

/// Between two lines about how far a download is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Room that has to stay free beside a file, as a multiple of it: the ledger is made of it.
const ROOM_FOR_LEDGER: u64 = 2;

/// Why no source gave a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It does not answer, or not as it should.
    #[error(transparent)]
    Web(#[from] WebError),
    /// What it sent is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// What it sent is not wanted.
    #[error("{0}")]
    Unfit(String),
    /// None of the sources was of use; each said why in the log.
    #[error("none of {0} sources gave a snapshot")]
    None(usize),
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        WebError::from(error).into()
    }
}

/// How a start goes on that takes its time.
#[derive(Debug)]
pub struct Progress {
    steps: AtomicU64,
    said: watch::Sender<String>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { steps: AtomicU64::new(0), said: watch::Sender::new("the node is starting".to_owned()) }
    }
}

impl Progress {
    /// Something was done.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// What was done so far: it stands still when the start does.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// What is being done, for whoever asks.
    pub fn say(&self, text: String) {
        self.said.send_replace(text);
    }

    /// What was said last.
    pub fn said(&self) -> String {
        self.said.borrow().clone()
    }
}

/// What a source has.
struct Offer<'a> {
    source: &'a Source,
    full: full::Header,
    delta: Option<delta::Header>,
}

impl Offer<'_> {
    fn target(&self) -> MilestoneIndex {
        self.delta.map_or(self.full.target.index, |delta| delta.target)
    }
}

impl Keeper {
    /// Downloads the newest snapshot that any source has and `judge` accepts, and keeps it as the node's own.
    ///
    /// # Errors
    /// [`FetchError`]; what was downloaded of a file is kept for the next attempt.
    pub async fn fetch(
        &self,
        sources: &[Source],
        network: &str,
        web: &Web,
        judge: &(dyn Fn(&Loaded) -> Result<(), String> + Sync),
        progress: &Progress,
    ) -> Result<Base, FetchError> {
        fs::create_dir_all(&self.folder)?;
        let mut offers = Vec::new();
        for source in sources {
            progress.step();
            match offer(source, network, web).await {
                Ok(offer) => {
                    let milestone = offer.target().0;
                    tracing::info!(milestone, source = %source.full.text, "snapshot offered");
                    offers.push(offer);
                }
                Err(error) => tracing::warn!(%error, source = %source.full.text, "no snapshot offered"),
            }
        }
        // Highest ledger index first; the owner's order among equals.
        offers.sort_by_key(|offer| std::cmp::Reverse(offer.target()));
        for offer in &offers {
            match self.take(offer, web, judge, progress).await {
                Ok(base) => return Ok(base),
                Err(error) => {
                    tracing::warn!(%error, source = %offer.source.full.text, "snapshot not usable");
                }
            }
        }
        Err(FetchError::None(sources.len()))
    }

    async fn take(
        &self,
        offer: &Offer<'_>,
        web: &Web,
        judge: &(dyn Fn(&Loaded) -> Result<(), String> + Sync),
        progress: &Progress,
    ) -> Result<Base, FetchError> {
        let full = self.download(&offer.source.full, FULL, web, progress).await?;
        let delta = match (&offer.source.delta, offer.delta) {
            (Some(url), Some(_)) => Some(self.download(url, DELTA, web, progress).await?),
            (Some(_) | None, _) => None,
        };
        progress.say("checking the snapshot that was downloaded".to_owned());
        let paths = (full.clone(), delta.clone());
        let checked = tokio::task::spawn_blocking(move || check(&paths.0, paths.1.as_deref())).await;
        let checked = checked.map_err(std::io::Error::other)?;
        let judged =
            checked.and_then(|loaded| judge(&loaded).map_err(FetchError::Unfit).map(|()| loaded.base));
        let base = match judged {
            Ok(base) => base,
            Err(error) => {
                // Whole, but wrong: there is nothing to go on with.
                for name in [FULL, DELTA] {
                    self.remove(&part_of(name))?;
                    self.remove(&origin_of(name))?;
                }
                return Err(error);
            }
        };
        fs::rename(full, self.folder.join(FULL))?;
        if let Some(delta) = delta {
            fs::rename(delta, self.folder.join(DELTA))?;
        }
        self.remove(&origin_of(FULL))?;
        self.remove(&origin_of(DELTA))?;
        Ok(base)
    }

    /// Downloads a file under a name of its own, going on with what an earlier attempt left of it.
    async fn download(
        &self,
        url: &Url,
        name: &str,
        web: &Web,
        progress: &Progress,
    ) -> Result<PathBuf, FetchError> {
        let (path, origin) = (self.folder.join(part_of(name)), self.folder.join(origin_of(name)));
        let mut part = Part::default();
        if let Some((from, validator)) = begun(&path, &origin, url) {
            part = Part { from, to: None, validator: Some(validator) };
        }
        let mut answer = web.get(url, &part).await?;
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
        file.set_len(answer.from)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
        let known = format!("{}\n{}\n", url.text, answer.validator.clone().unwrap_or_default());
        files::write_atomic(&origin, known.as_bytes(), 0o644)?;
        if answer.from > 0 {
            tracing::info!(from = answer.from, url = %url.text, "download goes on");
        }
        let (mut done, mut told) = (answer.from, Instant::now());
        self.check_room_for(answer.length.unwrap_or(0).saturating_sub(done))?;
        while let Some(bytes) = answer.chunk().await? {
            file.write_all(&bytes)?;
            done += bytes.len() as u64;
            progress.step();
            progress.say(far(name, done, answer.length));
            if told.elapsed() >= TELL_EVERY {
                tracing::info!("{}", far(name, done, answer.length));
                self.check_room_for(0)?;
                told = Instant::now();
            }
        }
        file.sync_all()?;
        if answer.length.is_some_and(|length| length != done) {
            return Err(WebError::Answer("ends before its file does").into());
        }
        Ok(path)
    }

    fn check_room_for(&self, bytes: u64) -> Result<(), FetchError> {
        let about = rustix::fs::statvfs(&self.folder).map_err(std::io::Error::from)?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        let reserve = about.f_blocks.saturating_mul(about.f_frsize) / 10;
        if free.saturating_sub(reserve) < bytes.saturating_mul(1 + ROOM_FOR_LEDGER) {
            let problem = format!("no room: the snapshot has {bytes} bytes, {free} are free on the disk");
            return Err(FetchError::Unfit(problem));
        }
        Ok(())
    }
}

fn part_of(name: &str) -> String {
    format!("{name}.part")
}

fn origin_of(name: &str) -> String {
    format!("{name}.from")
}

fn far(name: &str, done: u64, length: Option<u64>) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match length.filter(|length| *length > 0) {
        Some(length) => format!(
            "downloading {name}: {:.1} of {:.1} MiB, {} %",
            mib(done),
            mib(length),
            done.saturating_mul(100) / length
        ),
        None => format!("downloading {name}: {:.1} MiB", mib(done)),
    }
}

/// From where that file is to be gone on with, and what tells it from its successor. The last byte that is here is asked
/// for again: of a file that is whole already, there is no other.
fn begun(path: &Path, origin: &Path, url: &Url) -> Option<(u64, String)> {
    let from = fs::metadata(path).ok()?.len().checked_sub(1)?;
    let origin = fs::read_to_string(origin).ok()?;
    let mut lines = origin.lines();
    let same = lines.next()? == url.text;
    let validator = lines.next().filter(|validator| !validator.is_empty())?;
    (same && from > 0).then(|| (from, validator.to_owned()))
}

/// Looks at the heads of a source's files.
async fn offer<'a>(source: &'a Source, network: &str, web: &Web) -> Result<Offer<'a>, FetchError> {
    let full = head(&source.full, web, |bytes| Ok(FullReader::new(bytes)?.header().clone())).await?;
    if full.params.network_name != network {
        let problem = format!("of the network {:?}, not {network:?}", full.params.network_name);
        return Err(FetchError::Unfit(problem));
    }
    let delta = match &source.delta {
        None => None,
        Some(url) => match head(url, web, |bytes| Ok(*DeltaReader::new(bytes)?.header())).await {
            Ok(delta) if delta.full_target == full.target.id => Some(delta),
            Ok(_) => {
                tracing::warn!(delta = %url.text, "left out: it goes on from another full snapshot");
                None
            }
            // The full snapshot alone is good, too.
            Err(error) => {
                tracing::warn!(%error, delta = %url.text, "left out");
                None
            }
        },
    };
    Ok(Offer { source, full, delta })
}

/// Downloads no more than the head.
async fn head<T>(
    url: &Url,
    web: &Web,
    parse: impl Fn(&[u8]) -> Result<T, snapshot::Error>,
) -> Result<T, FetchError> {
    let to = Some(MOST_HEAD_BYTES as u64 - 1);
    let mut answer = web.get(url, &Part { to, ..Part::default() }).await?;
    let mut bytes = Vec::new();
    while bytes.len() < MOST_HEAD_BYTES {
        let Some(more) = answer.chunk().await? else { break };
        bytes.extend_from_slice(&more);
        if let Ok(head) = parse(&bytes) {
            return Ok(head);
        }
    }
    Ok(parse(&bytes)?)
}

/// Reads files to the end as an import does, but keeps nothing.
fn check(full: &Path, delta: Option<&Path>) -> Result<Loaded, FetchError> {
    struct Nowhere;
    impl Target for Nowhere {
        type Error = snapshot::Error;

        fn insert(&mut self, _: Booked) -> Result<(), snapshot::Error> {
            Ok(())
        }

        fn remove(&mut self, _: &OutputId) -> Result<(), snapshot::Error> {
            Ok(())
        }
    }
    let full = FullReader::new(BufReader::new(File::open(full)?))?;
    let delta = delta.map(File::open).transpose()?;
    let delta = delta.map(|file| DeltaReader::new(BufReader::new(file))).transpose()?;
    Ok(load::load(full, delta, &mut Nowhere)?)
}
