//! A mutex that knows whether the calling thread holds it. A signal handler may end a session in the middle of
//! a call on it, and must not wait for the call that it has interrupted.

use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::codes::Code;
use crate::session::{Waiting, lock, try_lock};

/// How often it is looked whether another thread has left.
pub(crate) const CLAIM_POLL: Duration = Duration::from_millis(1);

/// What no thread is.
const NOBODY: usize = 0;

/// What one thread at a time may use.
#[derive(Debug)]
pub(crate) struct Claim<T> {
    value: Mutex<T>,
    /// [`this_thread`] of whoever holds it. Only the holder can find itself here, so that no order matters.
    holder: AtomicUsize,
}

/// A claim that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Claimed<'a, T> {
    value: MutexGuard<'a, T>,
    holder: &'a AtomicUsize,
}

impl<T> Claim<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), holder: AtomicUsize::new(NOBODY) }
    }

    /// Waits until nobody else holds it.
    pub(crate) fn take(&self) -> Claimed<'_, T> {
        self.hold(lock(&self.value))
    }

    /// As [`Claim::take`], unless somebody holds it.
    pub(crate) fn try_take(&self) -> Option<Claimed<'_, T>> {
        try_lock(&self.value).map(|value| self.hold(value))
    }

    /// As [`Claim::take`], for a call that may wait or not.
    ///
    /// # Errors
    /// When it may not, and somebody holds it.
    pub(crate) fn take_for(&self, waiting: Waiting) -> Result<Claimed<'_, T>, Code> {
        match waiting {
            Waiting::Allowed => Ok(self.take()),
            Waiting::Forbidden => self.try_take().ok_or(Code::WouldBlock),
        }
    }

    /// As [`Claim::take`], unless another thread holds it until `deadline`, or this one does.
    pub(crate) fn take_until(&self, deadline: Instant) -> Option<Claimed<'_, T>> {
        loop {
            let claimed = self.try_take();
            if claimed.is_some() || self.is_mine() || Instant::now() > deadline {
                return claimed;
            }
            thread::sleep(CLAIM_POLL);
        }
    }

    /// Whether the calling thread holds it: in a call that a signal handler has interrupted.
    pub(crate) fn is_mine(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == this_thread()
    }

    fn hold<'a>(&'a self, value: MutexGuard<'a, T>) -> Claimed<'a, T> {
        self.holder.store(this_thread(), Ordering::Relaxed);
        Claimed { value, holder: &self.holder }
    }
}

impl<T> Drop for Claimed<'_, T> {
    fn drop(&mut self) {
        self.holder.store(NOBODY, Ordering::Relaxed);
    }
}

impl<T> Deref for Claimed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Claimed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// Tells threads that run at the same time apart. It needs no memory, which handlers must not ask for.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| ptr::from_ref(here).addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_holder_finds_a_claim_to_be_its_own() {
        let claim = Claim::new(1);
        assert!(!claim.is_mine());
        let claimed = claim.take();
        assert!(claim.is_mine());
        let elsewhere = thread::scope(|scope| {
            scope.spawn(|| (claim.is_mine(), claim.try_take().is_some())).join().expect("no panic")
        });
        assert_eq!(elsewhere, (false, false));
        drop(claimed);
        assert!(!claim.is_mine());
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let claim = Claim::new(());
        let _claimed = claim.take();
        let for_ever = Instant::now() + Duration::from_secs(1 << 30);
        assert!(claim.take_until(for_ever).is_none());
    }
}
