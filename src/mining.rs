//! Proof of work for clients: one search at a time on a fixed number of threads, a bounded queue before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, mpsc};

use crate::pow::miner::Search;

/// Clients that may wait for their turn; each waiting one holds a block of at most 32 KiB.
const QUEUE: usize = 16;

/// No answer to be had now; worth trying again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many clients wait for proof of work")]
pub struct Busy;

/// The threads and their queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Miner {
    workers: u32,
    queue: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// Stops the searching threads within one batch when the client goes away.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Miner {
    /// A miner with this many threads.
    pub fn new(workers: u32) -> Self {
        let (queue, turn) = (Arc::new(Semaphore::new(QUEUE)), Arc::new(Semaphore::new(1)));
        Self { workers, queue, turn }
    }

    /// Finds a nonce whose hash with `digest` ends in `zeros` zero trits: 3^zeros hashes on average.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    ///
    /// # Cancel safety
    /// Dropping the future stops the search.
    pub async fn mine(&self, digest: [u8; 32], zeros: u32) -> Result<u64, Busy> {
        let _place = self.queue.try_acquire().map_err(|_| Busy)?;
        let _turn = self.turn.acquire().await.map_err(|_| Busy)?;
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopOnDrop(stop.clone());
        let (sender, mut found) = mpsc::channel(1);
        let kernel = crate::pow::kernel::Kernel::named("u64/ping-pong").expect("always");
        for worker in 0..self.workers {
            let (stop, sender) = (stop.clone(), sender.clone());
            let mut search = Search::new(kernel, digest, zeros, u8::try_from(worker).unwrap_or(0));
            // Threads of their own: those for reads of the store must not wait for a nonce.
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(nonce) = search.step() {
                        // Another thread may have been first.
                        let _ = sender.try_send(nonce);
                        return;
                    }
                }
            });
        }
        drop(sender);
        found.recv().await.ok_or(Busy)
    }
}
