//! Proof of work of blocks that come in: whoever waits at the same time is judged together.
//!
//! A block never waits for others to come. Few at a time are judged where they are; beyond what was measured to be worth
//! it, what there is when the judge's thread is free is one batch. A block waits for the batch before and its own, a
//! millisecond in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};

use tokio::sync::oneshot;

use crate::pow::tuning::Tuning;
use crate::pow::verify::{Claim, Verifier};

/// Longest time that a batch takes, in nanoseconds.
const BATCH_NS: u64 = 500_000;

/// Blocks that may wait; 48 bytes each.
const QUEUE: usize = 1_024;

/// A thread that judges. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Judge(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    questions: SyncSender<Question>,
    /// Blocks that are being judged.
    inside: AtomicUsize,
    /// From so many on, a batch costs less than one by one.
    crossover: usize,
}

/// One of [`Shared::inside`].
struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Question {
    claim: Claim,
    reply: oneshot::Sender<bool>,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many blocks wait for their check")]
pub struct Overrun;

impl Judge {
    /// A thread that ends with the last clone.
    pub fn start(tuning: &Tuning) -> Self {
        let (sender, questions) = mpsc::sync_channel(QUEUE);
        let (verifier, most) =
            (Verifier::new(tuning.single_ns, &tuning.batches), tuning.batch_within(BATCH_NS));
        std::thread::spawn(move || run(&questions, verifier, most));
        let crossover = tuning.crossover();
        Self(Arc::new(Shared { questions: sender, inside: AtomicUsize::new(0), crossover }))
    }

    /// Whether the claim holds. Blocks for a millisecond at most, where the machine has a thread for it.
    ///
    /// # Errors
    /// [`Overrun`].
    pub fn holds(&self, claim: Claim) -> Result<bool, Overrun> {
        let shared = &*self.0;
        let others = shared.inside.fetch_add(1, Ordering::Relaxed);
        let _inside = Inside(&shared.inside);
        if others + 1 < shared.crossover {
            return Ok(claim.holds());
        }
        let (reply, answer) = oneshot::channel();
        match shared.questions.try_send(Question { claim, reply }) {
            Ok(()) => answer.blocking_recv().map_err(|_| Overrun),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Overrun),
        }
    }
}

fn run(questions: &Receiver<Question>, mut verifier: Verifier, most: usize) {
    while let Ok(first) = questions.recv() {
        let batch = std::iter::once(first).chain(questions.try_iter()).take(most).collect::<Vec<_>>();
        let claims = batch.iter().map(|question| question.claim).collect::<Vec<_>>();
        for (question, holds) in batch.into_iter().zip(verifier.verify(&claims)) {
            // Who asked may be gone.
            let _ = question.reply.send(holds);
        }
    }
}
