//! The root file system: a compressed cpio archive (newc) that the kernel unpacks into memory.

use anyhow::Context;

use crate::kernel::Kernel;
use crate::progress;

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const DEVICE: u32 = 0o020_000;

/// Packs binary, modules, the fresh data file system (its blocks) and the few folders and devices that must exist before anything is mounted.
pub(crate) fn pack(osmia: &[u8], kernel: &Kernel, data: &[u8], built: u64) -> anyhow::Result<Vec<u8>> {
    progress::step("packing the initramfs", || {
        let mut archive = Archive::default();
        for folder in ["boot", "data", "dev", "etc", "lib", "lib/modules", "proc", "run", "sys"] {
            archive.add(folder, FOLDER | 0o755, &[], (0, 0));
        }
        // What is printed before /dev is mounted goes to these two.
        archive.add("dev/console", DEVICE | 0o600, &[], (5, 1));
        archive.add("dev/null", DEVICE | 0o666, &[], (1, 3));
        archive.add("etc/built", FILE | 0o444, format!("{built}\n").as_bytes(), (0, 0));
        archive.add("init", FILE | 0o555, osmia, (0, 0));
        archive.add("lib/data.blocks", FILE | 0o444, data, (0, 0));
        archive.add("lib/modules/index", FILE | 0o444, kernel.index.as_bytes(), (0, 0));
        for (name, module) in &kernel.modules {
            archive.add(&format!("lib/modules/{name}.ko"), FILE | 0o444, module, (0, 0));
        }
        zstd::bulk::compress(&archive.finish(), 19).context("compressing")
    })
}

/// newc: a header of hexadecimal numbers, the name, the content, each padded to four bytes.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.files += 1;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        // inode, mode, uid, gid, links, time, size, device (2), special device (2), name length, check
        let fields = [
            self.files,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(content.len()).expect("no file of the image is over 4 GiB"),
            0,
            0,
            device.0,
            device.1,
            u32::try_from(name.len() + 1).expect("names are short"),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }
}
