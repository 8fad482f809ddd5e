//! Faults at random times.

use std::time::Duration;

use super::options;
use crate::world::{Fault, World};

/// Which faults a seed has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Partitions.
    pub partitions: bool,
    /// Cuts of single links, in one direction or both.
    pub cuts: bool,
    /// Hosts that hear nobody, or that nobody hears.
    pub deafness: bool,
    /// Crashes and restarts.
    pub crashes: bool,
    /// Requests to stop.
    pub shutdowns: bool,
    /// Pauses and slow hosts.
    pub pauses: bool,
    /// Links of changing quality.
    pub weather: bool,
    /// Datagrams that come back.
    pub resurrections: bool,
    /// Links that go down and up.
    pub flapping: bool,
    /// Clocks that leap.
    pub leaps: bool,
    /// Calendars that are set back.
    pub calendars: bool,
    /// Files that list more or fewer daemons.
    pub reloads: bool,
    /// Ports for what is told to one host alone that let nothing in.
    pub closed_ports: bool,
}

impl Faults {
    /// Draws a subset.
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        Self {
            partitions: rng.u32(..10) < 6,
            cuts: rng.u32(..10) < 4,
            deafness: rng.u32(..10) < 3,
            crashes: rng.u32(..10) < 6,
            shutdowns: rng.u32(..10) < 3,
            pauses: rng.u32(..10) < 5,
            weather: rng.u32(..10) < 5,
            resurrections: rng.u32(..10) < 5,
            flapping: rng.u32(..10) < 3,
            leaps: rng.u32(..10) < 3,
            calendars: rng.u32(..10) < 2,
            reloads: false,
            closed_ports: false,
        }
    }

    /// Applies one fault, or the end of one, unless the one drawn is not in the subset.
    pub(super) fn strike(self, world: &mut World) {
        let fault = match world.rng.u32(..20) {
            0 | 1 if self.partitions => self.partition(world),
            2 if self.cuts => cut(world),
            3 if self.deafness => deafness(world),
            4 | 5 if self.crashes => crash(world),
            6 | 7 => boot(world),
            8 if self.shutdowns => Some(Fault::Shutdown(any(world))),
            9 if self.pauses => pause(world),
            10 if self.pauses => slowness(world),
            11 if self.weather => Some(weather(world)),
            12 if self.resurrections => Some(Fault::Resurrect(world.rng.usize(1..30))),
            13 if self.resurrections => Some(Fault::Strangers(world.rng.usize(1..30))),
            14 if self.flapping => flap(world),
            15 if self.leaps => leap(world),
            16 if self.calendars => Some(calendar(world)),
            17 | 18 if self.reloads => Some(reload(world)),
            19 if self.closed_ports => closed_port(world),
            17..20 => Some(Fault::Heal),
            _ => None,
        };
        if let Some(fault) = fault {
            world.apply(fault);
        }
    }

    fn partition(self, world: &mut World) -> Option<Fault> {
        let sides = world.rng.usize(2..4);
        let hosts = world.settings().daemons;
        Some(Fault::Partition((0..hosts).map(|_| world.rng.usize(..sides)).collect()))
    }
}

fn any(world: &mut World) -> usize {
    let hosts = world.settings().daemons;
    world.rng.usize(..hosts)
}

fn cut(world: &mut World) -> Option<Fault> {
    let (from, to) = (any(world), any(world));
    if from == to {
        return None;
    }
    let one_way = world.rng.u32(..3) != 0;
    Some(if one_way { Fault::CutOneWay { from, to } } else { Fault::CutBothWays(from, to) })
}

fn closed_port(world: &mut World) -> Option<Fault> {
    let (from, to) = (any(world), any(world));
    if from == to {
        return None;
    }
    Some(if world.rng.bool() { Fault::CutControl { from, to } } else { Fault::CloseControl(to) })
}

fn deafness(world: &mut World) -> Option<Fault> {
    let host = any(world);
    Some(if world.rng.bool() { Fault::Deafen(host) } else { Fault::Mute(host) })
}

fn crash(world: &mut World) -> Option<Fault> {
    let host = any(world);
    if !world.is_up(host) {
        return None;
    }
    let after = Duration::from_millis(world.rng.u64(..60));
    Some(match world.rng.u32(..4) {
        0 => Fault::Crash { host, silent: true },
        1 => Fault::CrashWhileSending { host, bursts: world.rng.usize(..3) },
        2 => Fault::Restart { host, after },
        _ => Fault::Crash { host, silent: false },
    })
}

fn boot(world: &mut World) -> Option<Fault> {
    let hosts = world.settings().daemons;
    let down = (0..hosts).find(|host| !world.is_up(*host))?;
    Some(Fault::Restart { host: down, after: Duration::ZERO })
}

/// Other links; those of a wide area network stay as long as they are.
fn weather(world: &mut World) -> Fault {
    let drawn = options::quality(&mut world.rng);
    let settings = world.settings();
    Fault::Links(if settings.is_wide_area() { options::far(settings.quality.delay, drawn) } else { drawn })
}

fn pause(world: &mut World) -> Option<Fault> {
    let longest = if world.settings().is_wide_area() { 8000 } else { 800 };
    let duration = Duration::from_millis(world.rng.u64(5..longest));
    Some(Fault::Pause { host: any(world), duration })
}

fn flap(world: &mut World) -> Option<Fault> {
    let between = (any(world), any(world));
    let period = Duration::from_millis(world.rng.u64(1..120));
    let changes = world.rng.u32(2..20);
    (between.0 != between.1).then_some(Fault::Flap { between, period, changes })
}

fn leap(world: &mut World) -> Option<Fault> {
    let longest = if world.rng.bool() { 50 } else { 5000 };
    let by = Duration::from_millis(world.rng.u64(1..longest));
    Some(Fault::ClockLeap { host: any(world), by })
}

/// By a moment, so that a calendar shows again what it has shown, or by ten days. By more than the 25
/// days after which the 31 bits for the time in group ids begin anew, ids would not grow (seed 242), as
/// they do not for a group that lives so long; nor would the epochs of these short lives be above 0 (seed
/// 30007328).
fn calendar(world: &mut World) -> Fault {
    const TEN_DAYS_MS: u64 = 10 * 24 * 3_600_000;
    let late_ms = if world.rng.bool() { world.rng.u64(1..2000) } else { TEN_DAYS_MS };
    Fault::SetCalendar { host: any(world), late: Duration::from_millis(late_ms) }
}

/// A file that lists all daemons, or some of those that it lacked at first too.
fn reload(world: &mut World) -> Fault {
    let (daemons, newcomers) = (world.settings().daemons, world.settings().newcomers);
    let listed = if world.rng.bool() { daemons } else { daemons - world.rng.usize(..=newcomers) };
    Fault::Reload { host: any(world), listed }
}

fn slowness(world: &mut World) -> Option<Fault> {
    let extra = Duration::from_micros(if world.rng.bool() { 0 } else { world.rng.u64(..2000) });
    Some(Fault::Slow { host: any(world), extra })
}
