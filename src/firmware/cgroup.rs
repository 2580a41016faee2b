//! Control groups (version 2): what a child may use of the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

const ROOT: &str = "/sys/fs/cgroup";

/// What a child may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory in MiB; the kernel kills the child when it needs more.
    pub memory_mib: u64,
    /// Processes and threads.
    pub tasks: u32,
}

/// The group of one child.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    /// Times that the kernel had killed in it when it was made.
    kills: u64,
}

impl Cgroup {
    /// Lets groups have limits. Once, before the first is made.
    ///
    /// # Errors
    /// Those of the kernel's files.
    pub fn delegate() -> io::Result<()> {
        write(&Path::new(ROOT).join("cgroup.subtree_control"), "+memory +pids")
    }

    /// The group with this name; one that exists is used again.
    ///
    /// # Errors
    /// Those of the kernel's files.
    pub fn make(name: &str, limits: &Limits) -> io::Result<Self> {
        let folder = Path::new(ROOT).join(name);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        write(&folder.join("memory.max"), &(limits.memory_mib << 20).to_string())?;
        write(&folder.join("memory.oom.group"), "1")?;
        write(&folder.join("pids.max"), &limits.tasks.to_string())?;
        Ok(Self { kills: kills(&folder), folder })
    }

    /// Puts a process into it.
    ///
    /// # Errors
    /// Those of the kernel's files.
    pub fn add(&self, pid: Pid) -> io::Result<()> {
        write(&self.folder.join("cgroup.procs"), &pid.as_raw_nonzero().to_string())
    }

    /// Whether the kernel killed in it for want of memory since this value was made.
    pub fn ran_out_of_memory(&self) -> bool {
        kills(&self.folder) > self.kills
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn kills(folder: &Path) -> u64 {
    let text = fs::read_to_string(folder.join("memory.events")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
