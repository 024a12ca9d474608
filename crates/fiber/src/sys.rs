//! Raw system calls that have no safe wrapper in std, mio or corosensei.
//!
//! Each function here is safe to call; what it relies on stands beside its unsafe block. Nothing
//! in this file knows about fibers.

#![allow(
    unsafe_code,
    reason = "raw system calls; every site is listed in docs/unsafe.md"
)]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::{self, MaybeUninit};
use std::num::NonZeroUsize;
#[cfg(test)]
use std::os::fd::BorrowedFd;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// `MADV_GUARD_INSTALL`: Linux 6.13 and later; not yet named by every libc.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The most that one call of `getentropy` may be asked for.
const ENTROPY_BYTES_MAX: usize = 256;

/// Size of a memory page in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf takes no pointers and has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// How bytes of a mapping are made to fault on every access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// By a mark in the page table, without splitting the mapping.
    Region,
    /// By taking away the right to access them, which splits the mapping.
    Page,
}

/// Number of mappings that a process may have, where the system tells.
pub(crate) fn mappings_max() -> Option<usize> {
    #[allow(
        clippy::disallowed_methods,
        reason = "a file of the kernel's, in memory and read once"
    )]
    let mut file = File::open("/proc/sys/vm/max_map_count").ok()?;
    // The digits of a number of 64 bits and the end of the line, or too many.
    let mut text = [0; 24];
    let len = file.read(&mut text).ok()?;
    let digits = text.get(..len)?.trim_ascii();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A private anonymous mapping that belongs to nobody else and is unmapped on drop.
pub(crate) struct Mapping {
    base: NonZeroUsize,
    len: usize,
}

impl Mapping {
    /// Reserves `len` bytes that read as zero; memory is taken only where it is touched.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of
        // ours; the result is checked before use.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonZeroUsize::new(address as usize)
            .ok_or_else(|| io::Error::other("the kernel mapped memory at address zero"))?;
        let mapping = Self { base, len };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // A huge page would give every fiber 64 KiB or more for the one page it uses. Kernels
        // built without huge pages refuse the advice; they need none.
        let _ = mapping.advise(0, len, libc::MADV_NOHUGEPAGE);
        Ok(mapping)
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> NonZeroUsize {
        self.base
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes `len` bytes at `offset` fault on every access.
    pub(crate) fn install_guard(&self, guard: Guard, offset: usize, len: usize) -> io::Result<()> {
        match guard {
            Guard::Region => self.advise(offset, len, MADV_GUARD_INSTALL),
            Guard::Page => {
                let start = self.checked_start(offset, len);
                // SAFETY: the range lies inside a mapping that this value owns. Nothing lies in it
                // yet: a guard is installed before its stack is first given out.
                answer(unsafe { libc::mprotect(start, len, libc::PROT_NONE) })
            }
        }
    }

    /// Gives the memory of `len` bytes at `offset` back: they read as zero from now on. Nobody may
    /// have use for what is in them.
    ///
    /// Should the kernel refuse, the memory merely stays.
    pub(crate) fn release(&self, offset: usize, len: usize) {
        let _ = self.advise(offset, len, libc::MADV_DONTNEED);
    }

    fn advise(&self, offset: usize, len: usize, advice: libc::c_int) -> io::Result<()> {
        let start = self.checked_start(offset, len);
        // SAFETY: the range lies inside a mapping that this value owns. The advices used here
        // change how its pages are backed or guarded, or empty them; none frees the mapping. That
        // nothing lives in what is emptied is the arena's promise: it is part of a free slot.
        answer(unsafe { libc::madvise(start, len, advice) })
    }

    /// The address at `offset`, from which `len` bytes are this mapping's.
    fn checked_start(&self, offset: usize, len: usize) -> *mut libc::c_void {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "a range stays inside its own mapping"
        );
        ptr::with_exposed_provenance_mut(self.base.get() + offset)
    }
}

/// Bytes of a stack below the address of a local that are in use until a system call returns: the rest
/// of the frame, and what is called for it.
const CALL_BYTES: usize = 256;

/// Gives back the memory of the whole pages that the stack from `low` to `high` has below its frames. Does
/// nothing where the caller runs on another one, as a handler of a signal does, or a library that has stacks of
/// its own.
///
/// Should the kernel refuse, the memory merely stays.
///
/// # Safety
///
/// `low` is where a page begins, and all from there to `high` is one stack. Whoever runs on it has nothing below
/// his frame.
#[inline(never)]
pub(crate) unsafe fn release_below_here(low: usize, high: usize) {
    let mark = 0_u8;
    let here = (&raw const mark).addr();
    if !(low..high).contains(&here) {
        return;
    }
    let end = here.saturating_sub(CALL_BYTES) & !(page_size() - 1);
    if end > low {
        let start = ptr::with_exposed_provenance_mut(low);
        // SAFETY: the range lies below what is in use of the stack that this runs on, by the caller's
        // promise and the bytes that are left out, and so nobody has anything there. The advice
        // empties its pages; none is unmapped.
        let _ = unsafe { libc::madvise(start, end - low, libc::MADV_DONTNEED) };
    }
}

/// The address of the first page from `start` on that is in memory, both whole pages; `end` if there
/// is none.
pub(crate) fn first_resident(start: usize, end: usize) -> usize {
    let page = page_size();
    let mut flags = [0_u8; 256];
    for from in (start..end).step_by(flags.len() * page) {
        let pages = ((end - from) / page).min(flags.len());
        let address = ptr::with_exposed_provenance_mut(from);
        // SAFETY: only looked up, never accessed: an address that is not mapped is an error. There
        // is room for a flag for each page.
        let looked = unsafe { libc::mincore(address, pages * page, flags.as_mut_ptr().cast()) };
        let first = flags[..pages].iter().position(|flag| flag & 1 == 1);
        if let (0, Some(first)) = (looked, first) {
            return from + first * page;
        }
    }
    end
}

/// Forks on the way from the first process to this one, since they are counted.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Has forks counted from here on, and tells how many there were. A process made without the C
/// library's `fork` is not seen.
///
/// # Errors
///
/// There is no memory for the entry.
pub(crate) fn count_forks() -> io::Result<u32> {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    static COUNTED: Mutex<bool> = Mutex::new(false);
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*counted {
        // SAFETY: the function lives as long as the process and only changes an atomic number,
        // which is all that the child of a process with threads may do.
        let code = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        *counted = true;
    }
    Ok(forks())
}

/// As [`count_forks`], once they are counted. Costs a reading of memory.
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// What a system call that returns zero or fails has answered.
pub(crate) fn answer(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned by this value and dropped once. That nothing still runs
        // on it is the arena's promise: each slot in use keeps the arena, and so this, alive.
        let _ = unsafe { libc::munmap(self.base.get() as *mut _, self.len) };
    }
}

/// Tells whether a kind of guard works here: the kernel may accept a number and ignore it.
///
/// One byte is written from a guarded page into a pipe; only a real guard makes that EFAULT.
pub(crate) fn guard_is_real(guard: Guard) -> bool {
    let page = page_size();
    let Ok(mapping) = Mapping::new(page) else {
        return false;
    };
    if mapping.install_guard(guard, 0, page).is_err() {
        return false;
    }
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors that pipe writes.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: both descriptors were just made and are owned by nobody else.
    let (_reader, writer) =
        unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the kernel reads the byte, not this program: an inaccessible page is reported as
    // EFAULT. The page belongs to `mapping`, which is alive.
    let wrote = unsafe { libc::write(writer.as_raw_fd(), mapping.base.get() as *const _, 1) };
    wrote == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Nanoseconds of a clock that never steps and, where the system has one, counts suspend.
pub(crate) fn boot_clock_nanos() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer; the clock exists on every supported system.
    let done = unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    assert!(done == 0, "the boot clock of this system can be read");
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A timer of the system that is a descriptor: readable once its time has come.
pub(crate) struct TimerFd(OwnedFd);

impl TimerFd {
    /// A timer of the clock that [`boot_clock_nanos`] reads, not set.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: timerfd_create takes no pointers and has no preconditions.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_BOOTTIME, flags) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and is owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets it to a reading of the clock, in place of what it was set to.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn set(&self, nanos: u64) -> io::Result<()> {
        // Zero would mean: not at all.
        let nanos = nanos.max(1);
        #[allow(deprecated, reason = "the alias stays, and grows on musl one day")]
        let secs = libc::time_t::try_from(nanos / 1_000_000_000).unwrap_or(libc::time_t::MAX);
        let value = libc::timespec {
            tv_sec: secs,
            tv_nsec: libc::c_long::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let interval = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let setting = libc::itimerspec {
            it_interval: interval,
            it_value: value,
        };
        let flags = libc::TFD_TIMER_ABSTIME;
        // SAFETY: `setting` is valid for reads; the old setting is not asked for.
        let done = unsafe {
            libc::timerfd_settime(
                self.0.as_raw_fd(),
                flags,
                &raw const setting,
                ptr::null_mut(),
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn set(&self, _nanos: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Has the handler of a signal, which is installed, run on the alternate stack of its thread from
/// here on, if that thread has one.
pub(crate) fn handle_on_alternate_stack(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: all zero is a valid value of this plain C structure. Both calls get pointers to values
    // of the right type or none; what is installed is what was, but for where it runs.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        answer(libc::sigaction(signal, ptr::null(), &raw mut action))?;
        action.sa_flags |= libc::SA_ONSTACK;
        answer(libc::sigaction(signal, &raw const action, ptr::null_mut()))
    }
}

/// Sends one byte of urgent data.
#[cfg(test)]
pub(crate) fn send_urgent(socket: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    // SAFETY: pointer and length describe one readable byte.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            (&raw const byte).cast(),
            1,
            libc::MSG_OOB,
        )
    };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Fills `buffer` with random bytes of the system.
pub(crate) fn random(buffer: &mut [u8]) -> io::Result<()> {
    buffer.chunks_mut(ENTROPY_BYTES_MAX).try_for_each(entropy)
}

/// The same for at most [`ENTROPY_BYTES_MAX`] bytes, by the call of Linux: not every C library there has
/// the other one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn entropy(chunk: &mut [u8]) -> io::Result<()> {
    loop {
        // SAFETY: pointer and length describe one writable slice.
        let filled = unsafe { libc::getrandom(chunk.as_mut_ptr().cast(), chunk.len(), 0) };
        if usize::try_from(filled) == Ok(chunk.len()) {
            return Ok(());
        }
        // Early after the boot it waits, and a signal ends that. So few bytes come all or not at all.
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn entropy(chunk: &mut [u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe one writable slice of at most 256 bytes.
    answer(unsafe { libc::getentropy(chunk.as_mut_ptr().cast(), chunk.len()) })
}

/// Bytes that a program may still write to the file system of a path.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut answered = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte and `answered` has room for the answer.
    answer(unsafe { libc::statvfs(path.as_ptr(), answered.as_mut_ptr()) })?;
    // SAFETY: the call returned zero, so it filled the structure.
    let room = unsafe { answered.assume_init() };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types are smaller on other systems"
    )]
    Ok((room.f_bavail as u64).saturating_mul(room.f_frsize as u64))
}

/// Locks an open file against others who lock it; false if one of them has.
pub(crate) fn try_lock(file: &impl AsRawFd) -> io::Result<bool> {
    // SAFETY: takes a descriptor, which is open as long as `file` is, and no pointers.
    match answer(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
