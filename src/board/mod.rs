//! Boards as data: `boards/*.toml`, read by the image builder and, from inside the binary, at boot.
//!
//! A file may inherit from another, one level: tables are joined, lists added up, other values replaced. A board
//! that others inherit from is a family: one card for all of them.
//!
//! Pure (layer L0). A new board is a new file and an entry in the list `ALL`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod layout;

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::pow::tuning::Override;

/// Every board file, by name.
const ALL: [(&str, &str); 6] = [
    ("qemu-virt", include_str!("../../boards/qemu-virt.toml")),
    ("rpi", include_str!("../../boards/rpi.toml")),
    ("rpi3", include_str!("../../boards/rpi3.toml")),
    ("rpi4", include_str!("../../boards/rpi4.toml")),
    ("rpi5", include_str!("../../boards/rpi5.toml")),
    ("zero2w", include_str!("../../boards/zero2w.toml")),
];

/// A kind of board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Name of the file.
    #[serde(skip)]
    pub name: String,
    /// The family that it belongs to.
    #[serde(default)]
    pub inherit: Option<String>,
    /// One line for people.
    pub description: String,
    /// What the running firmware needs to know.
    pub run: Run,
    /// What the image builder needs to know.
    pub image: Image,
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Root `compatible` strings of the device tree.
    pub compatible: Vec<String>,
    /// Time-out of the hardware watchdog, in seconds.
    pub watchdog_s: u32,
    /// Name of the activity light below `/sys/class/leds`.
    #[serde(default)]
    pub led: Option<String>,
    /// Node of the I2C bus that a display hangs on.
    #[serde(default)]
    pub display_bus: Option<String>,
    /// Where a button to ground hangs.
    #[serde(default)]
    pub button: Option<Gpio>,
    /// How to do proof of work, where measuring would find the wrong thing.
    #[serde(default)]
    pub pow: Override,
    /// Page cache of each of the node's epochs at most, in MiB, where memory is scarce.
    #[serde(default)]
    pub cache_mib: Option<NonZeroU32>,
}

/// A line of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpio {
    /// Label of the chip.
    pub chip: String,
    /// Number of the line on it.
    pub line: u32,
}

/// `[image]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Kernel command line.
    pub cmdline: String,
    /// Size of the boot partition.
    pub boot_mib: u32,
    /// Size of each of the two slots.
    pub slot_mib: u32,
    /// Size of the data partition before it grows.
    pub data_mib: u32,
    /// Modules loaded before any device is looked for.
    pub early: Vec<String>,
    /// Modules loaded when a device asks for them.
    pub coldplug: Vec<String>,
    /// Lines of `config.txt`.
    pub config: Vec<String>,
    /// Section of `config.txt` for this model alone.
    #[serde(default)]
    pub section: Option<String>,
    /// Files of the packages on the boot partition.
    #[serde(default)]
    pub boot_files: Vec<String>,
    /// Files of the packages in a slot.
    #[serde(default)]
    pub slot_files: Vec<String>,
    /// Device trees in a slot, the emulated one first.
    #[serde(default)]
    pub device_trees: Vec<String>,
    /// Watchdog in these trees: marked, so that the firmware starts it.
    #[serde(default)]
    pub watchdog_node: Option<String>,
    /// USB controller in these trees that is to be a host.
    #[serde(default)]
    pub usb_host_node: Option<String>,
    /// `compatible` strings that must have a driver.
    #[serde(default)]
    pub needed: Vec<String>,
    /// An overlay made of the difference between two trees.
    #[serde(default)]
    pub overlay: Option<Overlay>,
    /// Debian packages to take kernel, modules, device trees and firmware from.
    pub packages: Vec<Package>,
}

/// An overlay that makes one device tree of another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// File name.
    pub name: String,
    /// What it says it is for.
    pub compatible: String,
    /// Tree that it is laid over.
    pub from: String,
    /// Tree that comes of it.
    pub to: String,
}

/// A pinned Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Below the root of a Debian mirror.
    pub path: String,
    /// Of the file, 64 hex digits.
    pub sha256: String,
}

/// A board file is wrong: a mistake in this repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("boards/{name}.toml: {problem}")]
pub struct Error {
    name: String,
    problem: String,
}

impl Board {
    fn parse(name: &str) -> Result<Self, Error> {
        let error = |problem: String| Error { name: name.to_owned(), problem };
        let mut table = table(name)?;
        if let Some(parent) = table.get("inherit").and_then(toml::Value::as_str).map(str::to_owned) {
            let mut joined = self::table(&parent)?;
            if joined.contains_key("inherit") {
                return Err(error(format!("{parent} inherits itself: one level is enough")));
            }
            join(&mut joined, table);
            table = joined;
        }
        let board: Self = table.try_into().map_err(|problem| error(problem.to_string()))?;
        Ok(Self { name: name.to_owned(), ..board })
    }

    /// Every board and family.
    ///
    /// # Errors
    /// [`Error`] for a file that does not parse.
    pub fn all() -> Result<Vec<Self>, Error> {
        ALL.iter().map(|(name, _)| Self::parse(name)).collect()
    }

    /// The boards that one card with this name is for: the members of a family, or the board itself. None for a
    /// name that does not exist.
    ///
    /// # Errors
    /// [`Error`] for a file that does not parse.
    pub fn card(name: &str) -> Result<Vec<Self>, Error> {
        let boards = Self::all()?;
        let members = boards.iter().filter(|board| board.inherit.as_deref() == Some(name)).cloned();
        let members = members.collect::<Vec<_>>();
        if members.is_empty() {
            return Ok(boards.into_iter().filter(|board| board.name == name).collect());
        }
        Ok(members)
    }

    /// The board whose file names one of these `compatible` strings, most specific first.
    ///
    /// # Errors
    /// [`Error`] for a file that does not parse.
    pub fn detect(compatible: &[&str]) -> Result<Option<Self>, Error> {
        let boards = Self::all()?;
        let named =
            |name: &&str| boards.iter().find(|board| board.run.compatible.iter().any(|own| own == name));
        Ok(compatible.iter().find_map(named).cloned())
    }
}

fn table(name: &str) -> Result<toml::Table, Error> {
    let error = |problem: String| Error { name: name.to_owned(), problem };
    let text = ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let text = text.ok_or_else(|| error("no such file".to_owned()))?;
    toml::from_str(text).map_err(|problem| error(problem.to_string()))
}

/// Adds `more` to `base`: tables are joined, lists added up, other values replaced.
fn join(base: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(more)) => join(base, more),
            (Some(toml::Value::Array(base)), toml::Value::Array(more)) => base.extend(more),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}
