//! Ports that no other test uses.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Below the ports that systems take for outgoing connections, and away from those of other tests.
const RANGE: std::ops::Range<u16> = 6_000..15_000;

/// Held while a port is tried and while a program is started. Until it is another program, a child has all
/// sockets of this one: a listener that was only tried would take the client of the daemon to come.
static TRYING_OR_STARTING: Mutex<()> = Mutex::new(());

pub(crate) fn try_or_start() -> MutexGuard<'static, ()> {
    TRYING_OR_STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port and the one after it, for all addresses of this machine. A locked file keeps other test
/// programs away from it; the file goes away with the value.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: Lock,
}

impl Port {
    pub(crate) fn lease() -> Self {
        let directory = std::env::temp_dir().join("antiphon-test-ports");
        std::fs::create_dir_all(&directory).expect("a directory for locks");
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| sweep(&directory));
        for _ in 0..1000 {
            let number = fastrand::u16(RANGE) & !1;
            let lock = Lock::take(directory.join(number.to_string()));
            if let Some(lock) = lock.filter(|_| is_free(number)) {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port in {RANGE:?}");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// Removes the files of programs that were killed.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        drop(Lock::take(entry.path()));
    }
}

/// A file that this process has locked; removed in the end.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: PathBuf) -> Option<Self> {
        let file = File::create(&path).expect("a lock file");
        file.try_lock().ok()?;
        // Its owner may have removed it after it was opened: the lock of such a file keeps nobody away.
        let here = std::fs::metadata(&path).ok()?;
        let is_it = file.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (here.dev(), here.ino()));
        is_it.then_some(Self { path, _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_free(number: u16) -> bool {
    let _alone = try_or_start();
    let any = Ipv4Addr::UNSPECIFIED;
    TcpListener::bind((any, number)).is_ok()
        && UdpSocket::bind((any, number)).is_ok()
        && UdpSocket::bind((any, number + 1)).is_ok()
}
