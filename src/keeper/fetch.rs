//! The first snapshot of a node, from the best of several web servers.
//!
//! What each server offers is looked at first, by the heads of its files; then the files of the newest are downloaded, or
//! of the next one when that fails. A download goes on where it was cut short, also after a power cut. Nothing counts
//! before it was read to the last byte, its sums are right, and the caller's judge agrees.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::progress::Progress;
use super::web::{Part, Web, WebError};
use super::{DELTA, FULL, Keeper, UNDO};
use crate::config::{Source, Url};
use crate::files;
use crate::ledger::Booked;
use crate::protocol::hex;
use crate::protocol::id::{MilestoneIndex, OutputId};
use crate::snapshot::delta::{self, DeltaReader};
use crate::snapshot::full::{self, FullReader};
use crate::snapshot::hash::LedgerHash;
use crate::snapshot::load::{self, Loaded, Target};
use crate::snapshot::{self, Base};

/// No head of a snapshot is longer: the protocol parameters take up to 64 KiB.
const MOST_HEAD_BYTES: usize = 66 << 10;

/// Between two lines about how far a download is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Room that has to stay free beside a file, as a multiple of it: the ledger is made of it.
const ROOM_FOR_LEDGER: u64 = 2;

/// A source that takes longer to show the head of a file is left out.
const HEAD_WITHIN: Duration = Duration::from_secs(20);

/// Least that a source must send in the time of [`Web::patience`]: one that drips would keep a node from better ones.
const LEAST_BYTES: u64 = 64 << 10;

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

/// What a snapshot must be, beside being one.
pub struct Judge<'a> {
    /// Says what is wrong with it.
    pub likes: &'a (dyn Fn(&Loaded) -> Result<(), String> + Sync),
    /// The hash of its ledger, if only one will do.
    pub ledger_hash: Option<[u8; 32]>,
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("ledger_hash", &self.ledger_hash).finish_non_exhaustive()
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
    /// Downloads the newest snapshot that any source has and `judge` accepts, and keeps it as the node's own. With a
    /// `ledger_hash`, it has to lead to that ledger, too, which is held in memory for that; without, 34 bytes of each output
    /// are.
    ///
    /// # Errors
    /// [`FetchError`]; what was downloaded of a file is kept for the next attempt.
    pub async fn fetch(
        &self,
        sources: &[Source],
        network: &str,
        web: &Web,
        judge: &Judge<'_>,
        progress: &Progress,
    ) -> Result<Base, FetchError> {
        fs::create_dir_all(&self.folder)?;
        let mut offers = Vec::new();
        for source in sources {
            progress.step();
            let offer = tokio::time::timeout(HEAD_WITHIN, offer(source, network, web)).await;
            match offer.unwrap_or_else(|_| Err(WebError::Slow("the head of the file").into())) {
                Ok(offer) => {
                    let milestone = offer.target().0;
                    tracing::info!(milestone, source = source.full.shown(), "snapshot offered");
                    offers.push(offer);
                }
                Err(error) => tracing::warn!(%error, source = source.full.shown(), "no snapshot offered"),
            }
        }
        // Highest ledger index first; the owner's order among equals.
        offers.sort_by_key(|offer| std::cmp::Reverse(offer.target()));
        for offer in &offers {
            match self.take(offer, web, judge, progress).await {
                Ok(base) => return Ok(base),
                Err(error) => {
                    tracing::warn!(%error, source = offer.source.full.shown(), "snapshot not usable");
                }
            }
        }
        Err(FetchError::None(sources.len()))
    }

    async fn take(
        &self,
        offer: &Offer<'_>,
        web: &Web,
        judge: &Judge<'_>,
        progress: &Progress,
    ) -> Result<Base, FetchError> {
        let full = self.download(&offer.source.full, FULL, web, progress).await?;
        let delta = match (&offer.source.delta, offer.delta) {
            (Some(url), Some(_)) => Some(self.download(url, DELTA, web, progress).await?),
            (Some(_) | None, _) => None,
        };
        progress.say("checking the snapshot that was downloaded".to_owned());
        let paths = (full.clone(), delta.clone());
        let wanted = judge.ledger_hash;
        let checked = tokio::task::spawn_blocking(move || check(&paths.0, paths.1.as_deref(), wanted)).await;
        let checked = checked.map_err(std::io::Error::other)?;
        let judged = checked
            .and_then(|loaded| (judge.likes)(&loaded).map_err(FetchError::Unfit).map(|()| loaded.base));
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
        // What may lie there belongs to another full snapshot.
        self.remove(UNDO)?;
        self.remove(DELTA)?;
        // The full one last: without it, the delta does not count.
        if let Some(delta) = delta {
            fs::rename(delta, self.folder.join(DELTA))?;
        }
        fs::rename(full, self.folder.join(FULL))?;
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
        let mut answer = match web.get(url, &part).await {
            // A part of another file, from a server that does not know RFC 9110 §13.1.5.
            Ok(answer) if answer.from > 0 && answer.validator != part.validator => {
                part = Part::default();
                web.get(url, &part).await?
            }
            // RFC 9110 §15.5.17: > no such part: the file is another one now, and shorter
            Err(WebError::Status(hyper::StatusCode::RANGE_NOT_SATISFIABLE)) => {
                part = Part::default();
                web.get(url, &part).await?
            }
            other => other?,
        };
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
        file.set_len(answer.from)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
        let known = format!("{}\n{}\n", url.text, answer.validator.clone().unwrap_or_default());
        files::write_atomic(&origin, known.as_bytes(), 0o644)?;
        if answer.from > 0 {
            tracing::info!(from = answer.from, url = url.shown(), "download goes on");
        }
        let (mut done, mut told) = (answer.from, Instant::now());
        let (mut slow_since, mut slow_from) = (Instant::now(), done);
        let rest = answer.length.unwrap_or(0).saturating_sub(done);
        self.make_sure_of_room(name, rest.saturating_mul(1 + ROOM_FOR_LEDGER))?;
        while let Some(bytes) = answer.chunk().await? {
            done += bytes.len() as u64;
            if answer.length.is_some_and(|length| done > length) {
                return Err(WebError::Answer("sends more than its file has").into());
            }
            self.make_sure_of_room(name, bytes.len() as u64)?;
            file.write_all(&bytes)?;
            progress.step();
            progress.say(far(name, done, answer.length));
            if slow_since.elapsed() >= web.patience() {
                if done - slow_from < LEAST_BYTES {
                    return Err(WebError::Slow("the server's file").into());
                }
                (slow_since, slow_from) = (Instant::now(), done);
            }
            if told.elapsed() >= TELL_EVERY {
                tracing::info!("{}", far(name, done, answer.length));
                told = Instant::now();
            }
        }
        file.sync_all()?;
        if answer.length.is_some_and(|length| length != done) {
            return Err(WebError::Answer("ends before its file does").into());
        }
        Ok(path)
    }

    /// With too little room, what was downloaded of the file is deleted: it only takes the room that others need.
    fn make_sure_of_room(&self, name: &str, bytes: u64) -> Result<(), FetchError> {
        let spare = files::Room::of(&self.folder)?.spare();
        if spare >= bytes {
            return Ok(());
        }
        self.remove(&part_of(name))?;
        Err(FetchError::Unfit(format!("no room: {bytes} bytes are needed, {spare} are spare on the disk")))
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
                tracing::warn!(delta = url.shown(), "left out: it goes on from another full snapshot");
                None
            }
            // The full snapshot alone is good, too.
            Err(error) => {
                tracing::warn!(%error, delta = url.shown(), "left out");
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

/// Reads files to the end as an import does, and keeps no more of them than that takes.
///
/// # Errors
/// They are no snapshot, or do not belong together; or lead to another ledger than the one with this hash.
pub fn check(full: &Path, delta: Option<&Path>, ledger_hash: Option<[u8; 32]>) -> Result<Loaded, FetchError> {
    let full = FullReader::new(BufReader::new(File::open(full)?))?;
    let delta = delta.map(File::open).transpose()?;
    let delta = delta.map(|file| DeltaReader::new(BufReader::new(file))).transpose()?;
    let Some(wanted) = ledger_hash else { return Ok(load::load(full, delta, &mut Ids::default())?) };
    let mut outputs = BTreeMap::new();
    let loaded = load::load(full, delta, &mut outputs)?;
    let mut hash = LedgerHash::new(loaded.base.target.index, loaded.base.treasury);
    outputs.values().for_each(|output| hash.add(output));
    let (found, _) = hash.finish(Vec::new());
    if found == wanted {
        return Ok(loaded);
    }
    Err(FetchError::Unfit(format!("the hash of its ledger is {}", hex::encode(&found))))
}

/// Which outputs there are.
#[derive(Default)]
struct Ids(HashSet<OutputId>);

impl Target for Ids {
    type Error = snapshot::Error;

    fn insert(&mut self, output: Booked) -> Result<bool, snapshot::Error> {
        Ok(self.0.insert(output.id))
    }

    fn remove(&mut self, id: &OutputId) -> Result<bool, snapshot::Error> {
        Ok(self.0.remove(id))
    }
}
