//! Where log lines go: standard error, one line an event, and on a board also a bounded file in memory that the
//! status page shows. `OSMIA_LOG` sets the level (`info` by default).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging; of several calls in a process only the first counts.
pub fn start() {
    // sled's own lines about a missing `sync` program are no news on a board: the store does that itself.
    let filter = EnvFilter::try_from_env("OSMIA_LOG").unwrap_or_else(|_| EnvFilter::new("info,sled=error"));
    let _ = tracing_log::LogTracer::init();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Outputs)
        .with_ansi(false)
        .with_target(false)
        .finish();
    let _ = tracing::subscriber::set_global_default(lines);
}

/// For PID 1: from now on, lines are also kept in `path` (the last 128 KiB), and the console gets them from a thread of its
/// own: a serial line that is slow, or stopped from outside, must not stop PID 1. Of several calls only the first
/// counts.
///
/// # Errors
/// The file cannot be made.
pub fn keep_in(path: &Path) -> io::Result<()> {
    let kept = Kept::create(path)?;
    let _ = KEPT.set(Mutex::new(kept));
    let (sender, lines) = mpsc::sync_channel::<Line>(WAITING_LINES);
    if CONSOLE.set(sender).is_ok() {
        std::thread::spawn(move || {
            for line in lines {
                match line {
                    Line::Text(text) => drop(io::stderr().write_all(&text)),
                    Line::Flush(done) => drop(done.send(())),
                }
            }
        });
    }
    Ok(())
}

/// Waits until the console has everything, for at most two seconds.
pub fn flush() {
    let Some(console) = CONSOLE.get() else { return };
    let (done, wait) = mpsc::channel();
    if console.try_send(Line::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(Duration::from_secs(2));
    }
}

/// What the console's thread is given.
enum Line {
    Text(Vec<u8>),
    Flush(mpsc::Sender<()>),
}

/// Lines that may wait for the console; further ones are in the kept file only.
const WAITING_LINES: usize = 512;

static CONSOLE: OnceLock<mpsc::SyncSender<Line>> = OnceLock::new();

/// Puts a line that another process wrote among this process's own.
pub fn pass_on(line: &str) {
    // A log that cannot be written must not stop what it tells about.
    let _ = writeln!(Outputs.make_writer(), "{line}");
}

static KEPT: OnceLock<Mutex<Kept>> = OnceLock::new();

/// The last lines, in two files: the newer one is renamed to `….old` when it is full.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    bytes: usize,
}

impl Kept {
    /// Each of the two files: some hundred lines.
    const FULL: usize = 64 << 10;

    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), file: Self::open(path)?, bytes: 0 })
    }

    fn open(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)
    }

    fn add(&mut self, text: &[u8]) -> io::Result<()> {
        if self.bytes + text.len() > Self::FULL {
            fs::rename(&self.path, self.path.with_extension("old"))?;
            (self.file, self.bytes) = (Self::open(&self.path)?, 0);
        }
        self.bytes += text.len();
        self.file.write_all(&text[..text.len().min(Self::FULL)])
    }
}

/// Standard error and, once there is one, the kept file.
struct Outputs;

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Outputs;

    fn make_writer(&'a self) -> Outputs {
        Outputs
    }
}

impl Write for Outputs {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if let Some(kept) = KEPT.get() {
            let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Memory may be short: the console still says it.
            let _ = kept.add(text);
        }
        match CONSOLE.get() {
            // Full: the line is in the file.
            Some(console) => drop(console.try_send(Line::Text(text.to_vec()))),
            None => io::stderr().write_all(text)?,
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn what_is_kept_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut kept = Kept::create(&path).unwrap();
        for number in 0..5_000 {
            kept.add(format!("line {number} {}\n", "x".repeat(60)).as_bytes()).unwrap();
        }
        kept.add(&vec![b'y'; 3 * Kept::FULL]).unwrap();
        let length = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
        assert!(length(&path) <= Kept::FULL as u64);
        assert!(length(&path.with_extension("old")) <= Kept::FULL as u64);
    }
}
