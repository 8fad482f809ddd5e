//! One directed link.

use std::time::Duration;

use antiphon_proto::Channel;
use antiphon_proto::time::Instant;
use antiphon_wire::ring::DatagramKind;

/// What a link does to datagrams. Chances are in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quality {
    /// Least time on the way.
    pub delay: Duration,
    /// Most time on top of it, evenly distributed.
    pub jitter: Duration,
    /// Chance of being lost.
    pub loss_ppm: u32,
    /// Loss in bursts, on top of it.
    pub burst: Option<Burst>,
    /// Chance of being delivered twice.
    pub duplicate_ppm: u32,
    /// Chance of being held up by `held_up`, so that followers overtake.
    pub reorder_ppm: u32,
    /// How long at most.
    pub held_up: Duration,
    /// Chance of being damaged.
    pub corrupt_ppm: u32,
    /// Longer datagrams do not get through.
    pub longest: usize,
    /// Further time on the way for what is sent to all, as of a switch that copies it slowly.
    pub data_late: Duration,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(100),
            jitter: Duration::from_micros(20),
            loss_ppm: 0,
            burst: None,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            held_up: Duration::from_millis(2),
            corrupt_ppm: 0,
            longest: usize::MAX,
            data_late: Duration::ZERO,
        }
    }
}

/// Loss in bursts (Gilbert's model): a link is good or bad, and a bad one loses most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    /// Chance that a good link turns bad, for each datagram.
    pub begin_ppm: u32,
    /// Chance that a bad link turns good, for each datagram.
    pub end_ppm: u32,
    /// Chance of loss on a bad link.
    pub loss_ppm: u32,
}

/// One directed link between two hosts.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it does to datagrams.
    pub quality: Quality,
    /// Whether nothing gets through.
    pub cut: bool,
    /// Whether nothing gets through that is told to one daemon alone, as when a firewall knows one port and not
    /// the other.
    pub control_cut: bool,
    /// Kinds that do not get through.
    pub dropped_kinds: Vec<DatagramKind>,
    bad: bool,
    last_arrival: Instant,
    last_data_arrival: Instant,
}

/// Whether something of that chance happens now. A chance of 0 draws nothing.
pub(super) fn strikes(ppm: u32, rng: &mut fastrand::Rng) -> bool {
    ppm > 0 && rng.u32(..1_000_000) < ppm
}

/// A random part of a duration.
fn part(of: Duration, rng: &mut fastrand::Rng) -> Duration {
    let nanos = u64::try_from(of.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(if nanos == 0 { 0 } else { rng.u64(..=nanos) })
}

impl Link {
    pub(super) fn new(quality: Quality) -> Self {
        Self {
            quality,
            cut: false,
            control_cut: false,
            dropped_kinds: Vec::new(),
            bad: false,
            last_arrival: Instant(0),
            last_data_arrival: Instant(0),
        }
    }

    pub(super) fn loses(&mut self, rng: &mut fastrand::Rng) -> bool {
        let Some(burst) = self.quality.burst else { return strikes(self.quality.loss_ppm, rng) };
        let turn = if self.bad { burst.end_ppm } else { burst.begin_ppm };
        self.bad ^= strikes(turn, rng);
        strikes(if self.bad { burst.loss_ppm } else { self.quality.loss_ppm }, rng)
    }

    /// When a datagram sent now arrives, and whether it was held up. Others arrive in order.
    pub(super) fn arrival(
        &mut self,
        now: Instant,
        channel: Channel,
        rng: &mut fastrand::Rng,
    ) -> (Instant, bool) {
        let at = now + self.quality.delay + part(self.quality.jitter, rng);
        if channel == Channel::Data && !self.quality.data_late.is_zero() {
            self.last_data_arrival = self.last_data_arrival.max(at + self.quality.data_late);
            return (self.last_data_arrival, false);
        }
        if strikes(self.quality.reorder_ppm, rng) {
            return (at + part(self.quality.held_up, rng), true);
        }
        self.last_arrival = self.last_arrival.max(at);
        (self.last_arrival, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_reordering_datagrams_arrive_in_order() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut link = Link::new(Quality { jitter: Duration::from_millis(5), ..Quality::default() });
        let arrivals: Vec<Instant> =
            (0..100).map(|at| link.arrival(Instant(at), Channel::Data, &mut rng).0).collect();
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn bursts_come_in_runs() {
        let mut rng = fastrand::Rng::with_seed(7);
        let burst = Burst { begin_ppm: 10_000, end_ppm: 100_000, loss_ppm: 1_000_000 };
        let mut link = Link::new(Quality { burst: Some(burst), ..Quality::default() });
        let lost: Vec<bool> = (0..10_000).map(|_| link.loses(&mut rng)).collect();
        let losses = lost.iter().filter(|lost| **lost).count();
        let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!(losses > 300 && runs * 5 < losses, "{losses} losses in {runs} runs");
    }
}
