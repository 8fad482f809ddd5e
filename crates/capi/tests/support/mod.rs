//! A daemon that says what a test tells it to say, and a program that calls the library.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::ffi::{CStr, CString, c_int};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use antiphon_capi::fl::{FL_connect, FL_flush, FL_join, FL_multicast, FL_receive};
use antiphon_capi::layout::{MembershipInfo, NameField, SpTime, VsSetInfo};
use antiphon_capi::sp::{SP_connect, SP_connect_timeout, SP_disconnect, SP_multicast, SP_receive};
use antiphon_capi::sp_membership::{SP_get_memb_info, SP_get_vs_set_members, SP_get_vs_sets_info};

/// The handshake of a daemon that opens a session called `#me#fake`.
pub(crate) const OPENING: &[u8] = b"\x05NULL \x01\x04\x04\x00\x08#me#fake";

/// A name field without a name.
pub(crate) const NO_NAME: NameField = [0; 32];

/// A listener, and where it is for `SP_connect`.
pub(crate) fn listen() -> (TcpListener, CString) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (listener, CString::new(format!("{port}@127.0.0.1")).expect("no NUL"))
}

/// Serves one client: says all of it at once, and closes when the client has closed or gone.
pub(crate) fn serve(listener: &TcpListener, stream: Vec<u8>) -> JoinHandle<()> {
    let listener = listener.try_clone().expect("a second handle");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        // The client may be gone before it has heard all.
        let _ = client.write_all(&stream);
        let _ = client.shutdown(Shutdown::Write);
        drain(&mut client);
    })
}

/// A frame in either byte order; `flags` without the endian mark.
pub(crate) fn frame(big_endian: bool, flags: u32, name: &str, groups: &[&str], body: &[u8]) -> Vec<u8> {
    let word = |word: u32| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
    let field = |name: &str| [name.as_bytes(), &vec![0; 32 - name.len()]].concat();
    let mark = if big_endian { 0 } else { 0x8000_0080 };
    let mut bytes = word(flags | mark).to_vec();
    bytes.extend(field(name));
    bytes.extend(word(groups.len() as u32));
    bytes.extend(word(mark | 7 << 8));
    bytes.extend(word(body.len() as u32));
    groups.iter().for_each(|group| bytes.extend(field(group)));
    bytes.extend(body);
    bytes
}

fn drain(client: &mut TcpStream) {
    let mut ignored = [0; 4096];
    while matches!(client.read(&mut ignored), Ok(1..)) {}
}

/// Connects as `me`; returns the result and the mailbox.
pub(crate) fn connect(address: &CStr) -> (c_int, c_int) {
    let (mut mailbox, mut group) = (-1, NO_NAME);
    let limit = SpTime { sec: 20, usec: 0 };
    // SAFETY: the texts end with a NUL, and there is room for the results.
    let connected = unsafe {
        SP_connect_timeout(address.as_ptr(), c"me".as_ptr(), 0, 1, &mut mailbox, &mut group, limit)
    };
    (connected, mailbox)
}

/// As [`connect`], for as long as it takes.
pub(crate) fn connect_without_limit(address: &CStr) -> (c_int, c_int) {
    let (mut mailbox, mut group) = (-1, NO_NAME);
    // SAFETY: the texts end with a NUL, and there is room for the results.
    let connected = unsafe { SP_connect(address.as_ptr(), c"me".as_ptr(), 0, 1, &mut mailbox, &mut group) };
    (connected, mailbox)
}

/// As [`connect`], with the flush layer, and joins the groups of the recorded exchanges.
pub(crate) fn flush_connect(address: &CString) -> (c_int, c_int) {
    let (mut mailbox, mut group) = (-1, NO_NAME);
    // SAFETY: the texts end with a NUL, and there is room for the results.
    let connected = unsafe { FL_connect(address.as_ptr(), c"me".as_ptr(), 0, &mut mailbox, &mut group) };
    for group in [c"fg", c"grp", c"g"] {
        // SAFETY: the text ends with a NUL. Joining fails when there is no session, or no longer.
        unsafe { FL_join(mailbox, group.as_ptr()) };
    }
    (connected, mailbox)
}

/// As [`receive`], through the flush layer; answers flush requests.
pub(crate) fn flush_receive(mailbox: c_int, service: c_int, max_groups: usize, max_bytes: usize) -> Received {
    let mut told =
        Received { result: 0, service, group_count: 0, endian_mismatch: 0, body: vec![0; max_bytes] };
    let (mut groups, mut sender, mut kind, mut more) = (vec![NO_NAME; max_groups], NO_NAME, 0, 0);
    // SAFETY: there is as much room as is said.
    told.result = unsafe {
        FL_receive(
            mailbox,
            &mut told.service,
            &mut sender,
            max_groups as c_int,
            &mut told.group_count,
            groups.as_mut_ptr(),
            &mut kind,
            &mut told.endian_mismatch,
            max_bytes as c_int,
            told.body.as_mut_ptr().cast(),
            &mut more,
        )
    };
    if told.result >= 0 && told.service & 0x2000_0000 != 0 {
        // SAFETY: names that are received end with a NUL. It fails when the session has broken.
        unsafe { FL_flush(mailbox, sender.as_ptr()) };
    }
    told
}

/// Sends a FIFO message through the flush layer; returns the result.
pub(crate) fn flush_multicast(mailbox: c_int, group: &CStr, body: &[u8]) -> c_int {
    // SAFETY: the text ends with a NUL, and the body has so many bytes.
    unsafe { FL_multicast(mailbox, 4, group.as_ptr(), 0, body.len() as c_int, body.as_ptr().cast()) }
}

/// Disconnects; the session must be there.
pub(crate) fn disconnect(mailbox: c_int) {
    assert_eq!(SP_disconnect(mailbox), 0);
}

/// Sends a FIFO message; returns the result.
pub(crate) fn multicast(mailbox: c_int, group: &CStr, body: &[u8]) -> c_int {
    // SAFETY: the text ends with a NUL, and the body has so many bytes.
    unsafe { SP_multicast(mailbox, 4, group.as_ptr(), 0, body.len() as c_int, body.as_ptr().cast()) }
}

/// Waits until a sender that counts what it has sent sends no more.
pub(crate) fn wait_until_held_up(sent: &AtomicUsize) {
    let mut before = 0;
    while before == 0 || sent.load(Ordering::Relaxed) != before {
        before = sent.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(50));
    }
}

/// What `SP_receive` told.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) result: c_int,
    pub(crate) service: c_int,
    pub(crate) group_count: c_int,
    pub(crate) endian_mismatch: c_int,
    pub(crate) body: Vec<u8>,
}

/// Receives with so much room and these bits in the service type.
pub(crate) fn receive(mailbox: c_int, service: c_int, max_groups: usize, max_bytes: usize) -> Received {
    let mut told =
        Received { result: 0, service, group_count: 0, endian_mismatch: 0, body: vec![0; max_bytes] };
    let (mut groups, mut sender, mut kind) = (vec![NO_NAME; max_groups], NO_NAME, 0);
    // SAFETY: there is as much room as is said.
    told.result = unsafe {
        SP_receive(
            mailbox,
            &mut told.service,
            &mut sender,
            max_groups as c_int,
            &mut told.group_count,
            groups.as_mut_ptr(),
            &mut kind,
            &mut told.endian_mismatch,
            max_bytes as c_int,
            told.body.as_mut_ptr().cast(),
        )
    };
    told
}

/// Reads all that a view says, as programs do; returns how many members its sets have together.
pub(crate) fn read_view(received: &Received) -> usize {
    let body = received.body.as_ptr().cast();
    let mut info = MembershipInfo {
        gid: Default::default(),
        changed_member: NO_NAME,
        num_vs_sets: 0,
        my_vs_set: VsSetInfo::default(),
    };
    // SAFETY: the body is that of a membership message as it was received.
    assert_eq!(unsafe { SP_get_memb_info(body, received.service, &mut info) }, 1);
    let mut sets = vec![VsSetInfo::default(); info.num_vs_sets as usize];
    let mut own = 0;
    if sets.is_empty() {
        return 0;
    }
    // SAFETY: as above, and there is room for all sets.
    let count = unsafe { SP_get_vs_sets_info(body, sets.as_mut_ptr(), info.num_vs_sets, &mut own) };
    assert_eq!(count as usize, sets.len());
    assert_eq!(sets[own as usize], info.my_vs_set);
    let mut members = 0;
    for set in &sets {
        let mut names = vec![NO_NAME; set.num_members as usize];
        // SAFETY: as above, and there is room for all names.
        let count = unsafe { SP_get_vs_set_members(body, set, names.as_mut_ptr(), set.num_members) };
        assert_eq!(count as usize, names.len());
        members += names.len();
    }
    members
}
