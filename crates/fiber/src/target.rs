//! What is chosen by processor, in one place.
//!
//! | Processor | stack | classes | guard | run in CI |
//! |---|---|---|---|---|
//! | x86-64 | 256 KiB | 64 KiB to 64 MiB | 1 page | yes |
//! | aarch64, riscv64 | 256 KiB | 64 KiB to 64 MiB | 64 KiB | no |
//! | armv7 and other 32-bit ones | 64 KiB | 64 KiB to 4 MiB | 64 KiB | no |
//!
//! The guard is one page where rustc probes every page of a large frame and so does the C library;
//! elsewhere either may step over a page, so it is as large as the largest frame that is likely.
//!
//! By system: Linux has all. Elsewhere `sys.rs` takes the monotonic clock for the one that counts
//! suspend, waits in whole milliseconds, and guards stacks page by page; CI compiles that for macOS and
//! runs it nowhere. Windows is not supported: `sys.rs` has no calls for it.

/// Size of a fiber's stack when nothing else is asked for: 256 KiB on 64-bit targets, else 64 KiB.
pub const STACK_BYTES_DEFAULT: usize = if IS_WIDE { 256 * 1024 } else { 64 * 1024 };

/// Sizes of stacks there are, each four times the one before.
pub(crate) const CLASSES: usize = if IS_WIDE { 6 } else { 4 };

/// Size of the guard below a stack, in pages of the system and never less than one.
pub(crate) const GUARD_BYTES: usize = if cfg!(target_arch = "x86_64") {
    1
} else {
    64 * 1024
};

const IS_WIDE: bool = cfg!(target_pointer_width = "64");
