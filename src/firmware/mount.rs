//! File systems: what is mounted where, with which rights.

use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// The kernel's own file systems, in this order: (type, place, options, flags).
const KERNEL: [(&str, &str, &str, MountFlags); 5] = [
    ("proc", "/proc", "", NOTHING),
    ("sysfs", "/sys", "", NOTHING),
    ("devtmpfs", "/dev", "mode=0755", MountFlags::NOSUID.union(MountFlags::NOEXEC)),
    ("cgroup2", "/sys/fs/cgroup", "", NOTHING),
    ("tmpfs", "/run", "mode=0755,size=16m", NOTHING.union(MountFlags::NODEV)),
];

const NOTHING: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

/// Mounts what the kernel offers. Places that exist are kept.
///
/// # Errors
/// Those of mount(2), with the place.
pub fn kernel_file_systems() -> io::Result<()> {
    for (kind, place, options, flags) in KERNEL {
        std::fs::create_dir_all(place)?;
        attach(kind, Path::new(place), kind, options, flags)?;
    }
    Ok(())
}

/// Mounts the boot partition for reading.
///
/// # Errors
/// Those of mount(2), with the place.
pub fn boot(device: &Path, place: &Path) -> io::Result<()> {
    std::fs::create_dir_all(place)?;
    let options = "fmask=0133,dmask=0022,codepage=437,iocharset=ascii,errors=remount-ro";
    attach(&device.to_string_lossy(), place, "vfat", options, NOTHING | MountFlags::RDONLY)
}

/// Makes the mounted boot partition writable, or read-only again.
///
/// # Errors
/// Those of mount(2), with the place.
pub fn boot_writable(place: &Path, writable: bool) -> io::Result<()> {
    let flags = if writable { NOTHING } else { NOTHING | MountFlags::RDONLY };
    rustix::mount::mount_remount(place, flags, "").map_err(|error| named(place, error))
}

/// Mounts the data partition: nothing on it can be executed, be a device or raise rights.
///
/// # Errors
/// Those of mount(2), with the place.
pub fn data(device: &Path, place: &Path) -> io::Result<()> {
    std::fs::create_dir_all(place)?;
    attach(&device.to_string_lossy(), place, "ext4", "errors=remount-ro", NOTHING | MountFlags::NOATIME)
}

fn attach(source: &str, place: &Path, kind: &str, options: &str, flags: MountFlags) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    mount(source, place, kind, flags, options.as_c_str()).map_err(|error| named(place, error))
}

fn named(place: &Path, error: rustix::io::Errno) -> io::Error {
    io::Error::new(error.kind(), format!("mounting {}: {error}", place.display()))
}

/// Unmounts; what is still in use is made read-only first, so that nothing is half written.
pub fn detach(place: &Path) {
    if unmount(place, UnmountFlags::empty()).is_err() {
        let flags = MountFlags::RDONLY;
        if let Err(error) = rustix::mount::mount_remount(place, flags, "") {
            tracing::warn!(place = %place.display(), %error, "not unmounted");
        }
    }
}
