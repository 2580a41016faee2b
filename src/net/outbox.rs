//! Frames on their way to one peer: bounded by count and bytes. Who puts one in never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// HORNET: > a peer's send queue holds 1000 packets; what does not fit is dropped
const MOST_FRAMES: usize = 1_000;

/// Blocks of full length would take 32 MiB else.
const MOST_BYTES: usize = 4 << 20;

/// What is written at once.
const BATCH_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    /// Whether there was room for it.
    pub(super) fn push(&self, frame: Arc<[u8]>) -> bool {
        let mut queue = self.lock();
        if queue.frames.len() >= MOST_FRAMES || queue.bytes + frame.len() > MOST_BYTES {
            return false;
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        drop(queue);
        self.changed.notify_one();
        true
    }

    /// Nothing more is sent.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for frames, and appends some of them to `batch`; false when it is closed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn take(&self, batch: &mut Vec<u8>) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let mut queue = self.lock();
                if queue.closed {
                    return false;
                }
                while batch.len() < BATCH_BYTES
                    && let Some(frame) = queue.frames.pop_front()
                {
                    queue.bytes -= frame.len();
                    batch.extend_from_slice(&frame);
                }
            }
            if !batch.is_empty() {
                return true;
            }
            changed.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // Whoever panics while holding it has changed nothing by halves.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, MOST_FRAMES, Outbox};

    #[tokio::test]
    async fn it_is_bounded_and_keeps_order() {
        let outbox = Outbox::default();
        let taken = (0..2 * MOST_FRAMES).filter(|_| outbox.push([7; 35].into())).count();
        assert_eq!(taken, MOST_FRAMES);
        let mut all = Vec::new();
        while all.len() < 35 * MOST_FRAMES {
            let mut batch = Vec::new();
            assert!(outbox.take(&mut batch).await);
            all.extend(batch);
        }
        assert_eq!((0..1_000).filter(|_| outbox.push([0; 32_771].into())).count(), MOST_BYTES / 32_771);
        outbox.close();
        assert!(!outbox.take(&mut Vec::new()).await);
    }
}
