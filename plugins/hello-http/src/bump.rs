//! An allocator that never frees: an instance serves one call and is dropped.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The little that one call allocates (a handful of lists that the host hands over) fits several times over. It is
/// part of the memory's only page, so nothing ever grows.
const SIZE: usize = 16 * 1024;

#[repr(align(16))]
struct Arena(core::cell::UnsafeCell<[u8; SIZE]>);

// SAFETY: handed out in disjoint parts only, by `take`.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(core::cell::UnsafeCell::new([0; SIZE]));
static USED: AtomicUsize = AtomicUsize::new(0);

/// `size` fresh bytes of the arena; null if they do not fit. `align` is a power of two.
fn take(size: usize, align: usize) -> *mut u8 {
    let base = ARENA.0.get().cast::<u8>();
    let used = USED.load(Ordering::Relaxed);
    let start = used + base.wrapping_add(used).align_offset(align);
    match start.checked_add(size) {
        Some(end) if end <= SIZE => {
            USED.store(end, Ordering::Relaxed);
            base.wrapping_add(start)
        }
        _ => core::ptr::null_mut(),
    }
}

struct Bump;

#[global_allocator]
static BUMP: Bump = Bump;

// SAFETY: every block lies inside the arena, is aligned, and no two overlap, since `USED` only grows (a component has
// one thread). What does not fit is answered with null, as `GlobalAlloc` asks.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size(), layout.align())
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// What the host calls for room to put a list or a string into (the canonical ABI's `realloc`).
///
/// # Safety
/// The host passes either no old block (`old_size` 0) or one that this function gave out.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    let new = take(new_size, align);
    if new.is_null() {
        core::arch::wasm32::unreachable();
    }
    // SAFETY: `old` holds `old_size` bytes (the host's promise), `new` holds `new_size`, and they do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(old, new, old_size.min(new_size)) };
    new
}
