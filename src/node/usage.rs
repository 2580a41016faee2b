//! What this process takes of its machine. The files are opened before the process gives up its right to open such files.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// See the module.
#[derive(Debug)]
pub(super) struct Usage {
    status: Option<File>,
    io: Option<File>,
}

impl Usage {
    pub(super) fn open() -> Self {
        let open = |name: &str| File::open(format!("/proc/self/{name}")).ok();
        Self { status: open("status"), io: open("io") }
    }

    /// Resident memory in MiB; 0 where the kernel does not tell.
    pub(super) fn memory_mib(&self) -> u64 {
        number(self.status.as_ref(), "VmRSS:").unwrap_or(0) / 1_024
    }

    /// Bytes that this process made the kernel write to disks since its start (proc(5), `write_bytes`: whole pages); `None`
    /// where the kernel does not tell.
    pub(super) fn written_bytes(&self) -> Option<u64> {
        number(self.io.as_ref(), "write_bytes:")
    }
}

/// The number behind a word at the beginning of a line.
fn number(file: Option<&File>, word: &str) -> Option<u64> {
    let mut text = [0; 4_096];
    let length = file?.read_at(&mut text, 0).ok()?;
    let text = String::from_utf8_lossy(&text[..length]);
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Usage;

    #[test]
    fn what_is_written_is_counted() {
        let usage = Usage::open();
        assert!(usage.memory_mib() > 1);
        let before = usage.written_bytes().unwrap();
        // Where there is a disk below.
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&[7; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        assert!(usage.written_bytes().unwrap() >= before + (1 << 20));
    }
}
