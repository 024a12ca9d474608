//! Says which fiber has overflowed its stack before the process dies of it.
//!
//! ```text
//!  a fiber writes into its guard ─► SIGSEGV (or SIGBUS), on the thread's alternate stack
//!     the address lies in the running fiber's guard ─► one line on standard error ─┐
//!     it does not ─────────────────────────────────────────────────────────────────┴─► the handler
//!                                               that was there before; without one the process ends
//! ```
//!
//! The handler is installed once for the process and stays; the alternate stack is the thread's
//! while its runtime runs. Nothing is mended: an overflow always ends the process.
//!
//! What runs in the handler takes no lock, allocates nothing and calls `write`, `sigaction` and
//! `raise` alone. It reads thread-locals that need no initialising and the head of the running
//! fiber's own stack, which this thread wrote before it switched there.

use std::cell::Cell;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use crate::coroutine::{self, Facts};
use crate::stack::Bounds;
use crate::sys::{self, Guard, Mapping};

/// Stack of the handler and of those it hands on to: the kernel alone may put 12 KiB of registers
/// on it.
const SIGNAL_STACK_BYTES: usize = 64 * 1024;
/// The longest name of a fiber in the report, and as much of the end of a file's path.
const SHOWN_BYTES: usize = 128;
/// The longest report.
const REPORT_BYTES: usize = 640;

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

thread_local! {
    /// Whether the runtime of this thread wants its overflows reported.
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether an overflow was reported: a handler of others that does not end the process must not
/// make it loop.
static REPORTED: AtomicBool = AtomicBool::new(false);

/// What handled a signal before: `sa_sigaction` and `sa_flags`.
struct Previous {
    handler: AtomicUsize,
    flags: AtomicI32,
}

static PREVIOUS: [Previous; SIGNALS.len()] = [const {
    Previous {
        handler: AtomicUsize::new(libc::SIG_DFL),
        flags: AtomicI32::new(0),
    }
}; SIGNALS.len()];

/// Overflows of this thread's fibers are reported while this lives.
pub(crate) struct Reports {
    /// The handler's stack, guarded itself.
    stack: ManuallyDrop<Mapping>,
    before: libc::stack_t,
}

impl Reports {
    /// Gives the thread an alternate stack, and the process the handler if it has it not yet.
    ///
    /// # Errors
    ///
    /// There is no memory for the stack.
    pub(crate) fn start() -> io::Result<Self> {
        static ONCE: Once = Once::new();
        let guard = sys::page_size();
        let stack = Mapping::new(guard + SIGNAL_STACK_BYTES)?;
        stack.install_guard(Guard::Page, 0, guard)?;
        let ours = libc::stack_t {
            ss_sp: ptr::with_exposed_provenance_mut(stack.base().get() + guard),
            ss_flags: 0,
            ss_size: SIGNAL_STACK_BYTES,
        };
        let before = swap_signal_stack(&ours)?;
        WANTED.set(true);
        ONCE.call_once(install);
        Ok(Self {
            stack: ManuallyDrop::new(stack),
            before,
        })
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        WANTED.set(false);
        if swap_signal_stack(&self.before).is_ok() {
            // SAFETY: dropped once, here, and the kernel does not know the stack any more. Where it
            // does the mapping stays for ever.
            unsafe { ManuallyDrop::drop(&mut self.stack) };
        }
    }
}

/// Sets the alternate signal stack of this thread and returns the one before.
fn swap_signal_stack(stack: &libc::stack_t) -> io::Result<libc::stack_t> {
    let mut before = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // SAFETY: both point to values of the right type. The stack is either this thread's mapping of
    // the size it says, which `Reports` keeps until another was set, or the one that was there.
    sys::answer(unsafe { libc::sigaltstack(stack, &raw mut before) })?;
    Ok(before)
}

/// Puts the handler in front of those there are.
///
/// Without one there is no report and nothing else is lost, so a refusal is only logged.
fn install() {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        // SAFETY: all zero is a valid value of this plain C structure.
        let (mut ours, mut before) = unsafe { (mem::zeroed::<libc::sigaction>(), mem::zeroed()) };
        ours.sa_sigaction = on_fault as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both point to values of the right type. The handler has the signature that
        // SA_SIGINFO asks for and does only what a handler may do, see the head of this file. What
        // was there before is kept first, so that the handler finds it from the beginning.
        let done = unsafe {
            sys::answer(libc::sigaction(signal, ptr::null(), &raw mut before)).and_then(|()| {
                previous.keep(&before);
                sys::answer(libc::sigaction(signal, &raw const ours, ptr::null_mut()))
            })
        };
        if let Err(error) = done {
            log::warn!("overflows of stacks will not be reported: {error}");
        }
    }
}

/// Handles SIGSEGV and SIGBUS, on any thread of the process.
extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a filled structure.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    // Zero or less: sent by somebody, so there is no address.
    if code > 0 && WANTED.get() {
        let again = coroutine::with_running(|facts, stack| {
            if !stack.is_guard(address) {
                return false;
            }
            let again = REPORTED.swap(true, Ordering::Relaxed);
            if !again {
                report(facts, stack, address);
            }
            again
        });
        if again == Some(true) {
            return set_default(signal);
        }
    }
    let previous = SIGNALS
        .into_iter()
        .zip(&PREVIOUS)
        .find(|(handled, _)| *handled == signal);
    if let Some((_, previous)) = previous {
        previous.hand_on(signal, info, context, code);
    }
}

/// Leaves the signal to the system, which ends the process as soon as the handler returns: what
/// faulted is tried again.
fn set_default(signal: libc::c_int) {
    // SAFETY: all zero is a valid value of this plain C structure, and means the default. Its
    // address is valid; sigaction may be called in a handler.
    unsafe {
        let default = mem::zeroed::<libc::sigaction>();
        libc::sigaction(signal, &raw const default, ptr::null_mut());
    }
}

impl Previous {
    fn keep(&self, action: &libc::sigaction) {
        self.flags.store(action.sa_flags, Ordering::Relaxed);
        self.handler.store(action.sa_sigaction, Ordering::Release);
    }

    /// Does what would have been done without the handler of this file.
    fn hand_on(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
        code: libc::c_int,
    ) {
        type Plain = extern "C" fn(libc::c_int);
        type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        let handler = self.handler.load(Ordering::Acquire);
        let sent = code <= 0;
        match handler {
            libc::SIG_IGN if sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                set_default(signal);
                if sent {
                    // SAFETY: has no preconditions. The signal waits until this handler returns.
                    unsafe { libc::raise(signal) };
                }
            }
            _ if self.flags.load(Ordering::Relaxed) & libc::SA_SIGINFO != 0 => {
                // SAFETY: the system had this address as a handler that takes these arguments;
                // they are passed on as they came.
                unsafe { mem::transmute::<usize, Informed>(handler)(signal, info, context) };
            }
            _ => {
                // SAFETY: as above, for a handler that takes the signal alone.
                unsafe { mem::transmute::<usize, Plain>(handler)(signal) };
            }
        }
    }
}

/// Writes the report to standard error.
fn report(fiber: &Facts, stack: Bounds, address: usize) {
    let mut text = Text::new();
    text.add(b"\nfiber ");
    if fiber.name.is_empty() {
        text.add(b"without a name");
    } else {
        text.add(b"\"");
        text.add(&fiber.name.as_bytes()[..fiber.name.len().min(SHOWN_BYTES)]);
        text.add(b"\"");
    }
    let file = fiber.location.file().as_bytes();
    text.add(b" (spawned at ");
    text.add(&file[file.len().saturating_sub(SHOWN_BYTES)..]);
    text.add(b":");
    text.add_number(fiber.location.line() as usize);
    text.add(b") has overflowed its stack of ");
    text.add_number(stack.end - stack.low);
    text.add(b" bytes, ");
    text.add_number(stack.end - address);
    text.add(b" bytes deep\n");
    let mut left = &text.bytes[..text.len];
    while !left.is_empty() {
        // SAFETY: pointer and length describe one readable slice.
        let wrote = unsafe { libc::write(2, left.as_ptr().cast(), left.len()) };
        match usize::try_from(wrote) {
            Ok(wrote) if wrote > 0 => left = left.get(wrote..).unwrap_or_default(),
            _ => return,
        }
    }
}

/// Text of bounded length, made without allocating. What is too much is left out.
struct Text {
    bytes: [u8; REPORT_BYTES],
    len: usize,
}

impl Text {
    fn new() -> Self {
        Self {
            bytes: [0; REPORT_BYTES],
            len: 0,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(bytes) {
            *place = *byte;
            self.len += 1;
        }
    }

    fn add_number(&mut self, number: usize) {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut left = number;
        while at > 0 {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.add(&digits[at..]);
    }
}

#[cfg(test)]
mod tests;
