//! Parts of the store that were found damaged: told to whoever runs it, and kept for the next start, which mends them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::Error;
use crate::files;

const NAME: &str = "suspect";

/// Written when the node crashed: any part may be the cause.
const CRASHED: &str = "crashed";

/// Input/output error: what a bad sector of a disk reads as.
const EIO: i32 = 5;

thread_local! {
    /// The part that this thread is opening: it is to blame for a panic.
    static OPENING: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A folder in the store's, by its name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Suspects {
    /// `None`: nobody is told.
    path: Option<PathBuf>,
    found: watch::Sender<BTreeSet<String>>,
    panics: watch::Sender<u64>,
}

impl Suspects {
    /// Those that earlier runs found in this store.
    pub fn of(store: &Path) -> Self {
        let path = store.join(NAME);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let found = text.lines().map(str::to_owned).collect();
        let found = watch::Sender::new(found);
        Self { path: Some(path), found, panics: watch::Sender::new(0) }
    }

    /// For what is known to be damaged.
    pub(super) fn unheard() -> Self {
        let found = watch::Sender::new(BTreeSet::new());
        Self { path: None, found, panics: watch::Sender::new(0) }
    }

    /// Adds one; the next start knows it, too, if the disk takes it.
    pub fn add(&self, part: &Path) {
        let Some(part) = name_of(part) else { return };
        let is_new = self.found.send_if_modified(|found| found.insert(part.clone()));
        if is_new && let Some(path) = &self.path {
            tracing::error!(part, "the store is damaged there");
            let text = self.all().into_iter().collect::<Vec<_>>().join("\n");
            if let Err(error) = files::write_atomic(path, text.as_bytes(), 0o644) {
                tracing::warn!(%error, "the damage is not kept for the next start");
            }
        }
    }

    pub(super) fn suspects(&self, part: &Path) -> bool {
        name_of(part).is_some_and(|part| self.found.borrow().contains(&part))
    }

    /// Adds the part that an error speaks of, when it speaks of damage.
    pub(super) fn judge(&self, part: &Path, error: &Error) {
        if error.is_damage() {
            self.add(part);
        }
    }

    /// This thread begins to open a part, or has opened it.
    pub(super) fn opening(&self, part: Option<&Path>) {
        // Of what is known to be damaged, nobody needs to know.
        OPENING.set(part.filter(|_| self.path.is_some()).and_then(name_of));
    }

    /// A thread panicked; what is being opened is to blame.
    pub fn blame_opened(&self) {
        if let Some(part) = OPENING.take() {
            self.add(Path::new(&part));
        }
        self.panics.send_modify(|panics| *panics += 1);
    }

    /// Changes at each panic.
    pub fn panics(&self) -> watch::Receiver<u64> {
        self.panics.subscribe()
    }

    /// All that are known.
    pub fn all(&self) -> BTreeSet<String> {
        self.found.borrow().clone()
    }

    /// They are mended.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub(super) fn clear(&self) -> Result<(), Error> {
        self.found.send_replace(BTreeSet::new());
        self.path.as_deref().map_or(Ok(()), remove)
    }

    /// Waits until something is found.
    pub async fn wait(&self) -> BTreeSet<String> {
        let mut found = self.found.subscribe();
        // The sender is here.
        found.wait_for(|found| !found.is_empty()).await.map(|found| found.clone()).unwrap_or_default()
    }
}

fn name_of(part: &Path) -> Option<String> {
    Some(part.file_name()?.to_string_lossy().into_owned())
}

/// Keeps that the process is about to die of a fault: the next start looks at every part.
pub fn note_crash(store: &Path) {
    // There is nobody to tell of a failure.
    let _ = fs::write(store.join(CRASHED), "");
}

/// Whether the last run ended by a fault.
pub(super) fn crashed(store: &Path) -> bool {
    store.join(CRASHED).exists()
}

pub(super) fn forget_crash(store: &Path) -> Result<(), Error> {
    remove(&store.join(CRASHED))
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = fs::remove_file(path);
    // Of the wrong kind, it says as much.
    let removed = match removed {
        Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir_all(path),
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("deleting", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Error {
    /// Whether somebody else has it open.
    pub(super) fn is_for_now(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the data are to blame, and not their surroundings (a full disk, missing rights).
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { source, doing, .. } => {
                // A disk that takes nothing says nothing of what is on it.
                let unreadable = source.raw_os_error() == Some(EIO) && doing.starts_with("reading");
                unreadable || matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
            }
            Self::Snapshot(_) | Self::Foreign { .. } | Self::Gap { .. } | Self::Behind { .. } => false,
        }
    }
}
