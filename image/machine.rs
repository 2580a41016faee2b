//! The machines that qemu can be: which of the boards each stands for, and with what devices.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use osmia::board::Package;

use crate::{dtb, fetch, host, plan, progress};

/// qemu for the Raspberry Pi 4, from Debian's backports: for hosts whose own is older.
const QEMU_PATH: &str = "pool/main/q/qemu/qemu-system-arm_10.0.2+ds-2+deb13u1~bpo12+1_amd64.deb";
const QEMU_SHA256: &str = "edebbab09db3882c48ef9c00049c7c6a2d76d195cb88d830baadd1fb705bbc66";

/// An emulated machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Machine {
    /// qemu's own board.
    Virt,
    /// Raspberry Pi 3 Model B.
    Raspi3b,
    /// Raspberry Pi 4 Model B.
    Raspi4b,
}

impl Machine {
    /// Its section of `config.txt`.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Virt => "none",
            Self::Raspi3b => "pi3",
            Self::Raspi4b => "pi4",
        }
    }

    /// Its device tree in the slot.
    pub(crate) fn device_tree(self) -> Option<&'static str> {
        match self {
            Self::Virt => None,
            Self::Raspi3b => Some("bcm2837-rpi-3-b.dtb"),
            Self::Raspi4b => Some("bcm2711-rpi-4-b.dtb"),
        }
    }

    /// The tree as this machine can use it.
    pub(crate) fn adapted(self, tree: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Virt | Self::Raspi3b => Ok(tree),
            Self::Raspi4b => dtb::without_what_raspi4b_lacks(&tree),
        }
    }

    /// qemu's options for the machine with a card.
    pub(crate) fn options(self, card: &Path) -> Vec<String> {
        let card = card.display();
        let options = match self {
            Self::Virt => format!(
                "-M virt -cpu cortex-a72 -smp 2 -m 2048 -drive if=none,id=card,format=raw,file={card} \
                 -device virtio-blk-pci,drive=card,id=disk -device virtio-rng-pci -device i6300esb"
            ),
            // Processors and memory are those of the board.
            Self::Raspi3b => format!("-M raspi3b -m 1G -drive if=sd,format=raw,file={card}"),
            Self::Raspi4b => format!("-M raspi4b -m 2G -drive if=sd,format=raw,file={card}"),
        };
        options.split_whitespace().map(str::to_owned).collect()
    }

    /// The card's kernel arguments as this machine needs them: its first serial port is the console, and the Raspberry
    /// Pi's watchdog must not be touched, as it resets at once instead of counting.
    pub(crate) fn arguments(self, card: &str) -> String {
        match self {
            Self::Virt => card.to_owned(),
            Self::Raspi3b | Self::Raspi4b => {
                let others = card.split_whitespace().filter(|word| !word.starts_with("console="));
                let own = ["console=ttyAMA0", "osmia.watchdog=off"];
                others.chain(own).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// A qemu that has this machine.
    pub(crate) fn qemu(self, offline: bool) -> anyhow::Result<PathBuf> {
        let own = host::find("qemu-system-aarch64").context("qemu-system-aarch64 is missing")?;
        if self == Self::Virt || is_new(&own) {
            return Ok(own);
        }
        let folder = plan::folder()?.join(format!("qemu-{}", &QEMU_SHA256[..8]));
        let program = folder.join("usr/bin/qemu-system-aarch64");
        if !program.exists() {
            let package = Package { path: QEMU_PATH.to_owned(), sha256: QEMU_SHA256.to_owned() };
            let package = fetch::packages(&[package], offline)?.remove(0);
            let partial = folder.with_extension("partial");
            let _ = std::fs::remove_dir_all(&partial);
            progress::step("unpacking qemu", || {
                host::run_quietly(Command::new("dpkg-deb").arg("-x").arg(package).arg(&partial))?;
                std::fs::rename(&partial, &folder).context("renaming")
            })?;
        }
        if !is_new(&program) {
            bail!(
                "{} does not run here, and the host's qemu has no raspi4b: install qemu 9 or newer",
                program.display()
            );
        }
        Ok(program)
    }
}

fn is_new(qemu: &Path) -> bool {
    let machines = Command::new(qemu).args(["-M", "help"]).stderr(Stdio::null()).output();
    machines.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("raspi4b"))
}
