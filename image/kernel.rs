//! Kernel and modules out of the Debian packages, and the index that the firmware loads modules by.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::progress;

/// What an image takes from the packages.
pub(crate) struct Kernel {
    /// Uncompressed kernel.
    pub(crate) image: Vec<u8>,
    /// Module name and uncompressed file, in order of name.
    pub(crate) modules: BTreeMap<String, Vec<u8>>,
    /// See `osmia::firmware::modules`.
    pub(crate) index: String,
    /// Device trees, firmware and licences, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What the kernel itself has drivers for: `modules.builtin.modinfo`.
    pub(crate) builtin: Vec<u8>,
}

/// Everything of the packages that an image may need.
#[derive(Default)]
struct Packed {
    kernel: Option<Vec<u8>>,
    /// Still compressed.
    modules: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    builtin: Vec<u8>,
}

/// Folders whose files an image may need, by what their paths contain.
const FOLDERS: [&str; 2] = ["/dtb/broadcom/", "/lib/raspi-firmware/"];

/// Packages whose files are handed on with their licence.
const LICENSED: [&str; 2] = ["linux-base", "raspi-firmware"];

/// Picks the kernel, the modules with all they depend on, and the other files.
pub(crate) fn unpack(modules: &Modules, packages: &[PathBuf]) -> anyhow::Result<Kernel> {
    progress::step("unpacking kernel and modules", || {
        let mut packed = Packed::default();
        for package in packages {
            read_package(package, &mut packed).with_context(|| package.display().to_string())?;
        }
        select(modules, packed)
    })
}

/// Reads a package's files through dpkg-deb, keeping what an image may need.
fn read_package(package: &Path, packed: &mut Packed) -> anyhow::Result<()> {
    let mut child =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("dpkg-deb has no output")?;
    let mut archive = tar::Archive::new(output);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let owner = folder.rsplit('/').next().unwrap_or_default();
        let licensed = LICENSED.iter().find(|package| name == "copyright" && owner.starts_with(*package));
        let mut content = || {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map(|_| content)
        };
        if name == "vmlinuz" {
            packed.kernel = Some(content()?);
        } else if name == "modules.builtin.modinfo" {
            packed.builtin = content()?;
        } else if let Some(name) = name.strip_suffix(".ko.xz") {
            packed.modules.insert(name.replace('-', "_"), content()?);
        } else if let Some(package) = licensed {
            packed.files.insert(format!("LICENCE.{package}.txt"), content()?);
        } else if FOLDERS.iter().any(|part| path.contains(part)) {
            packed.files.insert(name.to_owned(), content()?);
        }
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => bail!("dpkg-deb: {status}"),
    }
}

fn select(wanted: &Modules, packed: Packed) -> anyhow::Result<Kernel> {
    let image = packed.kernel.context("no package has a vmlinuz")?;
    let mut selection =
        Selection { packed: &packed.modules, modules: BTreeMap::new(), order: BTreeMap::new() };
    for name in wanted.early.iter().chain(&wanted.coldplug) {
        selection.add(name, &mut BTreeSet::new())?;
    }
    let mut index = String::new();
    for (name, dependencies) in &selection.order {
        index.push_str(&["module", name].join(" "));
        for dependency in dependencies {
            index.push_str(&format!(" {dependency}"));
        }
        index.push('\n');
    }
    for name in &wanted.coldplug {
        for alias in facts(&selection.modules[name])?.aliases {
            index.push_str(&format!("alias {alias} {name}\n"));
        }
    }
    let modules = selection.modules;
    Ok(Kernel { image, modules, index, files: packed.files, builtin: packed.builtin })
}

/// Names of the modules to pack.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Loaded first.
    pub(crate) early: Vec<String>,
    /// Loaded for the devices that are there.
    pub(crate) coldplug: Vec<String>,
}

struct Selection<'a> {
    packed: &'a BTreeMap<String, Vec<u8>>,
    modules: BTreeMap<String, Vec<u8>>,
    /// All that a module needs, first to last.
    order: BTreeMap<String, Vec<String>>,
}

impl Selection<'_> {
    /// Adds a module behind its dependencies. `open` are those being added, to notice a circle.
    fn add(&mut self, name: &str, open: &mut BTreeSet<String>) -> anyhow::Result<()> {
        if self.order.contains_key(name) {
            return Ok(());
        }
        if !open.insert(name.to_owned()) {
            bail!("module {name} depends on itself");
        }
        let packed = self.packed.get(name).with_context(|| format!("no package has the module {name}"))?;
        let mut module = Vec::new();
        lzma_rust2::XzReader::new(packed.as_slice(), true)
            .read_to_end(&mut module)
            .with_context(|| format!("module {name}"))?;
        let mut order: Vec<String> = Vec::new();
        for dependency in facts(&module).with_context(|| format!("module {name}"))?.depends {
            self.add(&dependency, open)?;
            let below = self.order[&dependency].clone();
            for one in below.into_iter().chain([dependency]) {
                if !order.contains(&one) {
                    order.push(one);
                }
            }
        }
        open.remove(name);
        self.order.insert(name.to_owned(), order);
        self.modules.insert(name.to_owned(), module);
        Ok(())
    }
}

/// What the packed modules are for.
pub(crate) fn aliases(kernel: &Kernel) -> anyhow::Result<BTreeSet<String>> {
    let mut aliases = BTreeSet::new();
    for (name, module) in &kernel.modules {
        aliases.extend(facts(module).with_context(|| name.clone())?.aliases);
    }
    Ok(aliases)
}

/// What a module says of itself in its `.modinfo` section.
#[derive(Default)]
struct Facts {
    depends: Vec<String>,
    aliases: Vec<String>,
}

fn facts(module: &[u8]) -> anyhow::Result<Facts> {
    let section = modinfo(module).context("no .modinfo section: not a module?")?;
    let mut facts = Facts::default();
    for fact in section.split(|byte| *byte == 0).filter_map(|fact| std::str::from_utf8(fact).ok()) {
        if let Some(names) = fact.strip_prefix("depends=") {
            let names = names.split(',').filter(|name| !name.is_empty());
            facts.depends.extend(names.map(|name| name.replace('-', "_")));
        } else if let Some(alias) = fact.strip_prefix("alias=") {
            facts.aliases.push(alias.to_owned());
        }
    }
    Ok(facts)
}

/// Finds a section of a 64-bit little-endian ELF file by its name.
fn modinfo(elf: &[u8]) -> Option<&[u8]> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(elf.get(at..at + bytes)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    let (table, size, count, names) = (number(40, 8)?, number(58, 2)?, number(60, 2)?, number(62, 2)?);
    let section = |index: usize| {
        let at = table + index * size;
        Some((number(at, 4)?, number(at + 24, 8)?, number(at + 32, 8)?))
    };
    let (_, names_at, _) = section(names)?;
    (0..count).filter_map(section).find_map(|(name, offset, length)| {
        let name = elf.get(names_at + name..)?;
        name.starts_with(b".modinfo\0").then(|| elf.get(offset..offset + length)).flatten()
    })
}
