//! The device's binary: this package, cross-compiled and static.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{host, plan, progress};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Builds it and gives its bytes; `attack` adds what only a test may have.
pub(crate) fn build(attack: bool, offline: bool) -> anyhow::Result<Vec<u8>> {
    provide_target(offline)?;
    progress::step("compiling the firmware (minutes at first)", || compile(attack))?;
    let path = target_folder()?.join(TARGET).join("image").join("osmia");
    fs::read(&path).with_context(|| path.display().to_string())
}

fn target_folder() -> anyhow::Result<PathBuf> {
    Ok(plan::folder()?.parent().map_or_else(|| "target".into(), PathBuf::from))
}

/// The standard library for the board's processor.
fn provide_target(offline: bool) -> anyhow::Result<()> {
    let library = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&library.stdout).trim());
    let present = fs::read_dir(&folder)
        .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| is_std(&file.file_name()))));
    if present {
        return Ok(());
    }
    if offline || host::find("rustup").is_none() {
        bail!(
            "rustc lacks the standard library for {TARGET}: rustup target add {TARGET}, or with Debian's \
             rustc: dpkg --add-architecture arm64 and apt-get install libstd-rust-dev:arm64"
        );
    }
    progress::step("adding the standard library for the board", || {
        host::run_quietly(Command::new("rustup").args(["target", "add", TARGET]))
    })
}

fn is_std(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("libstd-") && name.ends_with(".rlib")
}

/// Paths of this machine must not show up in the binary: the same sources give the same bytes anywhere.
fn compile(attack: bool) -> anyhow::Result<()> {
    let sources = std::env::current_dir()?;
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=/osmia", sources.display())];
    flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--locked", "--profile", "image", "--target", TARGET, "--bin", "osmia"])
        .arg("--config")
        .arg(format!("target.{TARGET}.rustflags={flags:?}"))
        .arg("--target-dir")
        .arg(target_folder()?)
        // Would replace the flags that make the binary static and free of paths.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null());
    if attack {
        command.args(["--features", "attack"]);
        // Nobody waits for what it computes, and half of the time went into its optimisation.
        for faster in ["opt-level=1", "codegen-units=16"] {
            command.arg("--config").arg(format!("profile.image.package.osmia.{faster}"));
        }
    }
    // What the cargo that runs this program says of it: build scripts that ask for the like of their own would run again, and
    // what depends on them would be compiled anew.
    let of_this_program = |name: &str| {
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_program)) {
        command.env_remove(name);
    }
    host::run_quietly(&mut command)
}
