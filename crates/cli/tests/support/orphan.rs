//! What test programs leave that were killed, or failed: it has the number of its process in its name.

use std::path::Path;

/// Whether the process has ended whose number follows `prefix` in a name.
pub(crate) fn is_orphan(name: &str, prefix: &str) -> bool {
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    end > 0 && !Path::new("/proc").join(&rest[..end]).exists()
}
