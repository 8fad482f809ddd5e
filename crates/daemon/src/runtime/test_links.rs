//! An aid for tests: a file that names the daemons to which the links are cut.
//!
//! With it, a test partitions real processes on one machine. The file is read again every 20 ms; it
//! holds names of daemons, separated by blanks or line ends, and a file that is missing cuts nothing.
//! Replace it by renaming, so that it is never seen half written.

use std::path::PathBuf;
use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_wire::ids::DaemonId;

use crate::conf::Settings;
use crate::transport::LinkFilter;

const INTERVAL: Duration = Duration::from_millis(20);

/// The file and what it said last.
#[derive(Debug)]
pub(crate) struct TestLinks {
    path: PathBuf,
    names: Vec<String>,
    last: String,
    next: Instant,
}

impl TestLinks {
    /// None unless the settings name a file.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let path = settings.test_links.clone()?;
        Some(Self { path, names: names(settings), last: String::new(), next: Instant::default() })
    }

    /// Goes over to another list of daemons.
    pub(crate) fn adopt(&mut self, settings: &Settings) {
        self.names = names(settings);
        // It may have named the new ones already.
        self.last.clear();
    }

    /// When the file is to be read next.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// Reads the file if it is time, and cuts and heals links if it has changed.
    pub(crate) fn check(&mut self, now: Instant, filter: &LinkFilter) {
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        if text == self.last {
            return;
        }
        let cut: Vec<DaemonId> = text.split_whitespace().filter_map(|name| self.daemon(name)).collect();
        tracing::debug!("links cut for a test: {cut:?}");
        filter.cut_exactly(&cut);
        self.last = text;
    }

    fn daemon(&self, name: &str) -> Option<DaemonId> {
        let index = self.names.iter().position(|known| known == name)?;
        u16::try_from(index).ok().map(DaemonId)
    }
}

fn names(settings: &Settings) -> Vec<String> {
    settings.locations.iter().map(|location| location.name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{built_in, load_source};

    #[test]
    fn the_file_cuts_and_heals_links() {
        let path = std::env::temp_dir().join(format!("antiphon-links-{}", fastrand::u64(..)));
        let mut settings = load_source(built_in(), None).expect("it is a good one").settings;
        settings.test_links = Some(path.clone());
        let mut links = TestLinks::new(&settings).expect("a file is named");
        let filter = LinkFilter::new(1);
        links.check(Instant(0), &filter);
        assert!(filter.is_whole());
        std::fs::write(&path, "stranger\nlocalhost\n").expect("writable");
        links.check(Instant(1), &filter);
        assert!(filter.is_whole(), "it is not time yet");
        links.check(Instant(20_000_000), &filter);
        assert!(filter.is_cut(DaemonId(0)));
        std::fs::remove_file(&path).expect("removable");
        links.check(Instant(40_000_000), &filter);
        assert!(filter.is_whole());
    }
}
