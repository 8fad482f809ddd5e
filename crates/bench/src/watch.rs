//! Sessions that hear of every change of the daemons' membership, and say nothing.
//!
//! Receivers of many groups would have the views of each, and senders are in none: so whether a ring broke and
//! formed again is seen by one session on every daemon, in a group of their own.

use std::sync::Barrier;
use std::time::Duration;

use crate::address::Reach;
use crate::crowd::Crowd;
use crate::error::BenchError;
use crate::load::Load;
use crate::progress::Progress;

/// How long the watchers may take to see each other.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often they look whether the run is over.
const NAP: Duration = Duration::from_millis(50);

/// One session on each daemon, which all see each other.
#[derive(Debug)]
pub(crate) struct Watchers {
    crowd: Crowd,
}

impl Watchers {
    /// Returns when all have the view of all. The group is `group`'s companion.
    pub(crate) fn gather(daemons: &[String], reach: &Reach, group: &str) -> Result<Self, BenchError> {
        let mut crowd = Crowd::new()?;
        let group = format!("{group}-watch");
        for (index, address) in daemons.iter().enumerate() {
            crowd.connect(address, reach, true)?;
            crowd.request(index, |outbox| outbox.join(&*group))?;
        }
        crowd.await_views(daemons.len(), PATIENCE)?;
        Ok(Self { crowd })
    }

    /// How many views came since, or come first within `patience`. The network caused them, because of these
    /// sessions none comes or goes.
    pub(crate) fn take_views(&mut self, patience: Duration) -> Result<u64, BenchError> {
        self.crowd.take_views(patience)
    }
}

/// Watches a run until it is over; passes the barrier even without being able to.
pub(crate) fn watch(load: &Load, ready: &Barrier, progress: &Progress) -> Result<(), BenchError> {
    let watchers = Watchers::gather(&load.daemons, &load.reach, &load.group);
    ready.wait();
    let mut watchers = watchers?;
    while !progress.is_over() {
        progress.note_network_views(watchers.take_views(NAP)?);
    }
    progress.note_network_views(watchers.take_views(Duration::ZERO)?);
    Ok(())
}
