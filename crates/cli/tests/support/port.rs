//! Ports that no other test uses.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Below the ports that systems take for outgoing connections, and away from those of other tests.
const RANGE: std::ops::Range<u16> = 6_000..15_000;

/// Held while a port is tried and while a program is started. Until it is another program, a child has all
/// sockets of this one: a listener that was only tried would take the client of the daemon to come.
static TRYING_OR_STARTING: Mutex<()> = Mutex::new(());

pub(crate) fn try_or_start() -> MutexGuard<'static, ()> {
    TRYING_OR_STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port and the one after it, for all addresses of this machine. A locked file keeps other test
/// programs away from it.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    pub(crate) fn lease() -> Self {
        let directory = std::env::temp_dir().join("antiphon-test-ports");
        std::fs::create_dir_all(&directory).expect("a directory for locks");
        for _ in 0..1000 {
            let number = fastrand::u16(RANGE) & !1;
            let lock = File::create(directory.join(number.to_string())).expect("a lock file");
            if lock.try_lock().is_ok() && is_free(number) {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port in {RANGE:?}");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

fn is_free(number: u16) -> bool {
    let _alone = try_or_start();
    let any = Ipv4Addr::UNSPECIFIED;
    TcpListener::bind((any, number)).is_ok()
        && UdpSocket::bind((any, number)).is_ok()
        && UdpSocket::bind((any, number + 1)).is_ok()
}
