//! The `E_` functions: a loop that calls functions at times and for descriptors. See
//! `include/sp_events.h` and docs/c-library.md.
//!
//! One loop for the process; functions are called in the thread that runs it, and may call every function
//! here. Due times come before descriptors, and descriptors of a higher priority before those of a lower
//! one. Waiting is done by `poll`, so descriptors may have any number; times do not follow steps of the
//! time of day.

mod table;
pub mod time;
mod wake;

use std::ffi::{c_int, c_void};
use std::sync::Mutex;
use std::time::Instant;

use self::table::{FdEvent, FdKind, PRIORITIES, Place, Table, TimeEvent};
use self::wake::Waker;
use crate::layout::{FdFunction, SpTime, TimeFunction};
use crate::session::lock;

static TABLE: Mutex<Table> = Mutex::new(Table::new());

/// How long the loop waits at most, in milliseconds, for what the system would not tell it of: its end, when there
/// is no descriptor to wake it up by, and descriptors that are passed over as they only report that they are broken.
const UNTOLD_MS: c_int = 50;

const DONE: c_int = 0;
const NOT_DONE: c_int = -1;

fn done(done: bool) -> c_int {
    if done { DONE } else { NOT_DONE }
}

/// Forgets all events.
#[unsafe(no_mangle)]
pub extern "C" fn E_init() -> c_int {
    *lock(&TABLE) = Table::new();
    wake::begin();
    DONE
}

/// Queues a call after some time; a call of the same function, code and data gets the new time.
///
/// # Safety
/// `function` can be called with `code` and `data` by the loop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn E_queue(
    function: Option<TimeFunction>,
    code: c_int,
    data: *mut c_void,
    delta: SpTime,
) -> c_int {
    let Some(function) = function else { return NOT_DONE };
    let Some(at) = Instant::now().checked_add(delta.duration()) else { return NOT_DONE };
    lock(&TABLE).queue(TimeEvent { function, code, data }, at);
    DONE
}

/// Forgets a queued call; -1 when it is not queued.
#[unsafe(no_mangle)]
pub extern "C" fn E_dequeue(function: Option<TimeFunction>, code: c_int, data: *mut c_void) -> c_int {
    let event = function.map(|function| TimeEvent { function, code, data });
    done(event.is_some_and(|event| lock(&TABLE).dequeue(&event)))
}

/// 1 when a call is queued, 0 when it is not.
#[unsafe(no_mangle)]
pub extern "C" fn E_in_queue(function: Option<TimeFunction>, code: c_int, data: *mut c_void) -> c_int {
    let event = function.map(|function| TimeEvent { function, code, data });
    event.is_some_and(|event| lock(&TABLE).is_queued(&event)).into()
}

/// Forgets all queued calls.
#[unsafe(no_mangle)]
pub extern "C" fn E_dequeue_all_time_events() {
    lock(&TABLE).dequeue_all();
}

/// Lets a function be called whenever a descriptor is ready; -1 when an argument is out of its range.
///
/// # Safety
/// `function` can be called with `fd`, `code` and `data` by the loop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn E_attach_fd(
    fd: c_int,
    kind: c_int,
    function: Option<FdFunction>,
    code: c_int,
    data: *mut c_void,
    priority: c_int,
) -> c_int {
    let attached = || {
        let (function, place, priority) = (function?, place(fd, kind)?, rank(priority)?);
        Some(lock(&TABLE).attach(place, priority, FdEvent { function, code, data, active: true }))
    };
    done(attached().unwrap_or(false))
}

/// Forgets a descriptor; -1 when it is not attached.
#[unsafe(no_mangle)]
pub extern "C" fn E_detach_fd(fd: c_int, kind: c_int) -> c_int {
    done(place(fd, kind).is_some_and(|place| lock(&TABLE).detach(place, None)))
}

/// Forgets a descriptor at one priority; -1 when it is not attached there.
#[unsafe(no_mangle)]
pub extern "C" fn E_detach_fd_priority(fd: c_int, kind: c_int, priority: c_int) -> c_int {
    let found = place(fd, kind).zip(rank(priority));
    done(found.is_some_and(|(place, priority)| lock(&TABLE).detach(place, Some(priority))))
}

/// Waits only for descriptors of this priority and above; -1 when there is no such priority.
#[unsafe(no_mangle)]
pub extern "C" fn E_set_active_threshold(priority: c_int) -> c_int {
    done(rank(priority).map(|priority| lock(&TABLE).set_threshold(priority)).is_some())
}

/// Waits for a descriptor again; -1 when it is not attached.
#[unsafe(no_mangle)]
pub extern "C" fn E_activate_fd(fd: c_int, kind: c_int) -> c_int {
    done(place(fd, kind).is_some_and(|place| lock(&TABLE).set_active(place, true)))
}

/// Waits for a descriptor no longer, without forgetting it; -1 when it is not attached.
#[unsafe(no_mangle)]
pub extern "C" fn E_deactivate_fd(fd: c_int, kind: c_int) -> c_int {
    done(place(fd, kind).is_some_and(|place| lock(&TABLE).set_active(place, false)))
}

/// How many descriptors are waited for at a priority; -1 when there is no such priority.
#[unsafe(no_mangle)]
pub extern "C" fn E_num_active(priority: c_int) -> c_int {
    let count = rank(priority).and_then(|priority| lock(&TABLE).active_count(priority));
    count.and_then(|count| c_int::try_from(count).ok()).unwrap_or(NOT_DONE)
}

/// Runs the loop until [`E_exit_events`] is called.
///
/// # Safety
/// What was promised of the functions that are queued and attached still holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn E_handle_events() {
    while !wake::take_exit() {
        // SAFETY: the program's promise.
        if unsafe { run_times() } {
            // SAFETY: the program's promise.
            unsafe { run_fds() };
        }
    }
}

/// Ends the loop, as soon as the function that it calls has returned, or at once while it waits. May be called
/// by a signal handler, and by another thread.
#[unsafe(no_mangle)]
pub extern "C" fn E_exit_events() {
    wake::exit();
}

/// Calls what is due, without what gets queued meanwhile; false when the loop is to end.
///
/// # Safety
/// The queued functions can be called.
unsafe fn run_times() -> bool {
    let (now, limit) = (Instant::now(), lock(&TABLE).queued());
    while !wake::is_exiting() {
        let Some(event) = lock(&TABLE).take_due(now, limit) else { return true };
        // SAFETY: the caller's promise.
        unsafe { (event.function)(event.code, event.data) };
    }
    false
}

/// Waits for descriptors or the next time, and calls the functions of those ready of the highest priority.
///
/// # Safety
/// The attached functions can be called.
unsafe fn run_fds() {
    let wanted = lock(&TABLE).all_wanted();
    let ready = poll(&wanted);
    let Some(priority) = ready.iter().map(|(_, priority)| *priority).max() else { return };
    for (place, _) in ready.into_iter().filter(|(_, here)| *here == priority) {
        if wake::is_exiting() {
            return;
        }
        // A function called before may have detached it.
        let event = lock(&TABLE).wanted(place, priority);
        if let Some(event) = event {
            // SAFETY: the caller's promise.
            unsafe { (event.function)(place.fd, event.code, event.data) };
        }
    }
}

/// The descriptors that are ready, after waiting for one or for the next time, or until the loop is to end.
fn poll(wanted: &[(Place, usize)]) -> Vec<(Place, usize)> {
    let waker = Waker::here();
    // Whoever ended the loop before the waker was there could not make it readable.
    if wake::is_exiting() {
        return Vec::new();
    }
    let mut entries: Vec<libc::pollfd> =
        wanted.iter().map(|(place, _)| entry(place.fd, events(place.kind))).collect();
    // Without a waker the number is negative, and passed over.
    entries.push(entry(waker.map_or(-1, Waker::number), libc::POLLIN));
    if !wait(&mut entries, timeout_ms(waker.is_none().then_some(UNTOLD_MS))) {
        return Vec::new();
    }
    if !entries.iter().any(is_ready) {
        // What is reported nobody has asked for, and it would be reported again at once.
        entries.iter_mut().filter(|entry| entry.revents != 0).for_each(|entry| entry.fd = -1);
        if !wait(&mut entries, timeout_ms(Some(UNTOLD_MS))) {
            return Vec::new();
        }
    }
    if let Some((waker, entry)) = waker.zip(entries.last()) {
        waker.rest(entry.revents);
    }
    let mut ready = Vec::new();
    for (entry, (place, priority)) in entries.iter().zip(wanted) {
        if entry.revents & libc::POLLNVAL != 0 {
            // Closed without being detached: it would be reported for ever.
            lock(&TABLE).detach(*place, None);
        } else if is_ready(entry) {
            ready.push((*place, *priority));
        }
    }
    ready
}

/// Whether what `poll` reports is what `select` would report for this kind of readiness: an exception is neither
/// the end nor the break of a connection, and what has been hung up need not be writable.
fn is_ready(entry: &libc::pollfd) -> bool {
    let broken = match entry.events {
        libc::POLLIN => libc::POLLHUP | libc::POLLERR,
        libc::POLLOUT => libc::POLLERR,
        _ => 0,
    };
    entry.revents & (entry.events | broken | libc::POLLNVAL) != 0
}

fn entry(fd: c_int, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// Waits until something is ready; false when nothing is.
fn wait(entries: &mut [libc::pollfd], timeout_ms: c_int) -> bool {
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
    // SAFETY: `entries` has `count` elements; what is no descriptor is reported as such.
    unsafe { libc::poll(entries.as_mut_ptr(), count, timeout_ms) > 0 }
}

/// How long the loop may wait, and no longer than `most`; -1 for ever.
fn timeout_ms(most: Option<c_int>) -> c_int {
    let next = lock(&TABLE).next_time().map(|at| {
        // Rounded up: a time that is not over yet would be waited for awake.
        let left = at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        c_int::try_from(left).unwrap_or(c_int::MAX)
    });
    next.into_iter().chain(most).min().unwrap_or(-1)
}

fn events(kind: FdKind) -> libc::c_short {
    match kind {
        FdKind::Read => libc::POLLIN,
        FdKind::Write => libc::POLLOUT,
        FdKind::Exception => libc::POLLPRI,
    }
}

fn place(fd: c_int, kind: c_int) -> Option<Place> {
    FdKind::from_number(kind).filter(|_| fd >= 0).map(|kind| Place { fd, kind })
}

fn rank(priority: c_int) -> Option<usize> {
    usize::try_from(priority).ok().filter(|priority| *priority < PRIORITIES)
}
