//! A disk whose power may be cut: what was not made durable is there, or is not, or half of it is.
//!
//! The rules are those of ext4 with a journal. Names (made, moved, deleted) become durable in the order in which they came
//! about; making a file or folder durable takes along all that came before its last change. Content is durable once its file
//! was synced; before, each sector is as it was at some moment since, whatever the others are. That is more than a real disk does.

use std::collections::BTreeMap;
use std::path::Path;

use crate::damage::Dice;

const SECTOR: usize = 512;

/// What a program did to a file, as `tests/powercut/shim.rs` notes it.
#[derive(Debug)]
pub(super) enum Event {
    Open { fd: usize, path: String, made: bool, cut: bool },
    Close { fd: usize },
    Double { fd: usize, new: usize },
    Write { fd: usize, at: usize, bytes: Vec<u8> },
    Resize { fd: usize, length: usize },
    Sync { fd: usize },
    Name(Name),
}

/// A change of names.
#[derive(Debug, Clone)]
pub(super) enum Name {
    File { path: String, file: usize },
    Folder { path: String },
    Moved { from: String, to: String },
    Gone { path: String },
}

struct Trace<'a>(&'a [u8]);

impl Trace<'_> {
    fn number(&mut self) -> usize {
        let (number, rest) = self.0.split_first_chunk().expect("a whole trace");
        self.0 = rest;
        usize::try_from(i64::from_le_bytes(*number)).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.number();
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }

    fn path(&mut self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

/// Reads a trace.
pub(super) fn events(trace: &[u8]) -> Vec<Event> {
    let mut trace = Trace(trace);
    let mut events = Vec::new();
    while let Some((letter, rest)) = trace.0.split_first() {
        trace.0 = rest;
        events.push(match letter {
            b'o' => Event::Open {
                fd: trace.number(),
                path: trace.path(),
                made: trace.number() == 1,
                cut: trace.number() == 1,
            },
            b'c' => Event::Close { fd: trace.number() },
            b'd' => Event::Double { fd: trace.number(), new: trace.number() },
            b'w' => Event::Write { fd: trace.number(), at: trace.number(), bytes: trace.bytes() },
            b't' => Event::Resize { fd: trace.number(), length: trace.number() },
            b's' => {
                let fd = trace.number();
                // Whether only its data: that takes the length along, too.
                trace.number();
                Event::Sync { fd }
            }
            b'r' => Event::Name(Name::Moved { from: trace.path(), to: trace.path() }),
            b'u' | b'n' => Event::Name(Name::Gone { path: trace.path() }),
            b'm' => Event::Name(Name::Folder { path: trace.path() }),
            other => panic!("no event: {other}"),
        });
    }
    events
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Resize(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(content, *at, bytes),
            Self::Resize(length) => content.resize(*length, 0),
        }
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    waiting: Vec<Change>,
    /// How many names had changed at its last change: so many become durable with it.
    touched: usize,
}

impl File {
    fn newest(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        self.waiting.iter().for_each(|change| change.apply(&mut content));
        content
    }

    /// Each sector as it was at some moment since the last sync, each length as well.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.durable.clone();
        let mut moments = BTreeMap::new();
        for (moment, change) in self.waiting.iter().enumerate() {
            match change {
                Change::Resize(length) => {
                    if dice.below(2) == 0 {
                        content.resize(*length, 0);
                    }
                }
                Change::Write { at, bytes } => {
                    let (mut at, mut rest) = (*at, bytes.as_slice());
                    while !rest.is_empty() {
                        let (part, more) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                        let last =
                            moments.entry(at / SECTOR).or_insert_with(|| dice.below(self.waiting.len() + 1));
                        if moment < *last {
                            put(&mut content, at, part);
                        }
                        (at, rest) = (at + part.len(), more);
                    }
                }
            }
        }
        content
    }
}

/// What is open.
#[derive(Debug, Clone)]
enum Open {
    File(usize),
    Folder(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<File>,
    open: BTreeMap<usize, Open>,
    /// As the program sees them; `None` is a folder.
    names: BTreeMap<String, Option<usize>>,
    /// Every change of names, and how many of them are durable.
    changes: Vec<Name>,
    durable: usize,
    /// Changes of names at the last one in each folder.
    folders: BTreeMap<String, usize>,
}

fn folder_of(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

impl Disk {
    /// Goes on by one event. `deaf` is asked whether the disk does not hear that a file is to be made durable: a barrier that
    /// the program forgot.
    pub(super) fn step(&mut self, event: &Event, deaf: &dyn Fn(&str) -> bool) {
        match event {
            Event::Open { fd, path, made, cut } => self.opened(*fd, path, *made, *cut),
            Event::Close { fd } => drop(self.open.remove(fd)),
            Event::Double { fd, new } => {
                if let Some(open) = self.open.get(fd).cloned() {
                    self.open.insert(*new, open);
                }
            }
            Event::Write { fd, at, bytes } => {
                self.change(*fd, Change::Write { at: *at, bytes: bytes.clone() });
            }
            Event::Resize { fd, length } => self.change(*fd, Change::Resize(*length)),
            Event::Sync { fd } => self.sync(*fd, deaf),
            Event::Name(name) => self.rename(name.clone()),
        }
    }

    fn opened(&mut self, fd: usize, path: &str, made: bool, cut: bool) {
        if made {
            self.files.push(File::default());
            self.rename(Name::File { path: path.to_owned(), file: self.files.len() - 1 });
        }
        let open = match self.names.get(path) {
            Some(Some(file)) => Open::File(*file),
            Some(None) | None => Open::Folder(path.to_owned()),
        };
        self.open.insert(fd, open);
        if cut && !made {
            self.change(fd, Change::Resize(0));
        }
    }

    fn change(&mut self, fd: usize, change: Change) {
        if let Some(Open::File(file)) = self.open.get(&fd) {
            let file = &mut self.files[*file];
            file.waiting.push(change);
            file.touched = self.changes.len();
        }
    }

    fn sync(&mut self, fd: usize, deaf: &dyn Fn(&str) -> bool) {
        let (touched, path) = match self.open.get(&fd) {
            Some(Open::File(number)) => {
                let path = self.names.iter().find(|(_, file)| **file == Some(*number));
                let path = path.map_or(String::new(), |(path, _)| path.clone());
                (self.files[*number].touched, path)
            }
            Some(Open::Folder(path)) => (self.folders.get(path).copied().unwrap_or(0), path.clone()),
            None => return,
        };
        if deaf(&path) {
            return;
        }
        if let Some(Open::File(number)) = self.open.get(&fd) {
            let file = &mut self.files[*number];
            for change in file.waiting.drain(..) {
                change.apply(&mut file.durable);
            }
        }
        self.durable = self.durable.max(touched);
    }

    fn rename(&mut self, name: Name) {
        apply(&mut self.names, &name);
        self.changes.push(name.clone());
        let count = self.changes.len();
        let mut touch = |path: &str| self.folders.insert(folder_of(path), count);
        match &name {
            Name::File { path, file } => {
                touch(path);
                self.files[*file].touched = count;
            }
            Name::Folder { path } => {
                touch(path);
                self.folders.insert(path.clone(), count);
            }
            Name::Gone { path } => drop(touch(path)),
            Name::Moved { from, to } => {
                touch(from);
                touch(to);
            }
        }
    }

    /// Makes the files in `folder` that a cut now would leave.
    pub(super) fn cut(&self, folder: &Path, dice: &mut Dice) {
        // All, nothing, or any part of what waits; of the names, a beginning.
        let manner = dice.below(4);
        let last = match manner {
            0 => self.durable,
            1 => self.changes.len(),
            _ => self.durable + dice.below(self.changes.len() - self.durable + 1),
        };
        let mut names = BTreeMap::new();
        self.changes[..last].iter().for_each(|name| apply(&mut names, name));
        for (path, file) in names {
            let path = folder.join(path);
            let Some(number) = file else {
                std::fs::create_dir_all(path).unwrap();
                continue;
            };
            let file = &self.files[number];
            let content = match manner {
                0 => file.durable.clone(),
                1 => file.newest(),
                _ => file.torn(dice),
            };
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
}

fn apply(names: &mut BTreeMap<String, Option<usize>>, name: &Name) {
    match name {
        Name::File { path, file } => drop(names.insert(path.clone(), Some(*file))),
        Name::Folder { path } => drop(names.insert(path.clone(), None)),
        Name::Gone { path } => drop(names.remove(path)),
        Name::Moved { from, to } => {
            let below = format!("{from}/");
            let moved = names.keys().filter(|path| *path == from || path.starts_with(&below));
            for path in moved.cloned().collect::<Vec<_>>() {
                if let Some(file) = names.remove(&path) {
                    names.insert(format!("{to}{}", &path[from.len()..]), file);
                }
            }
        }
    }
}
