//! Work of a fixed size for the core, without faults, checkers or chance: to count instructions, or to take
//! the time of.
//!
//! The same work does the same to the last byte, so that what it costs depends on the code alone.

mod cluster;
mod codec;

use antiphon_wire::service::ServiceLevel;

use self::cluster::{Cluster, Load};

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Frames of clients, packets and tokens, written and read.
    Codec,
    /// Small messages that share packets, between two daemons.
    Packing,
    /// Full packets, of which some are lost and asked for, between eight daemons.
    Window,
    /// Messages to many receivers and to several groups, on one daemon.
    Routing,
    /// Messages of several senders to several receivers on four daemons, as programs send them.
    Cluster,
}

impl Work {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Codec, Self::Packing, Self::Window, Self::Routing, Self::Cluster];

    /// What the kind is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Codec => "codec",
            Self::Packing => "packing",
            Self::Window => "window",
            Self::Routing => "routing",
            Self::Cluster => "cluster",
        }
    }

    /// Does the work for so many messages. Returns how many bytes came out of it, which is always the same.
    ///
    /// # Panics
    /// When the core does not deliver them.
    #[must_use]
    pub fn run(self, messages: u64) -> u64 {
        match self {
            Self::Codec => codec::run(messages),
            Self::Packing => Cluster::run(&Load { body_bytes: 100, ..Load::new(2) }, messages),
            Self::Window => Cluster::run(&Load { lose_every: Some(97), ..Load::new(8) }, messages),
            Self::Routing => Cluster::run(
                &Load { body_bytes: 200, receivers: 100, groups: 10, named: 5, ..Load::new(1) },
                messages,
            ),
            Self::Cluster => Cluster::run(
                &Load {
                    body_bytes: 500,
                    senders: 3,
                    receivers: 5,
                    service: ServiceLevel::Safe,
                    ..Load::new(4)
                },
                messages,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_is_done_and_always_the_same() {
        for work in Work::ALL {
            let bytes = work.run(300);
            assert!(bytes > 300 * 100, "{} made {bytes} bytes", work.name());
            assert_eq!(work.run(300), bytes, "{}", work.name());
        }
    }
}
