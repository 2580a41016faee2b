//! The next epoch, made ready by a thread of its own: its 81 files take longer than the commit of a milestone.
//!
//! After a power cut the next start finds it empty, and goes on in it.

use std::fs;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Error;
use super::epoch::Epoch;
use super::handles::Held;

/// An epoch with its writing handles.
type Made = Result<(Arc<Epoch>, Held), Error>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ahead(Option<JoinHandle<Made>>);

impl Ahead {
    /// Begins to make `epoch`, unless one is made already.
    pub(super) fn prepare(&mut self, epoch: impl FnOnce() -> Epoch) -> Result<(), Error> {
        if self.0.is_none() {
            let epoch = Arc::new(epoch());
            let path = epoch.path().to_path_buf();
            let make = move || epoch.create().map(|handles| (epoch, handles));
            let spawned = std::thread::Builder::new().name("ahead".into()).spawn(make);
            self.0 = Some(spawned.map_err(Error::io("making epoch", &path))?);
        }
        Ok(())
    }

    /// The epoch, waited for; `None` when none was begun.
    pub(super) fn take(&mut self) -> Option<Made> {
        // Its panic is this thread's matter, too.
        self.0.take().map(|making| making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    /// Deletes what nobody needs any more.
    pub(super) fn give_up(&mut self) -> Result<(), Error> {
        let Some(made) = self.take() else { return Ok(()) };
        let (epoch, handles) = made?;
        let path = epoch.path().to_path_buf();
        drop((epoch, handles));
        fs::remove_dir_all(&path).map_err(Error::io("deleting", &path))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Whoever opens the store next must not meet it half made; a failure was nobody's concern yet.
        drop(self.0.take().map(JoinHandle::join));
    }
}
