//! How much memory a piece of work takes: an allocator that counts for each thread.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes held now, and the most since the last look. What another thread frees is counted there: below zero is no
    /// mistake.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Most bytes that `work` held at once, besides what there was before.
pub(crate) fn most_held<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = work();
    ((HELD.get().1 - before).unsigned_abs(), result)
}

#[test]
fn held_memory_is_counted() {
    let (most, kept) = most_held(|| {
        drop(vec![1u8; 5_000]);
        vec![1u8; 3_000]
    });
    assert_eq!((most, kept.len()), (5_000, 3_000));
}

struct Counting;

/// Nothing is counted while a thread ends and its cell is gone.
fn count(more: usize, less: usize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now.wrapping_add_unsigned(more).wrapping_sub_unsigned(less);
        held.set((now, most.max(now)));
    });
}

// SAFETY: every call goes to the system's allocator as it came; the cell is no heap memory and needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
