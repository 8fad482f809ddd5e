//! Authentication by a method of the program. Methods are those of a whole process: no other test may connect
//! in this one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::FromRawFd;
use std::thread;

use antiphon_capi::sp::SP_set_auth_method;
use support::{OPENING, connect, disconnect, listen};

/// The method PWORD, as a program brings it along.
#[test]
fn a_program_authenticates_with_a_method_of_its_own() {
    /// # Safety
    /// The socket is connected, and `data` is what was given beside this function.
    unsafe extern "C" fn password(socket: c_int, data: *mut c_void) -> c_int {
        // SAFETY: the library calls this with the connected descriptor, and with the data that was given
        // to it below; the descriptor is not closed here.
        let (mut socket, password) = unsafe {
            let socket = TcpStream::from_raw_fd(socket);
            (ManuallyDrop::new(socket), *data.cast::<[u8; 8]>())
        };
        let mut user = [0; 32];
        user[..5].copy_from_slice(b"alice");
        let mut good = [0];
        let asked = socket.write_all(&[&user[..], &password].concat());
        (asked.is_ok() && socket.read_exact(&mut good).is_ok() && good[0] == 1).into()
    }
    let (listener, address) = listen();
    let daemon = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.write_all(b"\x0aPWORD IP  ").expect("written");
        let mut asked = [0; 7 + 90 + 40];
        client.read_exact(&mut asked).expect("hello, choice, name and password");
        assert!(asked[7..].starts_with(b"PWORD\0") && asked[97..].starts_with(b"alice\0"));
        assert!(asked.ends_with(b"secret\0\0"));
        client.write_all(&[&[1], &OPENING[6..]].concat()).expect("written");
        let _ = client.read(&mut asked);
    });
    let mut secret = *b"secret\0\0";
    let data = (&raw mut secret).cast();
    // SAFETY: the function can be called with that data, which lives until all is over.
    assert_eq!(unsafe { SP_set_auth_method(c"PWORD".as_ptr(), Some(password), data) }, 1);
    let (connected, mailbox) = connect(&address);
    assert_eq!(connected, 1);
    disconnect(mailbox);
    daemon.join().expect("no panic");
}
