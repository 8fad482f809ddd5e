//! A seed becomes a whole run.
//!
//! Each seed draws its own settings, its own subset of faults and its own load (swarm testing), then
//! runs a phase of faults, and ends in one of two ways: everything heals, or links freeze in some
//! pattern. Both ends give the daemons time and then expect silence (docs/testing.md, L1 to L3 and L14).

mod chaos;
mod options;
pub mod reduction;

use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_wire::ring::DatagramKind;

pub use chaos::Faults;
pub use options::Options;

use crate::network::Quality;
use crate::trace::Ending;
use crate::workload::Workload;
use crate::world::{Fault, World};

/// Events after which a run is given up: some daemon must be spinning.
const MAX_EVENTS: u64 = 6_000_000;

/// How long a later run of a daemon is remembered by the others, and a little.
const FORGET_INCARNATION: Duration = Duration::from_millis(3200);

/// How long what was sent may take to be delivered in the end.
const MAX_DRAIN: Duration = Duration::from_secs(60);

/// A run in progress. It outlives a panic of the core, so that its trace can be read.
pub struct Swarm {
    /// What the seed drew.
    pub options: Options,
    /// The world.
    pub world: World,
    workload: Workload,
}

impl Swarm {
    /// The world of a seed, before anything has happened.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Options::draw(seed))
    }

    /// A world with given options.
    #[must_use]
    pub fn with(seed: u64, options: Options) -> Self {
        let mut world = World::new(seed, options.settings.clone());
        let (clients, groups) = (options.clients_per_host, options.groups);
        let mut workload = Workload::new(&mut world, options.mix, clients, groups);
        workload.add_flush_clients(&mut world, options.flush_clients_per_host, options.flush_limit);
        Self { options, world, workload }
    }

    /// Runs to the end.
    pub fn run(&mut self) {
        self.world.set_triggers(self.options.triggers);
        self.pass(Duration::from_millis(20), false);
        self.workload.connect_all(&mut self.world);
        self.pass(self.options.chaos, true);
        if self.options.freezes { self.freeze() } else { self.heal() }
    }

    /// Whether the run was given up.
    #[must_use]
    pub fn is_spinning(&self) -> bool {
        self.world.happened() >= MAX_EVENTS
    }

    /// Lets time pass with load, and with faults if `faults`.
    fn pass(&mut self, duration: Duration, faults: bool) {
        let end = self.world.now() + duration;
        let mut next_load = self.later(self.options.load_gap);
        let mut next_fault = self.later(self.options.fault_gap);
        while self.world.now() < end && !self.is_spinning() {
            let next = next_load.min(next_fault).min(end);
            self.world.run_until(next);
            if next == next_load {
                for _ in 0..self.world.rng.usize(1..=self.options.load_burst) {
                    self.workload.act(&mut self.world);
                }
                next_load = self.later(self.options.load_gap);
            }
            if next == next_fault {
                if faults {
                    self.options.faults.strike(&mut self.world);
                }
                next_fault = self.later(self.options.fault_gap);
            }
        }
    }

    fn later(&mut self, mean: Duration) -> Instant {
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
        self.world.now() + Duration::from_micros(self.world.rng.u64(1..=micros * 2))
    }

    /// Lets time pass without load or faults.
    fn rest(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while self.world.now() < end && !self.is_spinning() {
            let next = (self.world.now() + Duration::from_millis(10)).min(end);
            self.world.run_until(next);
        }
    }

    /// Waits until nothing is left to deliver: narrow windows and lossy ways may take long, and a
    /// large message may take many rounds in which packets are all that there is to see.
    fn drain(&mut self) {
        let until = self.world.now() + MAX_DRAIN;
        let silence = Duration::from_millis(if self.options.settings.is_wide_area() { 5000 } else { 500 });
        let progress = |world: &World| (world.recorder.records, world.network.tally.of(DatagramKind::Packet));
        let mut seen = None;
        while seen != Some(progress(&self.world)) && self.world.now() < until {
            seen = Some(progress(&self.world));
            self.rest(silence);
        }
    }

    /// A little load on links that lose a little: lost packets are sent again, and no ring breaks.
    fn bear_loss(&mut self) {
        if self.options.quiet_loss_ppm == 0 {
            return;
        }
        let good = self.options.good_links();
        let loss_ppm = self.options.quiet_loss_ppm;
        self.world.apply(Fault::Links(Quality { loss_ppm, ..good }));
        self.options.load_gap = self.options.load_gap * 2 + Duration::from_millis(10);
        // What is in small packets with a small window takes longer than the quiet time.
        self.workload.limit_bodies(1000);
        self.pass(self.options.quiet_time(), false);
        self.world.apply(Fault::Links(good));
    }

    fn heal(&mut self) {
        self.world.heal_everything(self.options.good_links());
        let healed = self.world.now();
        self.pass(Duration::from_millis(300), false);
        self.rest(self.options.convergence_time());
        let converged = self.world.now();
        self.bear_loss();
        self.drain();
        self.haunt();
        self.rest(self.options.quiet_time());
        let sent = self.world.network.tally.sent;
        self.rest(Duration::from_secs(1));
        let (end, idle_datagrams) = (self.world.now(), self.world.network.tally.sent - sent);
        self.world.recorder.trace.ending = Ending::Healed {
            healed,
            converged,
            end,
            idle_datagrams,
            idle_budget: self.world.settings().idle_datagrams(),
            leftovers: self.world.leftovers(),
        };
    }

    /// What was thought lost arrives in a ring that has been quiet for seconds. Not where calendars were
    /// set back: what a run before that said looks like a word of a later one, and who was not there
    /// then takes it for a restart (seed 20000166); one configuration too many is all it does.
    fn haunt(&mut self) {
        if self.options.late_ghosts > 0 && !self.options.faults.calendars {
            self.rest(FORGET_INCARNATION);
            self.world.apply(Fault::Resurrect(self.options.late_ghosts));
        }
    }

    /// Cuts some links in one direction or both, for ever; everything else heals.
    fn freeze(&mut self) {
        self.world.heal_everything(self.options.good_links());
        let hosts = self.options.settings.daemons;
        for _ in 0..self.world.rng.usize(1..=hosts) {
            let (from, to) = (self.world.rng.usize(..hosts), self.world.rng.usize(..hosts));
            if from != to {
                let both = self.world.rng.bool();
                self.world.apply(match both {
                    true => Fault::CutBothWays(from, to),
                    false => Fault::CutOneWay { from, to },
                });
            }
        }
        self.options.load_gap = self.options.load_gap * 4 + Duration::from_millis(20);
        self.pass(self.options.convergence_time(), false);
        self.rest(self.options.convergence_time());
        self.drain();
        let stable = self.world.now();
        self.rest(self.options.quiet_time() + Duration::from_secs(1));
        let (reaches, end) = (self.world.network.reaches(), self.world.now());
        self.world.recorder.trace.ending = Ending::Frozen { reaches, stable, end };
    }
}

impl Options {
    /// The links of the quiet phase.
    #[must_use]
    pub fn good_links(&self) -> Quality {
        let quality = self.settings.quality;
        Quality { delay: quality.delay, jitter: quality.jitter, ..Quality::default() }
    }

    /// How long daemons may take to form one ring once everything is well: a lost token, several
    /// attempts, and the time to find each other.
    #[must_use]
    pub fn convergence_time(&self) -> Duration {
        let (ring, membership) = (&self.settings.ring, &self.settings.membership);
        let attempt = membership.gather + membership.attempt_deadline + membership.fresh;
        // A run that has an older date than the one before is believed once that one is forgotten.
        let date = if self.faults.calendars { FORGET_INCARNATION } else { Duration::ZERO };
        date + ring.token_loss * 3 + ring.deaf * 2 + attempt * 8 + membership.hello * 12
    }

    /// How long nothing may change after that.
    #[must_use]
    pub fn quiet_time(&self) -> Duration {
        let (ring, membership) = (&self.settings.ring, &self.settings.membership);
        ring.token_loss * 2 + ring.deaf + membership.hello * 4
    }
}
