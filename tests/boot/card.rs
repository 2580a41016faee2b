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
    if let Some(built) = std::env::var_os("OSMIA_BOOT_TEST_IMAGE") {
        return built.into();
    }
    let out = host::folder().join("osmia.img");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot/node.toml");
    let status = Command::new(env!("CARGO_BIN_EXE_mkimage"))
        .args(["build", "--board", "qemu-virt", "--compress", "--config"])
        .arg(config)
        .arg("--out")
        .arg(&out)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the image was not built");
    out
}

pub(crate) fn compressed_mib(image: &Path) -> f64 {
    let bytes = fs::metadata(image.with_extension("img.xz")).unwrap().len();
    bytes as f64 / f64::from(1 << 20)
}

/// A card that a board writes to.
pub(crate) struct Card {
    pub(crate) path: PathBuf,
}

impl Card {
    pub(crate) fn new(image: &Path, name: &str) -> Self {
        let path = host::folder().join(format!("{name}.card"));
        fs::copy(image, &path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(CARD_BYTES).unwrap();
        Self { path }
    }

    fn partitions(&self) -> [Extent; 4] {
        let mut mbr = [0; 512];
        File::open(&self.path).unwrap().read_exact(&mut mbr).unwrap();
        read_mbr(&mbr).unwrap()
    }

    fn read(&self, extent: Extent) -> Vec<u8> {
        let mut card = File::open(&self.path).unwrap();
        card.seek(SeekFrom::Start(extent.start * SECTOR_BYTES)).unwrap();
        let mut content = vec![0; usize::try_from(extent.sectors * SECTOR_BYTES).unwrap()];
        card.read_exact(&mut content).unwrap();
        content
    }

    /// Does what the owner does with the card in a laptop.
    pub(crate) fn write_node_toml(&self, text: &str) {
        let boot = self.partitions()[0];
        let mut content = std::io::Cursor::new(self.read(boot));
        {
            let file_system = fatfs::FileSystem::new(&mut content, fatfs::FsOptions::new()).unwrap();
            let mut file = file_system.root_dir().create_file("node.toml").unwrap();
            file.truncate().unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let mut card = OpenOptions::new().write(true).open(&self.path).unwrap();
        card.seek(SeekFrom::Start(boot.start * SECTOR_BYTES)).unwrap();
        card.write_all(content.get_ref()).unwrap();
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
