//! What the owner wrote on the card's boot partition, and what is written back there.
//!
//! `node.toml` is read at each start; the last one without a mistake is kept on the data partition, and holds while
//! a newer one has a mistake. Files on the FAT partition are overwritten in place, never made longer or shorter, so
//! that a power cut cannot hurt the file system.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use super::setup::{BOOT, DATA};
use crate::boot::slot::{self, Slot};
use crate::config::{Config, preseed, text};
use crate::firmware::mount;
use crate::{files, rest};

/// The configuration of a card that says nothing.
const DEFAULT: &str = include_str!("../../image/node.toml");

/// Bytes of `SETUP-RESULT.txt`: one cluster of the boot partition is enough for it.
const RESULT_BYTES: usize = 2_048;

/// Larger files are no configuration.
const MAX_BYTES: u64 = 256 << 10;

/// What a start found out.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What to run with; `None` when nothing can be run.
    pub(super) config: Option<Config>,
    /// Its text.
    pub(super) text: String,
    /// The mistake, with line and fix.
    pub(super) mistake: Option<String>,
    /// What else to tell.
    pub(super) notices: Vec<String>,
    /// The owner changed `node.toml` since the last start.
    pub(super) changed: bool,
}

/// Reads what the owner wrote, keeps it, strikes out secrets and writes `SETUP-RESULT.txt`.
///
/// `boot` tells what is wrong with the boot partition, `data` whether the data partition is there.
pub(super) fn read(boot: Result<(), String>, data: bool) -> Found {
    let mut found = Found::default();
    let kept = Path::new(DATA).join("node.toml");
    let last_good = if data { fs::read_to_string(&kept).unwrap_or_default() } else { String::new() };
    match boot.clone().and_then(|()| node_toml()) {
        // Lost, perhaps: a member of a network must not become the founder of another by that.
        Ok((_, text)) if text == DEFAULT && !last_good.is_empty() && last_good != DEFAULT && is_empty() => {
            let notice = "node.toml is missing or empty: the last configuration without a mistake holds";
            found.notices.push(notice.to_owned());
            (found.config, found.text) = (Config::parse(&last_good).ok(), last_good);
        }
        Ok((config, text)) => {
            found.changed = !last_good.is_empty() && last_good != text;
            if data && last_good != text {
                keep(&kept, &text);
            }
            (found.config, found.text) = (Some(config), text);
        }
        Err(mistake) => {
            found.mistake = Some(mistake);
            // What was accepted once stays acceptable, unless the program changed.
            if let Ok(config) = Config::parse(&last_good)
                && !last_good.is_empty()
            {
                found.notices.push("the last configuration without a mistake holds".to_owned());
                (found.config, found.text) = (Some(config), last_good);
            }
        }
    }
    if boot.is_ok() {
        let mut files = Vec::new();
        files.extend(preseed_file(&mut found).map(|text| ("rpi-preseed.toml", text.into_bytes())));
        files.extend(mended_autoboot(&mut found).map(|text| ("autoboot.txt", text.into_bytes())));
        files.push(("SETUP-RESULT.txt", setup_result(&result_text(&found))));
        if let Err(error) = write_back(&files) {
            tracing::warn!(%error, "boot partition not written");
        }
    }
    found
}

/// `autoboot.txt` anew when what stands there names no slot: the firmware then took one by itself.
fn mended_autoboot(found: &mut Found) -> Option<String> {
    let bytes = read_file("autoboot.txt").unwrap_or_default();
    if slot::read_autoboot(&String::from_utf8_lossy(&bytes), false).is_some() {
        return None;
    }
    found.notices.push("autoboot.txt was damaged and is mended".to_owned());
    // Raspberry Pi documentation: > /proc/device-tree/chosen/bootloader/partition, big-endian
    let partition = fs::read("/proc/device-tree/chosen/bootloader/partition").unwrap_or_default();
    let slot = if partition == [0, 0, 0, 3] { Slot::B } else { Slot::A };
    Some(slot::autoboot_text(slot))
}

fn keep(path: &Path, text: &str) {
    if let Err(error) = files::write_atomic(path, text.as_bytes(), 0o600) {
        tracing::warn!(%error, "configuration not kept");
    }
}

fn read_file(name: &str) -> io::Result<Vec<u8>> {
    let path = Path::new(BOOT).join(name);
    if fs::metadata(&path)?.len() > MAX_BYTES {
        return Err(io::Error::other("over 256 KiB"));
    }
    fs::read(path)
}

/// Whether the card says nothing.
fn is_empty() -> bool {
    read_file("node.toml").map_or(true, |bytes| text::decode(&bytes).is_ok_and(|text| text.trim().is_empty()))
}

/// `node.toml` and its text; the defaults where there is none, or nothing in it.
fn node_toml() -> Result<(Config, String), String> {
    let named = |problem: String| format!("node.toml: {problem}");
    let bytes = match read_file("node.toml") {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(named(error.to_string())),
    };
    let mut text = text::decode(&bytes).map_err(|error| named(error.to_string()))?;
    if text.trim().is_empty() {
        text = DEFAULT.to_owned();
    }
    let config = Config::parse(&text).map_err(|error| named(error.to_string()))?;
    let port = config.rest_bind.port();
    // Those below need rights, 80 is the status page's, and one is for the board's own probe.
    if port <= 80 || port == rest::PROBE_PORT {
        return Err(named(format!("rest.bind: port {port} is taken on a board; write another, like 14265")));
    }
    let taken = |port| port <= 80 || port == rest::PROBE_PORT || port == config.rest_bind.port();
    if let Some(port) = config.peering.bind.iter().map(SocketAddr::port).find(|port| taken(*port)) {
        return Err(named(format!(
            "peering.bind: port {port} is taken on a board; write another, like 15600"
        )));
    }
    Ok((config, text))
}

/// Takes the host name out of `rpi-preseed.toml`; gives that file without its secrets when it had any.
fn preseed_file(found: &mut Found) -> Option<String> {
    if Path::new(BOOT).join("firstrun.sh").exists() {
        found.notices.push(
            "firstrun.sh: an old Raspberry Pi Imager wrote settings in a form that is not read: use node.toml"
                .to_owned(),
        );
    }
    let bytes = match read_file("rpi-preseed.toml") {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            found.notices.push(format!("rpi-preseed.toml: {error}"));
            return None;
        }
    };
    // Bytes that are no text are no TOML either.
    let text = text::decode(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned());
    let (preseed, mistake) = preseed::parse(&text);
    found.notices.extend(mistake.map(|mistake| format!("rpi-preseed.toml: {mistake}")));
    let default = Config::parse(DEFAULT).map(|config| config.host_name);
    if let (Some(name), Some(config)) = (preseed.host_name, &mut found.config)
        // The owner's own file counts more.
        && default.is_ok_and(|default| config.host_name == default)
    {
        config.host_name = name;
    }
    found.notices.extend(preseed.notices);
    // As long as the file, whatever that was written in.
    let length = bytes.len();
    preseed.without_secrets.map(|text| text.clone() + &"\n".repeat(length.saturating_sub(text.len())))
}

/// What the owner reads on the card.
fn result_text(found: &Found) -> String {
    let mut lines = vec!["Osmia: what came of the settings on this card at the last start.".to_owned()];
    match (&found.mistake, &found.config) {
        (None, _) => lines.push("node.toml: no mistakes.".to_owned()),
        (Some(mistake), Some(_)) => {
            lines.push(format!("MISTAKE in {mistake}"));
            lines.push("Until it is mended, the last configuration without a mistake holds.".to_owned());
        }
        (Some(mistake), None) => {
            lines.push(format!("MISTAKE in {mistake}"));
            lines.push("The node does not start until it is mended.".to_owned());
        }
    }
    lines.extend(found.notices.iter().cloned());
    lines.join("\r\n") + "\r\n"
}

/// `SETUP-RESULT.txt` with this text, cut or filled to its fixed size: with spaces, so that any editor shows it.
pub fn setup_result(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(RESULT_BYTES - 2, b' ');
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Writes those files that differ, on a partition that is writable only meanwhile.
fn write_back(files: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let path = |name: &str| Path::new(BOOT).join(name);
    let differs = |(name, content): &&(&str, Vec<u8>)| fs::read(path(name)).ok().as_ref() != Some(content);
    let changed = files.iter().filter(differs).collect::<Vec<_>>();
    if changed.is_empty() {
        return Ok(());
    }
    mount::boot_writable(BOOT.as_ref(), true)?;
    let written = changed.into_iter().try_for_each(|(name, content)| overwrite(&path(name), content));
    mount::boot_writable(BOOT.as_ref(), false)?;
    written
}

fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(content)?;
    // The same as before, unless somebody damaged it.
    file.set_len(content.len() as u64)?;
    file.sync_all()
}
