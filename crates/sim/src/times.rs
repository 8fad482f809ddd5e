//! How long daemons take to see that something happened, over many runs with default settings.
//!
//! Each run is a ring on a local network, idle or with messages on their way, to which one thing
//! happens at a random moment. Times are virtual, from the cause to the moment at which the last
//! daemon concerned has installed its new configuration; a stall must cause none.

use std::fmt;
use std::time::Duration;

use antiphon_proto::time::Instant;
use antiphon_wire::service::ServiceLevel;

use crate::network::Quality;
use crate::world::{ClientId, Fault, Settings, World};

/// Messages that each client of a busy ring sends just before.
const BURST: usize = 20;
/// How long a stalled ring is watched.
const WATCHED: Duration = Duration::from_secs(1);

/// What happens to the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occasion {
    /// A daemon dies.
    Crash,
    /// A daemon is asked to leave.
    Leave,
    /// The two parts of a ring that was cut hear each other again.
    Heal,
    /// A host stands still for less than the time after which a token counts as lost.
    Stall,
    /// All hosts stand still together, for up to a second, as guests of one machine do.
    StallOfAll,
    /// Every host has its processor only half of the time, in slices of up to 20 ms.
    HalfTime,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Crash, Self::Leave, Self::Heal, Self::Stall, Self::StallOfAll, Self::HalfTime];

    /// Whether the configuration must not change.
    #[must_use]
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Stall | Self::StallOfAll | Self::HalfTime)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Crash => "crash to view",
            Self::Leave => "leave to view",
            Self::Heal => "heal to merge",
            Self::Stall => "stall of one",
            Self::StallOfAll => "stall of all",
            Self::HalfTime => "half the processor",
        })
    }
}

/// What many runs of one occasion showed.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// What happened.
    pub occasion: Occasion,
    /// To how many daemons.
    pub daemons: usize,
    /// The times, ascending. For harmless occasions, one for each run in which the configuration
    /// changed nevertheless.
    pub times: Vec<Duration>,
    /// How many runs there were.
    pub runs: u64,
}

impl Distribution {
    /// Runs the seeds `0..runs`.
    #[must_use]
    pub fn measure(occasion: Occasion, daemons: usize, runs: u64) -> Self {
        let mut times: Vec<Duration> =
            (0..runs).filter_map(|seed| Run::new(daemons, seed).time(occasion)).collect();
        times.sort_unstable();
        Self { occasion, daemons, times, runs }
    }

    /// The time that a share of the runs did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(rank).copied().unwrap_or_default()
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20}{:>8}{:>8}", self.occasion, self.daemons, self.runs)?;
        if self.occasion.is_harmless() {
            return write!(f, "   {} false views", self.times.len());
        }
        for percent in [50, 90, 99, 100] {
            write!(f, "{:>10.1}", self.percentile(percent).as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

struct Run {
    world: World,
    daemons: usize,
}

impl Run {
    /// A ring at a random moment of its life.
    fn new(daemons: usize, seed: u64) -> Self {
        let quality = Quality {
            delay: Duration::from_micros(50),
            jitter: Duration::from_micros(50),
            ..Quality::default()
        };
        let mut world = World::new(seed, Settings { daemons, quality, ..Settings::default() });
        world.run_until_one_ring();
        let clients: Vec<ClientId> = (0..daemons).map(|host| world.client_in(host, "c", "g")).collect();
        let wait = Duration::from_micros(world.rng.u64(200_000..700_000));
        world.run(wait);
        if seed % 2 == 1 {
            for client in clients.into_iter().cycle().take(daemons * BURST) {
                world.cast(client, "g", ServiceLevel::Agreed, 500);
            }
        }
        Self { world, daemons }
    }

    fn time(mut self, occasion: Occasion) -> Option<Duration> {
        let host = self.world.rng.usize(..self.daemons);
        let others: Vec<usize> = (0..self.daemons).filter(|other| *other != host).collect();
        match occasion {
            Occasion::Crash => {
                self.world.apply(Fault::Crash { host, silent: false });
                Some(self.time_until_one_ring(&others))
            }
            Occasion::Leave => {
                self.world.apply(Fault::Shutdown(host));
                Some(self.time_until_one_ring(&others))
            }
            Occasion::Heal => Some(self.time_to_merge()),
            Occasion::Stall => {
                let most = self.world.settings().ring.token_loss.as_micros() as u64;
                let duration = Duration::from_micros(self.world.rng.u64(10_000..most));
                self.change_after(&[Fault::Pause { host, duration }])
            }
            Occasion::StallOfAll => {
                let duration = Duration::from_micros(self.world.rng.u64(10_000..1_000_000));
                let stalls: Vec<Fault> =
                    (0..self.daemons).map(|host| Fault::Pause { host, duration }).collect();
                self.change_after(&stalls)
            }
            Occasion::HalfTime => self.change_in_slices(),
        }
    }

    fn time_until_one_ring(&mut self, hosts: &[usize]) -> Duration {
        let since = self.world.now();
        self.world.wait_for("the new configuration", |world| world.are_one_ring(hosts));
        self.world.now().since(since)
    }

    fn time_to_merge(&mut self) -> Duration {
        let cut = self.world.rng.usize(1..self.daemons);
        let side = |host: &usize| usize::from(*host >= cut);
        let all: Vec<usize> = (0..self.daemons).collect();
        self.world.apply(Fault::Partition(all.iter().map(side).collect()));
        self.world.wait_for("both parts", |world| world.are_one_ring(&all[..cut]));
        self.world.wait_for("both parts", |world| world.are_one_ring(&all[cut..]));
        let wait = Duration::from_micros(self.world.rng.u64(..1_000_000));
        self.world.run(wait);
        self.world.apply(Fault::Heal);
        self.time_until_one_ring(&all)
    }

    fn change_after(&mut self, faults: &[Fault]) -> Option<Duration> {
        let (since, installs) = (self.world.now(), self.world.installs());
        for fault in faults {
            self.world.apply(fault.clone());
        }
        self.watch(since, installs, since + WATCHED * 2)
    }

    fn change_in_slices(&mut self) -> Option<Duration> {
        let (since, installs) = (self.world.now(), self.world.installs());
        for slice in 0..100 {
            for host in 0..self.daemons {
                let duration = Duration::from_micros(self.world.rng.u64(..20_000));
                self.world.apply(Fault::Pause { host, duration });
            }
            let end = since + Duration::from_millis(20 * (slice + 1));
            if let Some(changed) = self.watch(since, installs, end) {
                return Some(changed);
            }
        }
        None
    }

    /// When the configuration changes, if it does before `end`.
    fn watch(&mut self, since: Instant, installs: usize, end: Instant) -> Option<Duration> {
        while self.world.now() < end {
            self.world.run(Duration::from_millis(1));
            if self.world.installs() != installs {
                return Some(self.world.now().since(since));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: u64 = 10;

    #[test]
    fn views_come_in_time() {
        for (occasion, bound_ms) in [(Occasion::Crash, 300), (Occasion::Leave, 20), (Occasion::Heal, 1000)] {
            for daemons in [2, 5] {
                let longest = Distribution::measure(occasion, daemons, RUNS).percentile(100);
                assert!(longest < Duration::from_millis(bound_ms), "{occasion}: {longest:?}");
            }
        }
    }

    #[test]
    fn daemons_that_stand_still_are_not_accused() {
        for occasion in Occasion::ALL.into_iter().filter(|occasion| occasion.is_harmless()) {
            let times = Distribution::measure(occasion, 4, RUNS).times;
            assert!(times.is_empty(), "{occasion}: {times:?}");
        }
    }
}
