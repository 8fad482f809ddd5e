//! The thread that writes what idle senders have gathered, and what has to be done about it when the process
//! forks or exits.
//!
//! Nothing gathered may be lost or doubled: before a fork all is written, so that the child begins with
//! nothing; the child has no such thread, and starts one of its own when it needs it. At exit all is written,
//! and nothing is gathered any more: functions of the program that run later may still send.
//! Daemons that take nothing are waited for as long as there is [`Patience`].

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, RwLockWriteGuard, Weak};
use std::thread;

use antiphon::pace::{IDLE, RETRY};
use antiphon::patience::Patience;

use crate::output::Look;
use crate::session::{self, Session, Sessions, lock};

/// A life of the process; after a fork, the child has another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life(u64);

impl Life {
    /// The present one. Lives are told apart only once [`arrange`] was called.
    pub(crate) fn now() -> Self {
        Self(LIFE.load(Ordering::Relaxed))
    }
}

/// Says of a session whether it is watched: in which life of the process it was told to the flusher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Watch(Option<Life>);

/// A session to look at, and how often it had written at the last look.
#[derive(Debug)]
struct Watched {
    session: Weak<Session>,
    writes: u64,
}

#[derive(Debug)]
struct Arrivals {
    is_running: bool,
    list: Vec<Watched>,
}

static LIFE: AtomicU64 = AtomicU64::new(0);
/// Whether the process exits: the flusher may not come to look again.
static EXITING: AtomicBool = AtomicBool::new(false);
static ARRIVALS: Mutex<Arrivals> = Mutex::new(Arrivals { is_running: false, list: Vec::new() });
static ARRIVED: Condvar = Condvar::new();
/// Held while the flusher looks at sessions. Locks are taken in the order: this one, those of sessions,
/// [`ARRIVALS`], the table of sessions.
static LOOKING: Mutex<()> = Mutex::new(());

/// Lets the flusher look at a session, if it does not already; false when there is no flusher, or not for long.
pub(crate) fn watch(session: &Arc<Session>, watch: &mut Watch) -> bool {
    if EXITING.load(Ordering::SeqCst) {
        return false;
    }
    let life = Watch(Some(Life::now()));
    if *watch == life {
        return true;
    }
    let mut arrivals = lock(&ARRIVALS);
    if !arrivals.is_running {
        let thread = thread::Builder::new().name("antiphon-flush".to_owned()).spawn(run);
        arrivals.is_running = thread.is_ok();
    }
    if arrivals.is_running {
        arrivals.list.push(Watched { session: Arc::downgrade(session), writes: 0 });
        *watch = life;
        ARRIVED.notify_one();
    }
    arrivals.is_running
}

fn run() {
    leave_signals_to_others();
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let mut arrivals = lock(&ARRIVALS);
        while arrivals.list.is_empty() && watched.is_empty() {
            arrivals = ARRIVED.wait(arrivals).unwrap_or_else(PoisonError::into_inner);
        }
        watched.append(&mut arrivals.list);
        drop(arrivals);
        thread::sleep(if look_at(&mut watched) { IDLE } else { RETRY });
    }
}

/// Does something while the flusher holds no session.
pub(crate) fn while_nobody_looks<T>(run: impl FnOnce() -> T) -> T {
    let _looking = lock(&LOOKING);
    run()
}

/// Looks at all sessions once and keeps those to look at again; false when nothing can be done for them.
fn look_at(watched: &mut Vec<Watched>) -> bool {
    let _looking = lock(&LOOKING);
    let mut all_full = !watched.is_empty();
    watched.retain_mut(|watched| {
        let Some(session) = watched.session.upgrade() else { return false };
        match session.output.look(&session, watched.writes) {
            Look::Done => false,
            Look::Busy(writes) => {
                watched.writes = writes;
                all_full = false;
                true
            }
            Look::Full => true,
        }
    });
    !all_full || watched.is_empty()
}

/// Handlers of the program must run in its own threads.
fn leave_signals_to_others() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is filled before it is used, and no old set is asked for.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Arranges for forks and for the end of the process, once.
pub(crate) fn arrange() {
    static ARRANGED: Once = Once::new();
    ARRANGED.call_once(|| {
        // SAFETY: the functions are there as long as this library is: both kinds of handlers go with it.
        unsafe {
            libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork_in_child));
            libc::atexit(at_exit);
        }
    });
}

/// What a thread that forks holds meanwhile, so that nobody else does in the child.
struct Held {
    _looking: MutexGuard<'static, ()>,
    arrivals: MutexGuard<'static, Arrivals>,
    sessions: RwLockWriteGuard<'static, Sessions>,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

extern "C" fn before_fork() {
    flush_all();
    let looking = lock(&LOOKING);
    let (arrivals, sessions) = (lock(&ARRIVALS), session::lock_all());
    HELD.set(Some(Held { _looking: looking, arrivals, sessions }));
}

extern "C" fn after_fork() {
    drop(HELD.take());
}

extern "C" fn after_fork_in_child() {
    LIFE.fetch_add(1, Ordering::Relaxed);
    if let Some(mut held) = HELD.take() {
        held.arrivals.is_running = false;
        held.arrivals.list.clear();
        held.sessions.values().for_each(|session| session.output.leave_to_parent(session));
    }
}

extern "C" fn at_exit() {
    EXITING.store(true, Ordering::SeqCst);
    flush_all();
}

fn flush_all() {
    let mut patience = Patience::default();
    for session in session::all() {
        session.output.flush(&session, &mut patience);
    }
}
