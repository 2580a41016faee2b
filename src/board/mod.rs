//! Boards as data: `boards/*.toml`, read by the image builder and, from inside the binary, at boot.
//!
//! Pure (layer L0). A new board is a new file here and in the list `ALL`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod layout;

use serde::Deserialize;

/// Every board file, by name.
const ALL: [(&str, &str); 1] = [("qemu-virt", include_str!("../../boards/qemu-virt.toml"))];

/// A kind of board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Name of the file.
    #[serde(skip)]
    pub name: String,
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
    /// Debian packages to take kernel and modules from.
    pub packages: Vec<Package>,
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
    fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let board: Self = toml::from_str(text)
            .map_err(|error| Error { name: name.to_owned(), problem: error.to_string() })?;
        Ok(Self { name: name.to_owned(), ..board })
    }

    /// Every board.
    ///
    /// # Errors
    /// [`Error`] for a file that does not parse.
    pub fn all() -> Result<Vec<Self>, Error> {
        ALL.iter().map(|(name, text)| Self::parse(name, text)).collect()
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
