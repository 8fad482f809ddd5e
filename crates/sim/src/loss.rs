//! What loss costs: how long a burst of messages takes on links that lose datagrams, with default settings.
//!
//! Half of the daemons serve one sender each, every daemon one receiver. Times are virtual, from the first message
//! sent to the last one read; medians over some runs.

use std::time::Duration;

use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel;

use crate::network::Quality;
use crate::world::{ClientId, Fault, Settings, World};

/// Messages of all senders together; each fills most of a packet.
const MESSAGES: usize = 3000;
const BODY_BYTES: usize = 1300;

/// What a burst cost.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Cost {
    /// Until the last message was read by all.
    pub took: Duration,
    /// Copies of packets that were sent to each daemon, for each message.
    pub packets_a_message: f64,
    /// New configurations.
    pub installs: usize,
}

impl Cost {
    /// The run with the median time among so many, the seeds `0..runs`.
    #[must_use]
    pub fn median(daemons: usize, loss_ppm: u32, service: ServiceLevel, runs: u64) -> Option<Self> {
        let mut costs: Vec<Self> = (0..runs).map(|seed| Self::of(daemons, loss_ppm, service, seed)).collect();
        costs.sort_by_key(|cost| cost.took);
        costs.get(costs.len() / 2).copied()
    }

    fn of(daemons: usize, loss_ppm: u32, service: ServiceLevel, seed: u64) -> Self {
        let mut world = World::new(seed, Settings { daemons, ..Settings::default() });
        world.run_until_one_ring();
        let clients: Vec<ClientId> = (0..daemons).map(|host| world.client_in(host, "c", "g")).collect();
        world.run_until_quiet();
        world.apply(Fault::Links(Quality { loss_ppm, ..Quality::default() }));
        let packets = |world: &World| world.network.tally.of(DatagramKind::Packet);
        let (begun, sent, installs) = (world.now(), packets(&world), world.installs());
        let senders = daemons.div_ceil(2);
        let last: Vec<_> = clients
            .iter()
            .take(senders)
            .filter_map(|sender| {
                (0..MESSAGES / senders).map(|_| world.cast(*sender, "g", service, BODY_BYTES)).last()
            })
            .collect();
        world.wait_for("the last messages", |world| {
            clients.iter().all(|client| last.iter().all(|message| world.has_read(*client, *message)))
        });
        let copies = (packets(&world) - sent) as f64 / (daemons - 1).max(1) as f64;
        Self {
            took: world.now().since(begun),
            packets_a_message: copies / MESSAGES as f64,
            installs: world.installs() - installs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_costs_time_and_packets_and_no_configuration() {
        let cost = |loss_ppm| Cost::median(3, loss_ppm, ServiceLevel::Agreed, 3).expect("three runs");
        let (whole, lossy) = (cost(0), cost(50_000));
        assert!(whole.took < lossy.took && lossy.took < whole.took * 10, "{whole:?} {lossy:?}");
        assert!(whole.packets_a_message < lossy.packets_a_message, "{whole:?} {lossy:?}");
        assert_eq!((whole.installs, lossy.installs), (0, 0));
    }
}
