//! The stories into which something goes wrong.
//!
//! Each begins when a ring of a few daemons, with one client each, has come to rest; or with the first boot.

use std::ops::Range;
use std::time::Duration;

use antiphon_wire::names::GroupName;
use antiphon_wire::ring::DatagramKind;
use antiphon_wire::service::ServiceLevel::{Agreed, Causal, Fifo, Reliable, Safe, Unreliable};
use clap::ValueEnum;

use crate::client::Cast;
use crate::scenario::ms;
use crate::workload::group;
use crate::world::{ClientId, Fault, Settings, World};

/// Groups of [`Story::BigMerge`].
const MANY_GROUPS: usize = 80;
/// How long a partition lasts that is to heal: rings have formed on both sides.
const PARTED: Duration = ms(1500);

/// What happens anyway. Its first moments are the ones at which something goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Story {
    /// Daemons boot.
    Boot,
    /// Messages of all levels are sent.
    Messages,
    /// The same with windows of one packet.
    NarrowWindows,
    /// A large message is sent while the ring parts.
    LargeMessages,
    /// A daemon dies.
    Crash,
    /// The leader of the ring dies.
    LeaderCrash,
    /// A daemon dies whose packets some of the others lack.
    Hole,
    /// A daemon is restarted.
    Restart,
    /// The leader of the ring is restarted.
    LeaderRestart,
    /// A daemon is restarted with a calendar of an hour ago.
    Calendar,
    /// A daemon leaves.
    Leave,
    /// The leader of the ring leaves.
    LeaderLeave,
    /// Two daemons stand still, one after the other.
    Pauses,
    /// The ring parts.
    Split,
    /// Two rings merge.
    Merge,
    /// Two rings merge while messages are sent.
    BusyMerge,
    /// Two rings merge with many groups, whose exchange takes many datagrams.
    BigMerge,
    /// Two rings merge whose clients have joined groups and then join more.
    Joins,
    /// Three rings merge.
    ThreeRings,
    /// Six daemons that are alone merge.
    SixRings,
    /// The files list one daemon more, which boots.
    Reload,
    /// The same, and a daemon with the old file is restarted meanwhile.
    ReloadRestart,
    /// The files list fewer daemons.
    ReloadFewer,
}

impl Story {
    /// How the world of the story is set up.
    #[must_use]
    pub fn settings(self) -> Settings {
        let mut settings = Settings { daemons: 4, ..Settings::default() };
        match self {
            Self::NarrowWindows => {
                settings.ring.windows.personal = 1;
                settings.ring.windows.all = 4;
                settings.ring.windows.after_token = 1;
            }
            Self::BigMerge => settings.ring.datagram_bytes = 700,
            Self::ThreeRings | Self::SixRings => settings.daemons = 6,
            Self::Reload | Self::ReloadRestart | Self::ReloadFewer => {
                settings.daemons = 5;
                settings.newcomers = 1;
            }
            _ => {}
        }
        settings
    }

    /// What comes before the story. Returns the clients.
    pub(super) fn prepare(self, world: &mut World) -> Vec<ClientId> {
        if self == Self::Boot {
            return Vec::new();
        }
        world.run_until_one_ring();
        let hosts = world.settings().daemons - world.settings().newcomers;
        let clients: Vec<ClientId> = (0..hosts).map(|host| world.client_in(host, "c", "g")).collect();
        if self == Self::BigMerge {
            for at in 0..MANY_GROUPS {
                for client in clients.iter().skip(at % 2).step_by(2) {
                    world.join(*client, many(at));
                }
            }
        }
        world.run_until_quiet();
        clients
    }

    /// Begins, with the faults of the story itself.
    pub(super) fn begin(self, world: &mut World, clients: &[ClientId]) {
        match self {
            Self::Boot => {}
            Self::Messages | Self::NarrowWindows => send(world, clients),
            Self::LargeMessages => {
                let sent = clients.iter().zip([(Safe, 40_000), (Agreed, 20_000)]);
                for (client, (level, bytes)) in sent {
                    world.cast(*client, "g", level, bytes);
                }
                world.run(ms(1));
                world.apply(Fault::Partition(vec![0, 0, 0, 1]));
            }
            Self::Crash => send_and_apply(world, clients, Fault::Crash { host: 3, silent: false }),
            Self::LeaderCrash => send_and_apply(world, clients, Fault::Crash { host: 0, silent: true }),
            Self::Hole => {
                world.drop_from(3, DatagramKind::Packet);
                world.network.link(0, 2).dropped_kinds.push(DatagramKind::Packet);
                send(world, clients);
                world.run(ms(6));
                world.apply(Fault::Crash { host: 3, silent: true });
                world.apply(Fault::Heal);
            }
            Self::Restart => send_and_apply(world, clients, Fault::Restart { host: 1, after: ms(5) }),
            Self::LeaderRestart => send_and_apply(world, clients, Fault::Restart { host: 0, after: ms(5) }),
            Self::Calendar => {
                world.apply(Fault::SetCalendar { host: 1, late: Duration::from_secs(3600) });
                send_and_apply(world, clients, Fault::Restart { host: 1, after: ms(5) });
            }
            Self::Leave => send_and_apply(world, clients, Fault::Shutdown(2)),
            Self::LeaderLeave => send_and_apply(world, clients, Fault::Shutdown(0)),
            Self::Pauses => {
                send_and_apply(world, clients, Fault::Pause { host: 2, duration: ms(1500) });
                world.run(ms(250));
                world.apply(Fault::Pause { host: 1, duration: ms(800) });
            }
            Self::Split => send_and_apply(world, clients, Fault::Partition(vec![0, 0, 1, 1])),
            Self::Merge
            | Self::BusyMerge
            | Self::BigMerge
            | Self::Joins
            | Self::ThreeRings
            | Self::SixRings => {
                self.begin_to_merge(world, clients);
            }
            Self::Reload | Self::ReloadRestart | Self::ReloadFewer => self.begin_to_reload(world, clients),
        }
    }

    fn begin_to_merge(self, world: &mut World, clients: &[ClientId]) {
        if self == Self::Joins {
            join(world, clients, "x");
        }
        let sides = match self {
            Self::Merge | Self::Joins => vec![0, 0, 1, 1],
            Self::ThreeRings => vec![0, 1, 2, 0, 1, 2],
            Self::SixRings => vec![0, 1, 2, 3, 4, 5],
            _ => vec![0, 1, 0, 1],
        };
        world.apply(Fault::Partition(sides));
        world.run(PARTED);
        match self {
            Self::Merge => {
                send(world, clients);
                world.run_until_quiet();
            }
            Self::BigMerge => {
                for (client, at) in
                    clients.iter().flat_map(|client| (0..MANY_GROUPS / 4).map(move |at| (client, at)))
                {
                    world.leave(*client, many(at));
                }
                world.run(ms(500));
            }
            Self::Joins => join(world, clients, "y"),
            _ => {}
        }
        world.apply(Fault::Heal);
        if matches!(self, Self::BusyMerge | Self::BigMerge) {
            send(world, clients);
        }
    }

    fn begin_to_reload(self, world: &mut World, clients: &[ClientId]) {
        let (hosts, listed) = match self {
            Self::ReloadFewer => (0..5, 3),
            Self::ReloadRestart => (0..3, 5),
            _ => (0..4, 5),
        };
        reload(world, hosts, listed);
        send(world, clients);
        if self == Self::ReloadRestart {
            world.apply(Fault::Restart { host: 3, after: ms(30) });
            reload(world, 3..4, 5);
        }
        if self != Self::ReloadFewer {
            reload(world, 4..5, 5);
            world.apply(Fault::Restart { host: 4, after: Duration::ZERO });
        }
    }

    /// Whether the story leaves cuts that must end for all daemons to become one ring.
    #[must_use]
    pub(super) fn parts(self) -> bool {
        matches!(self, Self::LargeMessages | Self::Split)
    }
}

fn send_and_apply(world: &mut World, clients: &[ClientId], fault: Fault) {
    send(world, clients);
    for _ in 0..60 {
        world.step();
    }
    world.apply(fault);
}

/// Every client that can sends a message of each level, of various sizes.
pub(super) fn send(world: &mut World, clients: &[ClientId]) {
    let sizes = [
        (Safe, 100),
        (Agreed, 3000),
        (Fifo, 10),
        (Unreliable, 50),
        (Safe, 2000),
        (Causal, 5),
        (Reliable, 700),
    ];
    for client in clients {
        for (service, body_bytes) in sizes {
            let cast = Cast { service, groups: vec![group("g")], self_discard: false, body_bytes };
            world.multicast(*client, cast);
        }
    }
}

fn join(world: &mut World, clients: &[ClientId], name: &str) {
    for client in clients {
        world.join(*client, group(name));
    }
}

fn many(at: usize) -> GroupName {
    group(&format!("group-with-a-long-name-{at}"))
}

fn reload(world: &mut World, hosts: Range<usize>, listed: usize) {
    for host in hosts {
        world.apply(Fault::Reload { host, listed });
    }
}
