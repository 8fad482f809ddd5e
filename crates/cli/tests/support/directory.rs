//! A directory of its own for each test.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::orphan::is_orphan;

/// What the names of all directories begin with, before the number of the process.
const PREFIX: &str = "antiphon-";
/// How long the directory of a test that failed is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory that goes away with its value; when a test fails, a day later.
///
/// It lies directly below the system's temporary directory because paths of Unix sockets are short.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a temporary directory");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Removes what others left long ago. They may do the same meanwhile.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).expect("readable").flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        let is_old = matches!(age, Ok(Ok(age)) if age > KEPT);
        if is_old && is_orphan(&entry.file_name().to_string_lossy(), PREFIX) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
