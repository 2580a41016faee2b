//! Lines for the person who waits: what is being done, every two seconds how long it has taken so far.

use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Says one thing on standard error.
pub(crate) fn say(text: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Does `work` and says so; after two seconds, also how long it has been going on.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    let (done, wait) = mpsc::channel::<()>();
    let text = what.to_owned();
    let ticker = std::thread::spawn(move || tick(&text, started, &wait));
    let result = work();
    drop(done);
    // The ticker only prints: it cannot fail in a way that matters.
    let _ = ticker.join();
    match &result {
        Ok(_) => say(&format!("  {what}: {:.1} s", started.elapsed().as_secs_f32())),
        Err(_) => say(&format!("  {what}: failed after {:.1} s", started.elapsed().as_secs_f32())),
    }
    result
}

fn tick(what: &str, started: Instant, wait: &mpsc::Receiver<()>) {
    let terminal = std::io::stderr().is_terminal();
    let every = if terminal { Duration::from_secs(2) } else { Duration::from_secs(10) };
    say(&format!("  {what} …"));
    while wait.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
        let text = format!("  {what} … {} s", started.elapsed().as_secs());
        if terminal {
            let _ = write!(std::io::stderr(), "\r{text}\r");
        } else {
            say(&text);
        }
    }
}
