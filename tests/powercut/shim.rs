//! Notes what a program does to files below a folder, in order: `tests/suite/powercut` makes of that what a power cut at any
//! moment could leave. Loaded into the program with `LD_PRELOAD`.
//!
//! `POWERCUT_ROOT` is the folder, `POWERCUT_TRACE` the file to write to. A note is a letter and its fields, numbers as i64 LE,
//! byte strings with their length before them:
//!
//! | letter | fields | what |
//! | --- | --- | --- |
//! | `o` | fd, path, 1 when it was made, 1 when it was cut to nothing | opened |
//! | `c` | fd | closed |
//! | `d` | fd, new fd | doubled |
//! | `w` | fd, place, bytes | written |
//! | `t` | fd, length | cut or stretched |
//! | `s` | fd, 1 when only its data | made durable |
//! | `r` | path, new path | renamed |
//! | `u` | path | deleted |
//! | `m` | path | folder made |
//! | `n` | path | folder deleted |
#![allow(
    unsafe_code,
    reason = "functions of the C library are replaced by ones of the same name, which is unsafe by nature; tests only"
)]
#![allow(missing_docs, reason = "the functions are those of POSIX")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const FDS: usize = 65_536;

/// Descriptors of files below the root.
static WATCHED: [AtomicBool; FDS] = [const { AtomicBool::new(false) }; FDS];

/// What is done and its note are one step.
static TURN: Mutex<()> = Mutex::new(());

struct Setup {
    root: Vec<u8>,
    trace: c_int,
}

fn setup() -> Option<&'static Setup> {
    static SETUP: OnceLock<Option<Setup>> = OnceLock::new();
    let get = || {
        let root = std::env::var("POWERCUT_ROOT").ok()?.into_bytes();
        let mut path = std::env::var("POWERCUT_TRACE").ok()?.into_bytes();
        path.push(0);
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        // SAFETY: the path ends with a zero byte.
        let trace = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
        Some(Setup { root, trace: c_int::try_from(trace).ok().filter(|fd| *fd >= 0)? })
    };
    SETUP.get_or_init(get).as_ref()
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Note(Vec<u8>);

impl Note {
    fn new(letter: u8) -> Self {
        Self(vec![letter])
    }

    fn number(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.number(i64::try_from(bytes.len()).unwrap_or(0));
        this.0.extend_from_slice(bytes);
        this
    }

    fn write(self) {
        let Some(setup) = setup() else { return };
        // SAFETY: the buffer is as long as is said.
        let written = unsafe { libc::syscall(libc::SYS_write, setup.trace, self.0.as_ptr(), self.0.len()) };
        if written != self.0.len() as c_long {
            // Half a trace would be worse than none.
            std::process::abort();
        }
    }
}

/// Path from the root, when it is below that.
fn below(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(setup()?.root.as_slice())?;
    Some(rest.strip_prefix(b"/")?.to_vec())
}

/// The same of a path that may be relative to an open folder.
///
/// # Safety
/// `path` is a C string.
unsafe fn place(folder: c_int, path: *const c_char) -> Option<Vec<u8>> {
    // SAFETY: as the caller says.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if path.starts_with(b"/") || folder == libc::AT_FDCWD {
        return below(path);
    }
    let link = format!("/proc/self/fd/{folder}\0");
    let mut buffer = [0_u8; 4_096];
    // SAFETY: the path ends with a zero byte, the buffer is as long as is said.
    let length = unsafe {
        libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, link.as_ptr(), buffer.as_mut_ptr(), buffer.len())
    };
    let folder = &buffer[..usize::try_from(length).ok()?];
    below(&[folder, b"/", path].concat())
}

fn watched(fd: c_int) -> bool {
    usize::try_from(fd).ok().and_then(|fd| WATCHED.get(fd)).is_some_and(|slot| slot.load(Ordering::Relaxed))
}

fn watch(fd: c_int, on: bool) {
    if let Some(slot) = usize::try_from(fd).ok().and_then(|fd| WATCHED.get(fd)) {
        slot.store(on, Ordering::Relaxed);
    }
}

/// # Safety
/// As of `openat`.
unsafe fn open_noted(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let _turn = turn();
    // SAFETY: as the caller says.
    let place = unsafe { place(folder, path) };
    // SAFETY: as the caller says.
    let existed = place.is_some() && unsafe { libc::syscall(libc::SYS_faccessat, folder, path, 0) } == 0;
    // SAFETY: as the caller says.
    let fd = unsafe { libc::syscall(libc::SYS_openat, folder, path, flags, mode) };
    let fd = c_int::try_from(fd).unwrap_or(-1);
    if let Some(place) = place.filter(|_| fd >= 0) {
        watch(fd, true);
        let cut = flags & libc::O_TRUNC != 0;
        Note::new(b'o').number(fd.into()).bytes(&place).number((!existed).into()).number(cut.into()).write();
    }
    fd
}

/// # Safety
/// As of POSIX; so for all below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: as the caller says.
    unsafe { open_noted(libc::AT_FDCWD, path, flags, mode) }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: as the caller says.
    unsafe { open_noted(libc::AT_FDCWD, path, flags, mode) }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: as the caller says.
    unsafe { open_noted(folder, path, flags, mode) }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: as the caller says.
    unsafe { open_noted(folder, path, flags, mode) }
}

/// Does it, and notes it when it was done.
fn noted(watched: bool, act: impl FnOnce() -> c_long, note: impl FnOnce() -> Note) -> c_long {
    if !watched {
        return act();
    }
    let _turn = turn();
    let done = act();
    if done >= 0 {
        note().write();
    }
    done
}

fn short(long: c_long) -> c_int {
    c_int::try_from(long).unwrap_or(-1)
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let was = watched(fd);
    watch(fd, false);
    // SAFETY: as the caller says.
    short(noted(was, || unsafe { libc::syscall(libc::SYS_close, fd) }, || Note::new(b'c').number(fd.into())))
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    let _turn = turn();
    // SAFETY: as the caller says.
    let done = short(unsafe { libc::syscall(libc::SYS_fcntl, fd, command, argument) });
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) && done >= 0 && watched(fd) {
        watch(done, true);
        Note::new(b'd').number(fd.into()).number(done.into()).write();
    }
    done
}

/// # Safety
/// See [`open64`].
unsafe fn bytes<'a>(buffer: *const c_void, length: c_long) -> &'a [u8] {
    // SAFETY: so much of it was written.
    unsafe { std::slice::from_raw_parts(buffer.cast(), usize::try_from(length).unwrap_or(0)) }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: usize) -> c_long {
    // SAFETY: as the caller says.
    let act = || unsafe { libc::syscall(libc::SYS_write, fd, buffer, count) };
    if !watched(fd) {
        return act();
    }
    let _turn = turn();
    let done = act();
    if done >= 0 {
        // SAFETY: it only tells where the file stands, behind what was written.
        let end = unsafe { libc::syscall(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) };
        // SAFETY: so much of it was written.
        Note::new(b'w').number(fd.into()).number(end - done).bytes(unsafe { bytes(buffer, done) }).write();
    }
    done
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, buffer: *const c_void, count: usize, at: i64) -> c_long {
    // SAFETY: as the caller says.
    let act = || unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, count, at) };
    if !watched(fd) {
        return act();
    }
    let _turn = turn();
    let done = act();
    if done >= 0 {
        // SAFETY: so much of it was written.
        Note::new(b'w').number(fd.into()).number(at).bytes(unsafe { bytes(buffer, done) }).write();
    }
    done
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
    let note = || Note::new(b't').number(fd.into()).number(length);
    // SAFETY: as the caller says.
    short(noted(watched(fd), || unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) }, note))
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    let note = || Note::new(b's').number(fd.into()).number(0);
    // The disk of the test machine need not wait: what is durable is told by the notes.
    short(noted(watched(fd), || 0, note))
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    let note = || Note::new(b's').number(fd.into()).number(1);
    short(noted(watched(fd), || 0, note))
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller says.
    let places = unsafe { place(libc::AT_FDCWD, from).zip(place(libc::AT_FDCWD, to)) };
    // SAFETY: as the caller says.
    let act = || unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) };
    match places {
        None => short(act()),
        Some((from, to)) => short(noted(true, act, || Note::new(b'r').bytes(&from).bytes(&to))),
    }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller says.
    let place = unsafe { place(folder, path) };
    // SAFETY: as the caller says.
    let act = || unsafe { libc::syscall(libc::SYS_unlinkat, folder, path, flags) };
    let letter = if flags & libc::AT_REMOVEDIR == 0 { b'u' } else { b'n' };
    match place {
        None => short(act()),
        Some(place) => short(noted(true, act, || Note::new(letter).bytes(&place))),
    }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: as the caller says.
    unsafe { unlinkat(libc::AT_FDCWD, path, 0) }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: as the caller says.
    unsafe { unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

/// # Safety
/// See [`open64`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: as the caller says.
    let place = unsafe { place(libc::AT_FDCWD, path) };
    // SAFETY: as the caller says.
    let act = || unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) };
    match place {
        None => short(act()),
        Some(place) => short(noted(true, act, || Note::new(b'm').bytes(&place))),
    }
}
