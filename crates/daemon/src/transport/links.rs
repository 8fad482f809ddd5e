//! Links that can be cut on purpose, so that partitions can be made on one machine without root.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use antiphon_wire::ids::DaemonId;

/// Which daemons one daemon neither hears nor reaches; shared by everyone who holds a clone.
///
/// Who said last which links are cut, a test, its file or a monitor, is obeyed. A cut works both ways at the daemon that
/// the filter belongs to. To separate two daemons for certain, cut the link at both.
#[derive(Clone, Debug)]
pub struct LinkFilter {
    links: Arc<Links>,
}

#[derive(Debug)]
struct Links {
    /// How many are cut; the fast path looks at nothing else.
    cut: AtomicUsize,
    daemons: Vec<AtomicBool>,
}

impl LinkFilter {
    /// All links whole.
    pub(crate) fn new(daemons: usize) -> Self {
        let daemons = (0..daemons).map(|_| AtomicBool::new(false)).collect();
        Self { links: Arc::new(Links { cut: AtomicUsize::new(0), daemons }) }
    }

    /// Cuts the link to a daemon.
    pub fn cut(&self, daemon: DaemonId) {
        self.set(daemon, true);
    }

    /// Makes the link to a daemon whole again.
    pub fn heal(&self, daemon: DaemonId) {
        self.set(daemon, false);
    }

    /// Cuts the links to exactly these daemons, and heals all others.
    pub fn cut_exactly(&self, daemons: &[DaemonId]) {
        for index in 0..self.links.daemons.len() {
            let daemon = DaemonId(u16::try_from(index).unwrap_or(u16::MAX));
            self.set(daemon, daemons.contains(&daemon));
        }
    }

    /// Whether the link to a daemon is cut.
    #[must_use]
    pub fn is_cut(&self, daemon: DaemonId) -> bool {
        self.links.daemons.get(daemon.index()).is_some_and(|cut| cut.load(Ordering::Relaxed))
    }

    /// Whether no link is cut.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.links.cut.load(Ordering::Relaxed) == 0
    }

    fn set(&self, daemon: DaemonId, cut: bool) {
        let Some(link) = self.links.daemons.get(daemon.index()) else { return };
        match (link.swap(cut, Ordering::Relaxed), cut) {
            (false, true) => drop(self.links.cut.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.links.cut.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_cut_and_healed_one_by_one_or_together() {
        let filter = LinkFilter::new(3);
        assert!(filter.is_whole());
        filter.cut(DaemonId(1));
        filter.cut(DaemonId(1));
        assert!(filter.is_cut(DaemonId(1)) && !filter.is_whole());
        filter.cut_exactly(&[DaemonId(0), DaemonId(2)]);
        assert!(!filter.is_cut(DaemonId(1)) && filter.is_cut(DaemonId(2)));
        filter.cut_exactly(&[]);
        assert!(filter.is_whole());
        filter.cut(DaemonId(9));
        assert!(filter.is_whole(), "a daemon that is not configured has no link");
    }
}
