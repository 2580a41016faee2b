//! RocksDB with its defaults, through its C interface, opened at run time: building it would take longer than all else here.
#![allow(unsafe_code, reason = "a C library; a benchmark only")]

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use osmia::ledger::Booked;

use super::{Engine, Load, disk_bytes, ledger_bytes};

type Handle = *mut c_void;

/// The functions that are used.
struct Library {
    write: unsafe extern "C" fn(Handle, Handle, Handle, *mut *mut c_char),
    put: unsafe extern "C" fn(Handle, *const u8, usize, *const u8, usize),
    delete: unsafe extern "C" fn(Handle, *const u8, usize),
    clear: unsafe extern "C" fn(Handle),
    close: unsafe extern "C" fn(Handle),
}

struct Rocks {
    library: Library,
    db: Handle,
    batch: Handle,
    write_options: Handle,
    window: usize,
    kept: VecDeque<Vec<Vec<u8>>>,
}

const NAMES: [&CStr; 3] = [c"librocksdb.so.7.8", c"librocksdb.so.7", c"librocksdb.so"];

/// A function of the library, by its name.
///
/// # Safety
/// `F` is the type of that function.
unsafe fn function<F: Copy>(library: Handle, name: &CStr) -> F {
    // SAFETY: the library is open; the name is a C string.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!symbol.is_null(), "{name:?}");
    assert_eq!(size_of::<F>(), size_of::<Handle>());
    // SAFETY: as the caller says.
    unsafe { std::mem::transmute_copy(&symbol) }
}

pub(super) fn open(folder: &Path, window: u32) -> Option<Box<dyn Engine>> {
    // SAFETY: names are C strings.
    let libraries = NAMES.map(|name| unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) });
    let Some(library) = libraries.into_iter().find(|library| !library.is_null()) else {
        eprintln!("apt-get install librocksdb7.8");
        return None;
    };
    // SAFETY: types are those of `rocksdb/c.h`.
    unsafe {
        type Make = unsafe extern "C" fn() -> Handle;
        type Set = unsafe extern "C" fn(Handle, c_uchar);
        type OpenDb = unsafe extern "C" fn(Handle, *const c_char, *mut *mut c_char) -> Handle;
        let options = function::<Make>(library, c"rocksdb_options_create")();
        function::<Set>(library, c"rocksdb_options_set_create_if_missing")(options, 1);
        function::<unsafe extern "C" fn(Handle, c_int)>(library, c"rocksdb_options_set_compression")(
            options, 0,
        );
        let write_options = function::<Make>(library, c"rocksdb_writeoptions_create")();
        function::<Set>(library, c"rocksdb_writeoptions_set_sync")(write_options, 1);
        let path = CString::new(folder.join("rocks").to_str()?).ok()?;
        let mut error = ptr::null_mut();
        let db = function::<OpenDb>(library, c"rocksdb_open")(options, path.as_ptr(), &raw mut error);
        assert!(error.is_null(), "{:?}", CStr::from_ptr(error));
        let batch = function::<Make>(library, c"rocksdb_writebatch_create")();
        let library = Library {
            write: function(library, c"rocksdb_write"),
            put: function(library, c"rocksdb_writebatch_put"),
            delete: function(library, c"rocksdb_writebatch_delete"),
            clear: function(library, c"rocksdb_writebatch_clear"),
            close: function(library, c"rocksdb_close"),
        };
        let window = usize::try_from(window).unwrap();
        Some(Box::new(Rocks { library, db, batch, write_options, window, kept: VecDeque::new() }))
    }
}

fn key(kind: u8, id: &[u8]) -> Vec<u8> {
    [&[kind], id].concat()
}

impl Rocks {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        // SAFETY: the batch is open, lengths are right.
        unsafe { (self.library.put)(self.batch, key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
    }

    fn delete(&mut self, key: &[u8]) {
        // SAFETY: the batch is open, the length is right.
        unsafe { (self.library.delete)(self.batch, key.as_ptr(), key.len()) }
    }

    fn write(&mut self) {
        let mut error = ptr::null_mut();
        // SAFETY: all handles are open.
        unsafe {
            (self.library.write)(self.db, self.write_options, self.batch, &raw mut error);
            assert!(error.is_null(), "{:?}", CStr::from_ptr(error));
            (self.library.clear)(self.batch);
        }
    }
}

impl Engine for Rocks {
    fn begin(&mut self, outputs: Vec<Booked>) {
        for part in outputs.chunks(1_000) {
            part.iter().for_each(|output| self.put(&key(2, &output.id.pack()), &output.to_bytes()));
            self.write();
        }
    }

    fn milestone(&mut self, load: Load) -> Duration {
        let mut kept = Vec::new();
        for (number, (id, bytes)) in (0_u32..).zip(&load.blocks) {
            self.put(&key(0, id), bytes);
            self.put(&key(1, id), &[load.index.to_be_bytes(), number.to_be_bytes()].concat());
            kept.extend([key(0, id), key(1, id)]);
        }
        for output in &load.created {
            self.put(&key(2, &output.id.pack()), &output.to_bytes());
        }
        for output in &load.consumed {
            self.delete(&key(2, &output.id.pack()));
            self.put(&key(3, &output.id.pack()), &output.to_bytes());
            kept.push(key(3, &output.id.pack()));
        }
        self.put(b"marker", &load.index.to_be_bytes());
        self.write();
        self.kept.push_back(kept);
        let started = Instant::now();
        if self.kept.len() > self.window
            && let Some(keys) = self.kept.pop_front()
        {
            keys.iter().for_each(|key| self.delete(key));
            self.write();
        }
        started.elapsed()
    }

    fn block_bytes(&self, folder: &Path) -> u64 {
        disk_bytes(folder).saturating_sub(ledger_bytes())
    }

    fn end(self: Box<Self>) {
        // SAFETY: it is not used any more.
        unsafe { (self.library.close)(self.db) }
    }
}
