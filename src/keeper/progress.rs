//! How a start goes on that takes its time: for PID 1, which looks for signs of life, and for clients.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

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
