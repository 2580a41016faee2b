//! Kernel modules: loaded in order of dependency, on request of the devices that are there.
//!
//! The image builder writes `/lib/modules/index`, one line a fact:
//! `module <name> <dependency> …` (dependencies first to last) and `alias <pattern> <name>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The modules of the image.
#[derive(Debug, Default)]
pub struct Modules {
    folder: PathBuf,
    /// Dependencies of each module, in order of loading.
    dependencies: BTreeMap<String, Vec<String>>,
    /// Alias pattern and module.
    aliases: Vec<(String, String)>,
    loaded: BTreeSet<String>,
}

impl Modules {
    /// Reads the index in `folder`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(folder.join("index"))?;
        let mut modules = Self { folder: folder.to_path_buf(), ..Self::default() };
        for line in text.lines() {
            let mut words = line.split(' ').map(str::to_owned);
            match (words.next().as_deref(), words.next()) {
                (Some("module"), Some(name)) => {
                    modules.dependencies.insert(name, words.collect());
                }
                (Some("alias"), Some(pattern)) => {
                    modules.aliases.extend(words.next().map(|name| (pattern, name)))
                }
                (Some(_) | None, _) => {}
            }
        }
        Ok(modules)
    }

    /// Loads a module after everything it depends on. What is loaded already stays so.
    ///
    /// # Errors
    /// The kernel refuses it, or it is not in the image.
    pub fn load(&mut self, name: &str) -> io::Result<()> {
        if self.loaded.contains(name) {
            return Ok(());
        }
        let dependencies = self.dependencies.get(name).cloned().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("module {name} is not in the image"))
        })?;
        for one in dependencies.iter().map(String::as_str).chain([name]) {
            if self.loaded.insert(one.to_owned()) {
                let file = File::open(self.folder.join(format!("{one}.ko")))?;
                match rustix::system::finit_module(&file, c"", 0) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => {
                        return Err(io::Error::new(error.kind(), format!("module {one}: {error}")));
                    }
                }
            }
        }
        Ok(())
    }

    /// Loads a module for every device that asks for one and has none. Gives how many were loaded.
    pub fn coldplug(&mut self) -> usize {
        let before = self.loaded.len();
        for modalias in modaliases(Path::new("/sys/devices")) {
            for name in self.wanted_by(&modalias) {
                if let Err(error) = self.load(&name) {
                    tracing::warn!(%modalias, %error, "device without its module");
                }
            }
        }
        self.loaded.len() - before
    }

    fn wanted_by(&self, modalias: &str) -> Vec<String> {
        let matching = |(pattern, _): &&(String, String)| matches(pattern.as_bytes(), modalias.as_bytes());
        self.aliases.iter().filter(matching).map(|(_, name)| name.clone()).collect()
    }
}

/// Content of every `modalias` file below a folder; depth is that of the device tree.
fn modaliases(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut queue = vec![folder.to_path_buf()];
    while let Some(folder) = queue.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                // Links lead back up, so only real folders are entered.
                Ok(kind) if kind.is_dir() => queue.push(entry.path()),
                Ok(_) if entry.file_name() == "modalias" => {
                    found.extend(fs::read_to_string(entry.path()).map(|text| text.trim().to_owned()));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

/// Shell-style pattern with `*`, `?` and `[…]`, as in a module's alias. O(pattern × text).
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        [b'?', rest @ ..] => text.split_first().is_some_and(|(_, text)| matches(rest, text)),
        [b'[', class @ ..] => {
            let Some(end) = class.iter().position(|byte| *byte == b']') else { return false };
            let (class, rest) = (&class[..end], &class[end + 1..]);
            text.split_first().is_some_and(|(first, text)| in_class(class, *first) && matches(rest, text))
        }
        [literal, rest @ ..] => {
            text.split_first().is_some_and(|(first, text)| first == literal && matches(rest, text))
        }
    }
}

/// `a-z` ranges and single characters.
fn in_class(mut class: &[u8], byte: u8) -> bool {
    while let [first, rest @ ..] = class {
        match rest {
            [b'-', last, rest @ ..] => {
                if (*first..=*last).contains(&byte) {
                    return true;
                }
                class = rest;
            }
            _ if *first == byte => return true,
            _ => class = rest,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn aliases_match_as_in_the_kernel() {
        let is = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        assert!(is("virtio:d00000001v*", "virtio:d00000001v00001AF4"));
        assert!(!is("virtio:d00000001v*", "virtio:d00000002v00001AF4"));
        assert!(is("of:N*T*Cgpio-keysC*", "of:Ngpio-keysT(null)Cgpio-keysCx"));
        assert!(is("usb:v0424pEC00d[0-9]*", "usb:v0424pEC00d0200"));
        assert!(!is("usb:v0424pEC00d[0-4]", "usb:v0424pEC00d5"));
        assert!(is("a?c", "abc") && !is("a?c", "ac") && !is("a[", "a["));
    }
}
