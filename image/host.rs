//! Programs of the host that the builder and the emulator need.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::progress;

/// A program, where it is looked for, and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool { program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu" },
    Tool { program: "dpkg-deb", package: "dpkg" },
    Tool { program: "mkfs.ext4", package: "e2fsprogs" },
    Tool { program: "qemu-system-aarch64", package: "qemu-system-arm" },
    Tool { program: "gcc", package: "gcc" },
];

/// The C library for the device's static binary: looked for by a file of it.
const C_LIBRARY: (&str, &str) = ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross");

/// Installs what is missing, after saying what; names it where it may not be installed.
pub(crate) fn provide(offline: bool) -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let by_hand = format!("install them: apt-get install --no-install-recommends {list}");
    if offline || !Path::new("/usr/bin/apt-get").exists() {
        bail!("these Debian packages are needed: {list}; {by_hand}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("these Debian packages are needed, and only root may install them: {list}; {by_hand}");
    }
    progress::say(&format!("installing Debian packages: {list}"));
    progress::step("installing packages", || {
        run_quietly(Command::new("apt-get").arg("update"))?;
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "--no-install-recommends"]).args(&missing);
        run_quietly(install.env("DEBIAN_FRONTEND", "noninteractive"))
    })
}

fn missing() -> Vec<&'static str> {
    let mut packages =
        TOOLS.iter().filter(|tool| find(tool.program).is_none()).map(|tool| tool.package).collect::<Vec<_>>();
    if !Path::new(C_LIBRARY.0).exists() {
        packages.push(C_LIBRARY.1);
    }
    packages
}

/// Path of a program; `sbin` is searched, too, as it is not always in the user's `PATH`.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a program; what it printed is shown only when it fails.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    bail!("{command:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&text))
}
