//! The time between a start and an engine: whoever asks meanwhile is told what the node is doing.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::keeper::progress::Progress;
use crate::node::supervised;
use crate::rest;

/// Answers and reports until it is ended.
pub(super) struct Starting {
    pub(super) progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Starting {
    /// A node with a probe reports to PID 1, too.
    pub(super) fn begin(
        listener: &Arc<TcpListener>,
        probe: Option<&Arc<TcpListener>>,
    ) -> anyhow::Result<Self> {
        let progress = Arc::new(Progress::default());
        let stop = watch::Sender::new(false);
        if probe.is_some() {
            supervised::report_starting(progress.clone(), stop.subscribe())?;
        }
        let doing = progress.clone();
        let doing = move || doing.said();
        let serving = rest::serve_starting(listener.clone(), probe.cloned(), doing, stop.subscribe());
        Ok(Self { progress, stop, serving: tokio::spawn(serving) })
    }

    /// The listeners are free again.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        // It ends by itself; one that panicked has, too.
        drop(self.serving.await);
    }
}
