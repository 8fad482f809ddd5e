//! How the loop is told to end while it waits: a flag, and a descriptor among those that it waits for.
//!
//! A signal handler that runs after the loop has looked at the flag and before it waits would not be noticed by
//! the flag alone. A child has a descriptor of its own, as otherwise it could take what wakes up its parent.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use libc::{POLLIN, POLLNVAL, c_short};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use crate::flusher::{self, Life};

static EXITING: AtomicBool = AtomicBool::new(false);
/// The last one that was made, or null. None is ever freed: a handler may be using it.
static WAKER: AtomicPtr<Waker> = AtomicPtr::new(ptr::null_mut());

/// A counter that is readable after [`exit`], in the process that made it.
#[derive(Debug)]
pub(super) struct Waker {
    life: Life,
    counter: OwnedFd,
    is_closed: AtomicBool,
    /// The one before, so that memory checkers find it.
    _former: Option<&'static Self>,
}

impl Waker {
    /// That of this process, made now if need be; `None` when the system has no descriptor for it. Who
    /// calls `exit` after this has returned makes it readable, who has done so before has set the flag.
    pub(super) fn here() -> Option<&'static Self> {
        Self::usable().or_else(|| {
            // Tells lives apart.
            flusher::arrange();
            let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            let (life, is_closed, _former) = (Life::now(), AtomicBool::new(false), Self::last());
            let made = Box::leak(Box::new(Self { life, counter, is_closed, _former }));
            WAKER.store(made, Ordering::SeqCst);
            Some(made)
        })
    }

    fn last() -> Option<&'static Self> {
        // SAFETY: null, or a waker that was leaked and is only shared.
        unsafe { WAKER.load(Ordering::SeqCst).as_ref() }
    }

    /// That of this process, if there is one.
    fn usable() -> Option<&'static Self> {
        Self::last().filter(|waker| waker.life == Life::now() && !waker.is_closed.load(Ordering::Relaxed))
    }

    pub(super) fn number(&self) -> i32 {
        self.counter.as_raw_fd()
    }

    /// Lets it be readable no longer, if `poll` says that it is; whoever has woken the loop has set the flag
    /// before. One that the program has closed, as those do that close all descriptors, is forgotten.
    pub(super) fn rest(&self, revents: c_short) {
        if revents & POLLNVAL != 0 {
            self.is_closed.store(true, Ordering::Relaxed);
        } else if revents & POLLIN != 0 {
            // What fails has nothing to read.
            let _ = read(&self.counter, &mut [0; 8]);
        }
    }
}

/// Forgets that the loop was to end.
pub(super) fn begin() {
    EXITING.store(false, Ordering::SeqCst);
}

/// Tells the loop to end. Safe in handlers of signals: it makes one system call, which leaves `errno` alone.
pub(super) fn exit() {
    EXITING.store(true, Ordering::SeqCst);
    if let Some(waker) = Waker::usable() {
        // It only fails when it is readable already.
        let _ = write(&waker.counter, &1_u64.to_ne_bytes());
    }
}

/// Whether the loop is to end.
pub(super) fn is_exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

/// As [`is_exiting`], and forgets it.
pub(super) fn take_exit() -> bool {
    EXITING.swap(false, Ordering::SeqCst)
}
