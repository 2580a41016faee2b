//! The device controls that have no safe form anywhere: the one file of the firmware with unsafe code.
#![expect(unsafe_code, reason = "ioctl(2) takes a number and a pointer that only the kernel can match")]

use std::ffi::{c_int, c_void};
use std::os::fd::AsFd;

use rustix::io;
use rustix::ioctl::{Setter, Updater, ioctl};

/// `BLKPG`, `BLKPG_RESIZE_PARTITION` (linux/blkpg.h).
const BLKPG: rustix::ioctl::Opcode = 0x1269;
const BLKPG_RESIZE_PARTITION: c_int = 3;
/// `_IOW('f', 16, __u64)` (linux/ext4.h).
const EXT4_IOC_RESIZE_FS: rustix::ioctl::Opcode = 0x4008_6610;
/// `_IOWR('W', 6, int)` (linux/watchdog.h).
const WDIOC_SETTIMEOUT: rustix::ioctl::Opcode = 0xc004_5706;

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start_bytes: i64,
    length_bytes: i64,
    number: c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Argument {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *mut c_void,
}

/// Tells the kernel a partition's new size without reading the table again; the disk may be in use.
pub(super) fn resize_partition(disk: impl AsFd, number: i32, start: i64, length: i64) -> io::Result<()> {
    let mut partition = Partition {
        start_bytes: start,
        length_bytes: length,
        number,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = Argument {
        operation: BLKPG_RESIZE_PARTITION,
        flags: 0,
        length: c_int::try_from(size_of::<Partition>()).unwrap_or(c_int::MAX),
        data: (&raw mut partition).cast(),
    };
    // JUSTIFICATION: neither std nor rustix has BLKPG.
    // SAFETY: BLKPG reads a `struct blkpg_ioctl_arg` and, through it, a `struct blkpg_partition`; both
    // have the kernel's layout and outlive the call.
    unsafe { ioctl(disk, Setter::<BLKPG, Argument>::new(argument)) }
}

/// Grows a mounted ext4 file system to `blocks` of its blocks.
pub(super) fn resize_ext4(mount_point: impl AsFd, blocks: u64) -> io::Result<()> {
    // JUSTIFICATION: neither std nor rustix has EXT4_IOC_RESIZE_FS.
    // SAFETY: the control reads one 64-bit number.
    unsafe { ioctl(mount_point, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) }
}

/// Sets the time-out of a watchdog and gives the one that the device chose.
pub(super) fn set_watchdog_timeout(device: impl AsFd, seconds: i32) -> io::Result<i32> {
    let mut seconds = seconds;
    // JUSTIFICATION: neither std nor rustix has WDIOC_SETTIMEOUT.
    // SAFETY: the control reads and writes one `int`.
    unsafe { ioctl(device, Updater::<WDIOC_SETTIMEOUT, i32>::new(&mut seconds))? };
    Ok(seconds)
}
