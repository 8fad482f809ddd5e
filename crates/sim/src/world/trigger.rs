//! Faults that strike at the steps of the protocol itself.
//!
//! Faults at random times hardly ever meet the few microseconds in which a membership attempt is
//! decided. These watch what daemons say about themselves and what they send, and strike there.

use std::time::Duration;

use antiphon_proto::StateName;
use antiphon_wire::ring::DatagramKind;

use super::{Fault, World};

/// A step of the protocol at some host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// Membership entered the state of that name.
    State(StateName),
    /// A ring was installed.
    Installed,
    /// The groups exchange was completed.
    Settled,
    /// A datagram of that kind is about to be sent.
    Sends(DatagramKind),
}

impl Point {
    /// How much rarer than others this point should strike, because it comes more often.
    fn commonness(self) -> u32 {
        match self {
            Self::Sends(DatagramKind::Token | DatagramKind::Packet) => 100,
            Self::Sends(DatagramKind::Join | DatagramKind::Hello | DatagramKind::Wake) => 10,
            Self::Sends(_) | Self::State(_) | Self::Installed | Self::Settled => 1,
        }
    }

    /// The bit of [`Triggers::points`] that enables this point.
    fn bit(self) -> u8 {
        match self {
            Self::State(_) => 1,
            Self::Installed | Self::Settled => 2,
            Self::Sends(DatagramKind::Token | DatagramKind::Packet) => 4,
            Self::Sends(_) => 8,
        }
    }
}

/// Which steps faults follow, how often, and which faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Triggers {
    /// Chance at each step, in parts per million.
    pub chance_ppm: u32,
    /// Bit set of the enabled points: 1 states, 2 installations, 4 tokens and packets, 8 other datagrams.
    pub points: u8,
    /// Bit set of the enabled faults: 1 isolation, 2 one-way cut, 4 crash of another, 8 crash while
    /// sending, 16 pause, 32 resurrection, 64 silent crash.
    pub faults: u8,
}

impl World {
    /// A host is at a step of the protocol: perhaps something happens.
    pub(super) fn trigger(&mut self, host: usize, point: Point) {
        let Some(triggers) = self.triggers else { return };
        if triggers.points & point.bit() == 0 {
            return;
        }
        let dice = self.rng.u32(..1_000_000_u32.saturating_mul(point.commonness()));
        if dice >= triggers.chance_ppm {
            return;
        }
        if let Some(fault) = self.draw(host, triggers.faults) {
            self.recorder.remark(self.now, format!("TRIGGER at {} {point:?}", super::daemon_id(host)));
            self.apply(fault);
        }
    }

    /// Draws a fault around a host.
    fn draw(&mut self, host: usize, enabled: u8) -> Option<Fault> {
        let other = self.rng.usize(..self.hosts.len());
        let kind = 1_u8 << self.rng.u32(..7);
        if enabled & kind == 0 {
            return None;
        }
        match kind {
            1 => {
                let sides = (0..self.hosts.len()).map(|at| usize::from(at == host));
                Some(Fault::Partition(sides.collect()))
            }
            2 if other != host => Some(match self.rng.bool() {
                true => Fault::CutOneWay { from: host, to: other },
                false => Fault::CutOneWay { from: other, to: host },
            }),
            4 if other != host => Some(Fault::Crash { host: other, silent: false }),
            8 => Some(Fault::CrashWhileSending { host, bursts: self.rng.usize(..4) }),
            16 => {
                let duration = Duration::from_millis(self.rng.u64(5..700));
                Some(Fault::Pause { host: other, duration })
            }
            32 => Some(Fault::Resurrect(self.rng.usize(1..20))),
            64 if other != host => Some(Fault::Crash { host: other, silent: true }),
            _ => None,
        }
    }
}
