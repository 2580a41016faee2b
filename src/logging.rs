//! Where log lines go: standard error, one line an event. `OSMIA_LOG` sets the level (`info` by default).

use tracing_subscriber::EnvFilter;

/// Starts logging; of several calls in a process only the first counts.
pub fn start() {
    // sled's own lines about a missing `sync` program are no news on a board: the store does that itself.
    let filter = EnvFilter::try_from_env("OSMIA_LOG").unwrap_or_else(|_| EnvFilter::new("info,sled=error"));
    let _ = tracing_log::LogTracer::init();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    let _ = tracing::subscriber::set_global_default(lines);
}
