//! Debian packages by their hash: from the cache, else from the mirror that the host's apt uses.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use osmia::board::Package;
use sha2::{Digest, Sha256};

use crate::{host, plan, progress};

/// Mirror for hosts whose apt has none, or that are no Debian.
const MIRROR_VARIABLE: &str = "OSMIA_DEBIAN_MIRROR";

/// Files of the packages, each with the pinned hash.
pub(crate) fn packages(pinned: &[Package], offline: bool) -> anyhow::Result<Vec<PathBuf>> {
    pinned.iter().map(|package| one(package, offline)).collect()
}

fn one(package: &Package, offline: bool) -> anyhow::Result<PathBuf> {
    let folder = plan::folder()?.join("packages");
    fs::create_dir_all(&folder)?;
    let cached = folder.join(&package.sha256);
    if hash(&cached).is_ok_and(|found| found == package.sha256) {
        return Ok(cached);
    }
    let name = package.path.rsplit('/').next().unwrap_or(&package.path);
    if offline {
        bail!("{name} with the pinned hash is needed: put it into {}", cached.display());
    }
    let url = format!("{}/{}", mirror()?, package.path);
    let partial = folder.join(format!("{}.partial", package.sha256));
    progress::step(&format!("downloading {name}"), || download(&url, &partial))
        .with_context(|| format!("{name}; or put the file into {}", cached.display()))?;
    let found = hash(&partial)?;
    if found != package.sha256 {
        fs::remove_file(&partial)?;
        bail!("{name} has the hash {found}, but {} is pinned", package.sha256);
    }
    fs::rename(&partial, &cached)?;
    Ok(cached)
}

/// apt's own download program knows the host's proxies and certificates.
fn download(url: &str, to: &Path) -> anyhow::Result<()> {
    let helper = Path::new("/usr/lib/apt/apt-helper");
    if helper.exists() {
        // The unprivileged user that apt switches to may not write into the target folder.
        let mut command = Command::new(helper);
        command.args(["-o", "APT::Sandbox::User=root", "download-file", url]).arg(to);
        return host::run_quietly(&mut command);
    }
    host::run_quietly(Command::new("curl").args(["-fsSL", "-o"]).arg(to).arg(url))
}

/// The Debian mirror of the host's apt.
fn mirror() -> anyhow::Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror.trim_end_matches('/').to_owned());
    }
    let output = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let uris = text.lines().map(|uri| uri.trim_end_matches('/')).collect::<Vec<_>>();
    // Others call a folder "debian", too, deeper down: the shortest path is Debian's own.
    let mirror =
        uris.into_iter().filter(|uri| uri.ends_with("/debian")).min_by_key(|uri| uri.matches('/').count());
    mirror
        .map(str::to_owned)
        .with_context(|| format!("apt knows no Debian mirror: set {MIRROR_VARIABLE} to one"))
}

/// SHA-256 of a file, in hex digits.
pub(crate) fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
