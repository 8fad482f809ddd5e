//! Signals that come while the library waits: nothing fails, and time limits hold. They are sent to the threads
//! of this process, in which no other test runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon::Connector;
use support::{OPENING, connect, connect_without_limit, disconnect, listen};

/// Sends a signal to a thread every few milliseconds until it ends; returns its result.
fn disturb<T>(thread: JoinHandle<T>) -> T {
    static HANDLED: Once = Once::new();
    extern "C" fn ignore(_: c_int) {}
    HANDLED.call_once(|| {
        // SAFETY: the handler does nothing, and all that is zero is a legal action: no flag restarts calls.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
        }
    });
    let begun = Instant::now();
    while !thread.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on in spite of signals");
        thread::sleep(Duration::from_millis(5));
        // SAFETY: the thread has not been joined, so that its name is valid.
        unsafe { libc::pthread_kill(thread.as_pthread_t() as libc::pthread_t, libc::SIGUSR1) };
    }
    thread.join().expect("no panic")
}

/// After a while, takes out of the queue who is in the way, and opens a session with who comes next.
fn accept_after_a_while<T: Read + Write>(accept: impl Fn() -> T + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(accept());
        open_session(accept());
    })
}

/// Opens a session and says no more.
fn open_session(mut client: impl Read + Write) {
    client.write_all(OPENING).expect("written");
    let mut ignored = [0; 4096];
    while matches!(client.read(&mut ignored), Ok(1..)) {}
}

#[test]
fn a_signal_does_not_end_a_connect_to_a_full_unix_socket() {
    let directory = std::env::temp_dir().join(format!("antiphon-signals-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    // SAFETY: no other test of this program looks at the environment.
    unsafe { std::env::set_var("ANTIPHON_UNIX_DIR", &directory) };
    for limited in [false, true] {
        let _ = std::fs::remove_file(directory.join("4901"));
        let listener = UnixListener::bind(directory.join("4901")).expect("a socket");
        rustix::net::listen(listener.as_fd(), 0).expect("a queue of one");
        let _in_the_way = UnixStream::connect(directory.join("4901")).expect("the first fits");
        let daemon = accept_after_a_while(move || listener.accept().expect("a client").0);
        let dial = move || if limited { connect(c"4901") } else { connect_without_limit(c"4901") };
        let (connected, mailbox) = disturb(thread::spawn(dial));
        assert_eq!(connected, 1, "limited: {limited}");
        disconnect(mailbox);
        daemon.join().expect("no panic");
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn a_signal_does_not_end_a_connect_to_a_daemon_that_is_slow_to_accept() {
    for limited in [false, true] {
        let (listener, address) = listen();
        rustix::net::listen(listener.as_fd(), 0).expect("a queue of one");
        let place = listener.local_addr().expect("bound");
        let _in_the_way = TcpStream::connect(place).expect("the first fits");
        let daemon = accept_after_a_while(move || listener.accept().expect("a client").0);
        let dial = move || if limited { connect(&address) } else { connect_without_limit(&address) };
        let (connected, mailbox) = disturb(thread::spawn(dial));
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
