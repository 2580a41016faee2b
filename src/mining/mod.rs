//! Proof of work for clients, and judging that of others: threads, queue, heat.
//!
//! One search at a time on as many threads as the machine can spare: at the lowest priority, one core left to the node,
//! fewer when it gets hot ([`governor`]). Clients wait in a bounded queue in which everybody gets a turn in turn.

pub mod bench;
pub mod calibration;
pub mod capacity;
pub mod governor;
mod turns;
pub mod verifier;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::pow::miner::{SHARES, Search};
use crate::pow::tuning::Tuning;
pub use governor::{Governor, Heat};
pub use turns::Client;
use turns::Turns;

/// No answer to be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many clients wait for proof of work; try again in {retry_after_s} s")]
pub struct Busy {
    /// When it is worth asking again.
    pub retry_after_s: u32,
}

/// How far a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Hashes done.
    pub hashes: u64,
    /// Hashes a second, so far.
    pub rate: u64,
    /// What the whole search takes on average at this rate; luck may change that.
    pub expected: Duration,
}

/// The threads and their queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Miner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tuning: Tuning,
    /// Threads of a search; those from `allowed` on wait.
    threads: u32,
    allowed: AtomicU32,
    turns: Mutex<Turns>,
    /// By all searches.
    hashes: AtomicU64,
    /// Processor time that they took, in nanoseconds.
    busy_ns: AtomicU64,
    /// Hashes a second that the machine keeps up without a break; 0 until that is known.
    sustained: AtomicU64,
    /// The search that runs.
    search: Mutex<Option<Started>>,
}

/// Since when a search runs.
#[derive(Debug, Clone, Copy)]
struct Started {
    at: Instant,
    /// Hashes that were done before.
    hashes: u64,
    zeros: u32,
}

/// How often the heat is looked at, and how soon a thread that may run again sees that.
const TICK: Duration = Duration::from_secs(1);

impl Miner {
    /// A miner with so many threads, see [`Tuning::threads`]; `heat` is asked once a second.
    pub fn start(tuning: Tuning, threads: u32, heat: impl FnMut() -> Heat + Send + 'static) -> Self {
        let (threads, sustained) = (threads.clamp(1, SHARES), tuning.sustained);
        let miner = Self(Arc::new(Shared {
            tuning,
            threads,
            allowed: AtomicU32::new(threads),
            turns: Mutex::default(),
            hashes: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            sustained: AtomicU64::new(sustained),
            search: Mutex::default(),
        }));
        let shared = Arc::downgrade(&miner.0);
        std::thread::spawn(move || govern(&shared, heat));
        miner
    }

    /// Hashes a second when nothing else runs and the board is cool; 0 while it is too hot.
    pub fn rate(&self) -> u64 {
        self.0.tuning.rate(self.0.allowed.load(Ordering::Relaxed))
    }

    /// What a search takes on average at the best of times: of a board that is cool and does nothing else.
    pub fn expected(&self, zeros: u32) -> Duration {
        Duration::from_secs(expected(zeros) / self.0.tuning.rate(self.0.threads).max(1))
    }

    /// Threads that may run now.
    pub fn threads(&self) -> u32 {
        self.0.allowed.load(Ordering::Relaxed)
    }

    /// Hashes done by all searches so far.
    pub fn hashes(&self) -> u64 {
        self.0.hashes.load(Ordering::Relaxed)
    }

    /// Hashes a second that the machine keeps up without a break; 0 until that is known.
    pub fn sustained(&self) -> u64 {
        self.0.sustained.load(Ordering::Relaxed)
    }

    /// How far the search is that runs now.
    pub fn progress(&self) -> Option<Progress> {
        self.0.progress()
    }

    /// The client's turn to search.
    ///
    /// # Errors
    /// [`Busy`] when the queue, or the client's share of it, is full.
    ///
    /// # Cancel safety
    /// Dropping the future, or the turn, lets the next one in.
    pub async fn turn(&self, client: Client) -> Result<Turn, Busy> {
        let entered =
            self.turns().enter(client).map_err(|full| Busy { retry_after_s: self.waits_for(full.ahead) })?;
        if let Some(mut resolves) = entered {
            // Turns that were given to a client who is gone are passed on.
            let waiting = PassOn(self, &mut resolves);
            let turn = (&mut *waiting.1).await;
            std::mem::forget(waiting);
            // The place was needed for somebody who had fewer.
            turn.map_err(|_| Busy { retry_after_s: self.waits_for(turns::PLACES) })?;
        }
        Ok(Turn(self.clone()))
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Seconds until so many searches have ended, 1 to 60.
    fn waits_for(&self, searches: usize) -> u32 {
        let zeros = self.0.search().map_or(0, |search| search.zeros);
        // As it is now: no slower than what is kept up; of a board that is too hot, nobody knows.
        let sustained = Some(self.sustained()).filter(|rate| *rate > 0);
        let rate = sustained.map_or(self.rate(), |rate| rate.min(self.rate()));
        let each = expected(zeros).checked_div(rate).unwrap_or(60);
        u32::try_from(each.saturating_mul(searches as u64).clamp(1, 60)).expect("60 at most")
    }
}

/// Seconds of searching after which it is told how far that is.
const TELL_EVERY: u32 = 10;

/// Weight of the newest second in the sustained rate: a minute counts.
const NEWEST: u64 = 60;

impl Shared {
    /// A second's hashes. Only of a search that ran through all of it: others would look slow.
    fn learn(&self, done: u64) {
        let ran = self.search().is_some_and(|search| search.at.elapsed() >= TICK);
        if !ran || done == 0 {
            return;
        }
        let before = self.sustained.load(Ordering::Relaxed);
        let now = if before == 0 { done } else { (before * (NEWEST - 1) + done) / NEWEST };
        self.sustained.store(now, Ordering::Relaxed);
    }

    fn search(&self) -> MutexGuard<'_, Option<Started>> {
        self.search.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn progress(&self) -> Option<Progress> {
        let search = (*self.search())?;
        let hashes = self.hashes.load(Ordering::Relaxed).saturating_sub(search.hashes);
        let ms = u64::try_from(search.at.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = hashes.saturating_mul(1_000) / ms;
        let expected =
            Duration::from_secs(expected(search.zeros)) / u32::try_from(rate).unwrap_or(u32::MAX).max(1);
        Some(Progress { hashes, rate, expected })
    }
}

/// Passes a turn on that came to somebody who no longer waits.
struct PassOn<'a>(&'a Miner, &'a mut tokio::sync::oneshot::Receiver<()>);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.turns();
        // Closed within the lock: from here on it is either given already, or never.
        self.1.close();
        if self.1.try_recv().is_ok() {
            turns.leave();
        }
    }
}

/// Looks at the heat until the miner is gone.
fn govern(shared: &std::sync::Weak<Shared>, mut heat: impl FnMut() -> Heat) {
    let started = Instant::now();
    let Some(threads) = shared.upgrade().map(|shared| shared.threads) else { return };
    let mut governor = Governor::new(threads);
    let (mut hashes, mut busy_ns, mut searching) = (0, 0, 0u32);
    loop {
        std::thread::sleep(TICK);
        let Some(shared) = shared.upgrade() else { return };
        let done = since(&shared.hashes, &mut hashes);
        let busy_ns = since(&shared.busy_ns, &mut busy_ns);
        // Of processor time, so that neither idle time nor other work counts; of enough of it to say something.
        let rate = (busy_ns > 200_000_000).then(|| done as f64 * 1e9 / busy_ns as f64);
        if let Some(Progress { hashes, rate, expected }) = shared.progress() {
            searching += 1;
            if searching % TELL_EVERY == 0 {
                tracing::info!(hashes, rate, ?expected, "looking for a nonce");
            }
            shared.learn(done);
        } else {
            searching = 0;
        }
        let heat = heat();
        let allowed = governor.judge(started.elapsed(), heat, rate);
        if shared.allowed.swap(allowed, Ordering::Relaxed) != allowed {
            tracing::info!(
                threads = allowed,
                millidegrees = heat.millidegrees,
                "proof of work follows the heat"
            );
        }
    }
}

/// What a counter has gained.
fn since(counter: &AtomicU64, before: &mut u64) -> u64 {
    let now = counter.load(Ordering::Relaxed);
    now - std::mem::replace(before, now)
}

/// The right to search. Dropping it lets the next one in.
#[derive(Debug)]
pub struct Turn(Miner);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.0.search() = None;
        self.0.turns().leave();
    }
}

/// Stops the searching threads within one batch when nobody wants the nonce any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Turn {
    /// How far the search is.
    pub fn progress(&self) -> Option<Progress> {
        self.0.progress()
    }

    /// Finds a nonce whose hash with `digest` ends in `zeros` zero trits: 3^zeros hashes on average. `None` when the
    /// machine gives no thread for it.
    ///
    /// # Cancel safety
    /// Dropping the future stops the search within one batch.
    pub async fn search(&self, digest: [u8; 32], zeros: u32) -> Option<u64> {
        let shared = &self.0.0;
        let hashes = shared.hashes.load(Ordering::Relaxed);
        *shared.search() = Some(Started { at: Instant::now(), hashes, zeros });
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopOnDrop(stop.clone());
        let (sender, mut found) = mpsc::channel(1);
        for thread in 0..shared.threads {
            let (shared, stop, sender) = (shared.clone(), stop.clone(), sender.clone());
            // Threads of their own: those for reads of the store must not wait for a nonce.
            let spawned = std::thread::Builder::new().name("pow".into()).spawn(move || {
                if let Some(nonce) = search(&shared, thread, digest, zeros, &stop) {
                    // Another thread may have been first.
                    let _ = sender.try_send(nonce);
                }
            });
            if let Err(error) = spawned {
                tracing::warn!(%error, "no thread for proof of work");
            }
        }
        drop(sender);
        found.recv().await
    }
}

/// Hashes that a search takes on average.
fn expected(zeros: u32) -> u64 {
    3u64.checked_pow(zeros).unwrap_or(u64::MAX)
}

/// One thread of a search, until it finds a nonce or is stopped.
fn search(shared: &Shared, thread: u32, digest: [u8; 32], zeros: u32, stop: &AtomicBool) -> Option<u64> {
    // The node's other threads come first.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "priority not lowered");
    }
    let cluster = shared.tuning.cluster(thread);
    if shared.tuning.clusters.len() > 1 {
        calibration::pin(&cluster.cores);
    }
    let share = u8::try_from(thread).expect("as many threads as shares at most");
    let mut search = Search::new(cluster.kernel, digest, zeros, share);
    let lanes = cluster.kernel.lanes() as u64;
    while !stop.load(Ordering::Relaxed) {
        if thread >= shared.allowed.load(Ordering::Relaxed) {
            std::thread::sleep(TICK / 10);
            continue;
        }
        let found = batches(shared, &mut search, lanes, stop);
        if found.is_some() {
            // The others need not wait for whoever asked.
            stop.store(true, Ordering::Relaxed);
            return found;
        }
    }
    None
}

/// Batches between two looks at the clock, which take longer than a look at `stop`.
const BATCHES: u32 = 64;

/// Some batches, until one finds a nonce or nobody wants it any more.
fn batches(shared: &Shared, search: &mut Search, lanes: u64, stop: &AtomicBool) -> Option<u64> {
    let started = processor_time_ns();
    let (mut done, mut found) = (0, None);
    while done < BATCHES && found.is_none() && !stop.load(Ordering::Relaxed) {
        found = search.step();
        done += 1;
    }
    shared.hashes.fetch_add(u64::from(done) * lanes, Ordering::Relaxed);
    shared.busy_ns.fetch_add(processor_time_ns().saturating_sub(started), Ordering::Relaxed);
    found
}

/// Of this thread.
fn processor_time_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
