//! Signals that come while the library waits: nothing fails, time limits hold, and handlers may disconnect. They
//! are sent to the threads of this process, in which no other test runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::thread::JoinHandleExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon::Connector;
use support::{OPENING, connect, connect_without_limit, disconnect, listen, multicast, receive};

/// How long anything may take that does not fail.
const LIMIT: Duration = Duration::from_secs(20);

/// The calls in which a thread waits until it is connected.
const CONNECTING: &[libc::c_long] = &[
    libc::SYS_connect,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Sends a signal to a thread every few milliseconds until it ends; returns its result.
fn disturb<T>(thread: JoinHandle<T>) -> T {
    static HANDLED: Once = Once::new();
    extern "C" fn ignore(_: c_int) {}
    HANDLED.call_once(|| handle(libc::SIGUSR1, ignore));
    let begun = Instant::now();
    while !thread.is_finished() {
        assert!(begun.elapsed() < LIMIT, "it goes on in spite of signals");
        thread::sleep(Duration::from_millis(5));
        send(libc::SIGUSR1, &thread);
    }
    thread.join().expect("no panic")
}

/// Lets a handler run when the signal comes; calls that it interrupts are not restarted.
fn handle(signal: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: all that is zero is a legal action, and the handlers here do nothing but what the library allows.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

fn send<T>(signal: c_int, thread: &JoinHandle<T>) {
    // SAFETY: the thread has not been joined, so that its name is valid.
    unsafe { libc::pthread_kill(thread.as_pthread_t() as libc::pthread_t, signal) };
}

/// Connects in a thread of its own; tells that thread's id.
fn dial<T: Send + 'static>(
    connect: impl FnOnce() -> T + Send + 'static,
) -> (JoinHandle<T>, Receiver<libc::pid_t>) {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        // SAFETY: it has no conditions.
        tell.send(unsafe { libc::gettid() }).expect("the daemon waits for it");
        connect()
    });
    (thread, told)
}

/// When a signal has come while `dialer` waits for a place in the queue, takes out of the queue who is in the
/// way, and opens a session with who comes next.
fn accept_after_a_signal<T: Read + Write>(
    dialer: Receiver<libc::pid_t>,
    accept: impl Fn() -> T + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let dialer = dialer.recv().expect("it dials");
        await_that("the dialer waits", || is_in_call(dialer, CONNECTING));
        let before = naps(dialer);
        // Nothing but a signal wakes it.
        await_that("it has been woken and waits again", || naps(dialer) > before);
        drop(accept());
        open_session(accept());
    })
}

/// Whether a thread of this process waits in one of these system calls.
fn is_in_call(thread: libc::pid_t, calls: &[libc::c_long]) -> bool {
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
    let number = call.ok().and_then(|call| call.split(' ').next()?.parse().ok());
    number.is_some_and(|number| calls.contains(&number))
}

/// How often a thread of this process has gone to sleep.
fn naps(thread: libc::pid_t) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).expect("it runs");
    let naps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    naps.and_then(|naps| naps.trim().parse().ok()).expect("a number")
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A directory that goes away with its value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("antiphon-{}-signals", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a session and says no more.
fn open_session(mut client: impl Read + Write) {
    client.write_all(OPENING).expect("written");
    let mut ignored = [0; 4096];
    while matches!(client.read(&mut ignored), Ok(1..)) {}
}

#[test]
fn a_signal_does_not_end_a_connect_to_a_full_unix_socket() {
    let directory = Directory::new();
    let socket = directory.path().join("4901");
    // SAFETY: no other test of this program looks at the environment.
    unsafe { std::env::set_var("ANTIPHON_UNIX_DIR", directory.path()) };
    for limited in [false, true] {
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket");
        rustix::net::listen(listener.as_fd(), 0).expect("a queue of one");
        let _in_the_way = UnixStream::connect(&socket).expect("the first fits");
        let (dialing, dialer) =
            dial(move || if limited { connect(c"4901") } else { connect_without_limit(c"4901") });
        let daemon = accept_after_a_signal(dialer, move || listener.accept().expect("a client").0);
        let (connected, mailbox) = disturb(dialing);
        assert_eq!(connected, 1, "limited: {limited}");
        disconnect(mailbox);
        daemon.join().expect("no panic");
    }
}

#[test]
fn a_signal_does_not_end_a_connect_to_a_daemon_that_is_slow_to_accept() {
    for limited in [false, true] {
        let (listener, address) = listen();
        rustix::net::listen(listener.as_fd(), 0).expect("a queue of one");
        let place = listener.local_addr().expect("bound");
        let _in_the_way = TcpStream::connect(place).expect("the first fits");
        let (dialing, dialer) =
            dial(move || if limited { connect(&address) } else { connect_without_limit(&address) });
        let daemon = accept_after_a_signal(dialer, move || listener.accept().expect("a client").0);
        let (connected, mailbox) = disturb(dialing);
        assert_eq!(connected, 1, "limited: {limited}");
        disconnect(mailbox);
        daemon.join().expect("no panic");
    }
}

#[test]
fn signals_do_not_lengthen_the_time_limit_of_a_receive() {
    let (listener, address) = listen();
    let daemon = thread::spawn(move || open_session(listener.accept().expect("a client").0));
    let receiver = thread::spawn(move || {
        let address = address.to_str().expect("ASCII");
        let mut connection = Connector::new(address).name("me").connect().expect("accepted");
        let received = connection.receive_timeout(Duration::from_millis(100));
        (received.expect("nothing wrong"), connection)
    });
    let (received, connection) = disturb(receiver);
    assert_eq!(received, None);
    drop(connection);
    daemon.join().expect("no panic");
}

/// The mailbox that the handler disconnects.
static ENDED_BY_HANDLER: AtomicI32 = AtomicI32::new(-1);

/// Ends a session in a handler, once the thread that makes `call` on it waits in one of `system_calls`; returns the
/// result of the call. The daemon does not read before that. It then sees the end of what was sent, and still has
/// more to say than sockets hold, which takes a handler that listens.
fn end_in_a_handler(
    system_calls: &'static [libc::c_long],
    call: impl FnOnce(c_int) -> c_int + Send + 'static,
) -> (c_int, Vec<u8>) {
    extern "C" fn disconnect_in_handler(_: c_int) {
        disconnect(ENDED_BY_HANDLER.load(Ordering::Relaxed));
    }
    handle(libc::SIGUSR2, disconnect_in_handler);
    ENDED_BY_HANDLER.store(-1, Ordering::Relaxed);
    let (listener, address) = listen();
    let (caller, called) = dial(move || {
        let (connected, mailbox) = connect(&address);
        assert_eq!(connected, 1);
        ENDED_BY_HANDLER.store(mailbox, Ordering::Relaxed);
        call(mailbox)
    });
    let (mut client, _) = listener.accept().expect("a client");
    client.write_all(OPENING).expect("written");
    let thread = called.recv().expect("it calls");
    await_that("the call waits", || {
        ENDED_BY_HANDLER.load(Ordering::Relaxed) >= 0 && is_in_call(thread, system_calls)
    });
    send(libc::SIGUSR2, &caller);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).expect("the client says goodbye");
    client.write_all(&vec![0; 16 << 20]).expect("the client hears all of it");
    drop(client);
    (caller.join().expect("no panic"), sent)
}

#[test]
fn a_handler_ends_the_session_in_the_call_that_it_interrupts() {
    let receive = |mailbox| receive(mailbox, 0, 10, 1000).result;
    let (received, sent) = end_in_a_handler(&[libc::SYS_recvfrom], receive);
    assert!(received < 0, "received {received}");
    let kill = sent.len() - (48 + 32);
    assert_eq!(sent[kill + 4..][..8], *b"#me#fake", "the goodbye comes whole");

    let flood = |mailbox| loop {
        let result = multicast(mailbox, c"group", &[0; 100_000]);
        if result < 0 {
            break result;
        }
    };
    let (result, _) = end_in_a_handler(&[libc::SYS_sendmsg], flood);
    assert!(result < 0, "sent {result}");
}
