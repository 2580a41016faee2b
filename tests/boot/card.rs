//! Cards made of the built image.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use osmia::board::layout::{Extent, SECTOR_BYTES, read_mbr};

use crate::host;

/// Room for the data partition to grow into.
const CARD_BYTES: u64 = 2 << 30;

/// Builds the image that a user would flash, with the test's configuration. Inside the namespace it exists.
pub(crate) fn build_image() -> PathBuf {
    match std::env::var_os("OSMIA_BOOT_TEST_IMAGE") {
        Some(built) => built.into(),
        None => build("qemu-virt", &[]),
    }
}

/// The same for all Raspberry Pis, with everything that is published.
pub(crate) fn build_pi_image() -> PathBuf {
    match std::env::var_os("OSMIA_BOOT_TEST_PI_IMAGE") {
        Some(built) => built.into(),
        None => build("rpi", &["--compress"]),
    }
}

/// The first one with a firmware that attacks itself.
pub(crate) fn build_attack_image() -> PathBuf {
    match std::env::var_os("OSMIA_BOOT_TEST_ATTACK_IMAGE") {
        Some(built) => built.into(),
        None => build("qemu-virt", &["--attack"]),
    }
}

fn build(board: &str, more: &[&str]) -> PathBuf {
    let out = host::folder().join(format!("osmia-{board}{}.img", more.concat()));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot/node.toml");
    let status = Command::new(env!("CARGO_BIN_EXE_mkimage"))
        .args(["build", "--board", board, "--config"])
        .arg(config)
        .arg("--out")
        .arg(&out)
        .args(more)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the image was not built");
    out
}

/// A card that a board writes to.
pub(crate) struct Card {
    pub(crate) path: PathBuf,
}

impl Card {
    pub(crate) fn new(image: &Path, name: &str) -> Self {
        let card = Self::as_flashed(image, name);
        OpenOptions::new().write(true).open(&card.path).unwrap().set_len(CARD_BYTES).unwrap();
        card
    }

    /// One without room for the data partition to grow.
    pub(crate) fn as_flashed(image: &Path, name: &str) -> Self {
        let path = host::folder().join(format!("{name}.card"));
        fs::copy(image, &path).unwrap();
        Self { path }
    }

    /// An image as it is.
    pub(crate) fn of(image: &Path) -> Self {
        Self { path: image.to_path_buf() }
    }

    pub(crate) fn partitions(&self) -> [Extent; 4] {
        let mut mbr = [0; 512];
        File::open(&self.path).unwrap().read_exact(&mut mbr).unwrap();
        read_mbr(&mbr).unwrap()
    }

    pub(crate) fn read(&self, extent: Extent) -> Vec<u8> {
        let mut card = File::open(&self.path).unwrap();
        card.seek(SeekFrom::Start(extent.start * SECTOR_BYTES)).unwrap();
        let mut content = vec![0; usize::try_from(extent.sectors * SECTOR_BYTES).unwrap()];
        card.read_exact(&mut content).unwrap();
        content
    }

    /// Does what the owner does with the card in a laptop.
    pub(crate) fn write_boot(&self, name: &str, bytes: &[u8]) {
        let boot = self.partitions()[0];
        let mut content = std::io::Cursor::new(self.read(boot));
        {
            let file_system = fatfs::FileSystem::new(&mut content, fatfs::FsOptions::new()).unwrap();
            let mut file = file_system.root_dir().create_file(name).unwrap();
            file.truncate().unwrap();
            file.write_all(bytes).unwrap();
        }
        let mut card = OpenOptions::new().write(true).open(&self.path).unwrap();
        card.seek(SeekFrom::Start(boot.start * SECTOR_BYTES)).unwrap();
        card.write_all(content.get_ref()).unwrap();
    }

    pub(crate) fn read_boot(&self, name: &str) -> Vec<u8> {
        let content = std::io::Cursor::new(self.read(self.partitions()[0]));
        let file_system = fatfs::FileSystem::new(content, fatfs::FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        file_system.root_dir().open_file(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The data partition, as programs of e2fsprogs name it.
    fn data(&self) -> String {
        format!("{}?offset={}", self.path.display(), self.partitions()[3].start * SECTOR_BYTES)
    }

    pub(crate) fn data_bytes(&self) -> u64 {
        self.partitions()[3].sectors * SECTOR_BYTES
    }

    /// Puts a file on the data partition, as somebody could in a computer with Linux.
    pub(crate) fn write_data(&self, path: &str, content: &[u8]) {
        let local = host::folder().join("content");
        fs::write(&local, content).unwrap();
        for order in [format!("rm {path}"), format!("write {} {path}", local.display())] {
            host::run(Command::new("/usr/sbin/debugfs").args(["-w", "-R", &order, &self.data()]));
        }
    }

    /// Takes the last block of the data partition, likewise.
    pub(crate) fn fill_data(&self) {
        // A file gets what there is, or nothing of its last portion.
        for number in 0.. {
            let [free, _] = self.free_and_all_blocks();
            if free == 0 {
                return;
            }
            let name = format!("filler{number}");
            let last = free.min(1_000) - 1;
            for order in [format!("write /dev/null {name}"), format!("fallocate {name} 0 {last}")] {
                host::run(Command::new("/usr/sbin/debugfs").args(["-w", "-R", &order, &self.data()]));
            }
            assert!(self.free_and_all_blocks()[0] < free, "{free} blocks cannot be taken");
        }
    }

    pub(crate) fn data_used_percent(&self) -> u64 {
        let [free, all] = self.free_and_all_blocks();
        100 - free * 100 / all
    }

    fn free_and_all_blocks(&self) -> [u64; 2] {
        let about = host::run(Command::new("/usr/sbin/debugfs").args(["-R", "stats -h", &self.data()]));
        ["Free blocks:", "Block count:"].map(|name| {
            let line = about.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        })
    }

    /// Overwrites the beginning of the data partition; gives what stands there now.
    pub(crate) fn damage_data(&self) -> Vec<u8> {
        let damage = vec![0xa5; 1 << 20];
        let mut card = OpenOptions::new().write(true).open(&self.path).unwrap();
        card.seek(SeekFrom::Start(self.partitions()[3].start * SECTOR_BYTES)).unwrap();
        card.write_all(&damage).unwrap();
        damage
    }

    /// Whether the data partition begins so.
    pub(crate) fn data_is(&self, expected: &[u8]) -> bool {
        let extent = Extent { sectors: expected.len() as u64 / SECTOR_BYTES, ..self.partitions()[3] };
        self.read(extent) == expected
    }

    /// The data file system was unmounted and has no mistake.
    pub(crate) fn check_data_is_clean(&self) {
        let data = host::folder().join("data.ext4");
        fs::write(&data, self.read(self.partitions()[3])).unwrap();
        let report = host::run(Command::new("/usr/sbin/e2fsck").args(["-f", "-n"]).arg(&data));
        assert!(!report.contains("recovering journal"), "not unmounted:\n{report}");
        fs::remove_file(data).unwrap();
    }
}
