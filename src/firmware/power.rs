//! Ends of the machine's run.

use std::sync::mpsc;
use std::time::Duration;

use rustix::system::{RebootCommand, reboot};

/// Writing out what is in memory may hang on a broken card: then it is given up, before the watchdog bites.
const SYNC_AT_MOST: Duration = Duration::from_secs(10);

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Switched off.
    PowerOff,
    /// Started again.
    Restart,
    /// Started again with nothing remembered: factory reset.
    Forget,
    /// Started again at once, because something hangs: what is not written by now may never be.
    Reset,
}

/// Writes everything out, for at most ten seconds.
pub fn sync() {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        rustix::fs::sync();
        let _ = done.send(());
    });
    if wait.recv_timeout(SYNC_AT_MOST).is_err() {
        tracing::error!("data not written out in time");
    }
}

/// Ends the run. Comes back only when the kernel refuses.
pub fn end(how: End) {
    let command = match how {
        End::PowerOff => RebootCommand::PowerOff,
        End::Restart | End::Forget | End::Reset => RebootCommand::Restart,
    };
    if let Err(error) = reboot(command) {
        tracing::error!(%error, "the kernel refuses to end");
    }
}

/// Makes the kernel report Ctrl-Alt-Del to PID 1 instead of restarting at once.
pub fn report_ctrl_alt_del() {
    if let Err(error) = reboot(RebootCommand::CadOff) {
        tracing::warn!(%error, "Ctrl-Alt-Del restarts without an orderly stop");
    }
}
