//! Faults, as values that can be drawn, applied, counted and printed.

use std::fmt;
use std::time::Duration;

use antiphon_proto::Input;
use antiphon_wire::monitor::WindowChange;
use antiphon_wire::ring;
use bytes::{Bytes, BytesMut};

use super::{Happening, OTHER_CLUSTER, World, cluster, daemon_id};
use crate::network::Quality;

/// Something bad, or the end of it. Hosts are given by position.
#[derive(Clone, PartialEq, Debug)]
pub enum Fault {
    /// The daemon dies; its datagrams still on their way are lost too if `silent`.
    Crash {
        /// Which host.
        host: usize,
        /// Whether its datagrams on their way are lost.
        silent: bool,
    },
    /// The daemon dies in the middle of sending, after that many of its next bursts.
    CrashWhileSending {
        /// Which host.
        host: usize,
        /// How many bursts still leave.
        bursts: usize,
    },
    /// A daemon that is down boots; one that is up is killed first.
    Restart {
        /// Which host.
        host: usize,
        /// How long it stays down.
        after: Duration,
    },
    /// The daemon is asked to leave.
    Shutdown(usize),
    /// The host does nothing for a while.
    Pause {
        /// Which host.
        host: usize,
        /// For how long.
        duration: Duration,
    },
    /// The processor of a host gets slower, or as fast as before.
    Slow {
        /// Which host.
        host: usize,
        /// Extra time for each turn of its loop.
        extra: Duration,
    },
    /// The clock of a host leaps ahead between two readings, as after a sleep of the machine.
    ClockLeap {
        /// Which host.
        host: usize,
        /// How far.
        by: Duration,
    },
    /// The clock of the calendar of a host is set back, or ahead again; the daemon reads it when it boots.
    SetCalendar {
        /// Which host.
        host: usize,
        /// By how much it is late.
        late: Duration,
    },
    /// A link goes down and up again, in both directions, several times.
    Flap {
        /// The two hosts.
        between: (usize, usize),
        /// How long it stays down or up each time.
        period: Duration,
        /// How often it still changes.
        changes: u32,
    },
    /// Nothing gets from one host to another.
    CutOneWay {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// Nothing gets between two hosts.
    CutBothWays(usize, usize),
    /// What is told to one host alone does not reach it from another; gossip and packets do.
    CutControl {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// Nothing that is told to one host alone reaches it from anybody.
    CloseControl(usize),
    /// A host hears nobody.
    Deafen(usize),
    /// A host is heard by nobody.
    Mute(usize),
    /// The hosts fall into parts; the side of each is given.
    Partition(Vec<usize>),
    /// All cuts end.
    Heal,
    /// All links get another quality.
    Links(Quality),
    /// Some datagrams that a cut killed arrive after all.
    Resurrect(usize),
    /// A host gets a file that lists so many daemons, and its daemon reads it.
    Reload {
        /// Which host.
        host: usize,
        /// How many.
        listed: usize,
    },
    /// Some datagrams like those, of daemons with another configuration on the same network, arrive.
    Strangers(usize),
}

/// A link that flaps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flapping {
    between: (usize, usize),
    period: Duration,
    changes: u32,
    /// How often all links had been healed when it began.
    heals: u64,
}

impl Fault {
    /// The sort of fault, for counting.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::CrashWhileSending { .. } => "crash while sending",
            Self::Restart { .. } => "restart",
            Self::Shutdown(_) => "shutdown",
            Self::Pause { .. } => "pause",
            Self::Slow { .. } => "slow host",
            Self::ClockLeap { .. } => "clock leap",
            Self::SetCalendar { .. } => "calendar set",
            Self::Flap { .. } => "flapping link",
            Self::CutOneWay { .. } => "one-way cut",
            Self::CutBothWays(..) => "cut",
            Self::CutControl { .. } => "control cut",
            Self::CloseControl(_) => "closed control port",
            Self::Deafen(_) => "deaf host",
            Self::Mute(_) => "mute host",
            Self::Partition(_) => "partition",
            Self::Heal => "heal",
            Self::Links(_) => "link quality",
            Self::Resurrect(_) => "resurrection",
            Self::Reload { .. } => "reload",
            Self::Strangers(_) => "strangers",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Links(quality) => write!(
                f,
                "links: delay {:?}+{:?}, loss {} ppm, bursts {}, duplicates {} ppm, reorder {} ppm",
                quality.delay,
                quality.jitter,
                quality.loss_ppm,
                quality.burst.is_some(),
                quality.duplicate_ppm,
                quality.reorder_ppm
            ),
            other => write!(f, "{other:?}"),
        }
    }
}

impl World {
    /// Makes a fault happen now.
    pub fn apply(&mut self, fault: Fault) {
        *self.faults.entry(fault.name()).or_default() += 1;
        self.recorder.remark(self.now, format!("FAULT {fault}"));
        match fault {
            Fault::Crash { host, silent } => {
                if silent {
                    self.silenced.insert(self.hosts[host].process);
                }
                self.crash(host);
            }
            Fault::CrashWhileSending { host, bursts } => self.hosts[host].doomed = Some(bursts),
            Fault::Restart { host, after } => {
                self.crash(host);
                self.plan(after, Happening::Boot(host));
            }
            Fault::Shutdown(host) => self.shut_down(host),
            Fault::Pause { host, duration } => self.pause(host, duration),
            Fault::Slow { host, extra } => self.hosts[host].slowness = extra,
            Fault::ClockLeap { host, by } => self.leap(host, by),
            Fault::SetCalendar { host, late } => self.hosts[host].calendar_late = late,
            Fault::Flap { between, period, changes } => {
                let heals = self.heals;
                self.flap(Flapping { between, period, changes, heals });
            }
            Fault::CutOneWay { from, to } => self.network.link(from, to).cut = true,
            Fault::CutBothWays(one, other) => {
                self.network.link(one, other).cut = true;
                self.network.link(other, one).cut = true;
            }
            Fault::CutControl { from, to } => self.network.link(from, to).control_cut = true,
            Fault::CloseControl(host) => self.each_other(host, |world, other| {
                world.network.link(other, host).control_cut = true;
            }),
            Fault::Deafen(host) => self.each_other(host, |world, other| {
                world.network.link(other, host).cut = true;
            }),
            Fault::Mute(host) => self.each_other(host, |world, other| {
                world.network.link(host, other).cut = true;
            }),
            Fault::Partition(sides) => self.network.partition(&sides),
            Fault::Heal => self.heal(),
            Fault::Links(quality) => self.network.set_quality(quality),
            Fault::Resurrect(count) => self.resurrect(count, |datagram| datagram),
            Fault::Reload { host, listed } => self.reload(host, listed),
            Fault::Strangers(count) => self.resurrect(count, of_another_cluster),
        }
    }

    fn each_other(&mut self, host: usize, act: impl Fn(&mut Self, usize)) {
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            act(self, other);
        }
    }

    /// The operator of a host sets the windows of its daemon.
    pub fn set_windows(&mut self, host: usize, change: WindowChange) {
        self.input(host, Input::SetWindows(change));
        self.plan_turn(host);
    }

    /// Ends the daemon of a host without a word.
    pub(super) fn crash(&mut self, host: usize) {
        if self.hosts[host].is_up() {
            let process = self.hosts[host].process;
            self.recorder.trace.processes[process].ended = Some(self.now);
            self.hosts[host].down();
            self.break_connections(host);
        }
    }

    /// The daemon said that it is done.
    pub(super) fn stop(&mut self, host: usize) {
        self.recorder.remark(self.now, format!("{} stopped", daemon_id(host)));
        self.crash(host);
    }

    fn shut_down(&mut self, host: usize) {
        if self.hosts[host].is_running() && !self.hosts[host].stopping {
            self.hosts[host].stopping = true;
            self.input(host, Input::Shutdown);
            self.plan_turn(host);
        }
    }

    /// A daemon that is not listed any more leaves.
    fn reload(&mut self, host: usize, listed: usize) {
        self.hosts[host].listed = listed;
        if listed <= host {
            self.shut_down(host);
        } else if self.hosts[host].is_running() {
            self.input(host, Input::Reload(cluster(listed)));
            self.plan_turn(host);
        }
    }

    fn pause(&mut self, host: usize, duration: Duration) {
        let until = self.now + duration;
        let paused = &mut self.hosts[host];
        if paused.is_up() && paused.paused_until.is_none_or(|planned| planned < until) {
            paused.paused_until = Some(until);
            paused.turn_at = None;
            self.plan_at(until, Happening::Resume(host));
        }
    }

    fn leap(&mut self, host: usize, by: Duration) {
        self.hosts[host].clock.leap(by);
        self.plan_wake(host);
    }

    /// Changes a flapping link, unless all links were healed since it began.
    pub(super) fn flap(&mut self, flapping: Flapping) {
        let Flapping { between: (one, other), period, changes, heals } = flapping;
        if heals != self.heals || changes == 0 {
            return;
        }
        let down = changes % 2 == 0;
        self.network.link(one, other).cut = down;
        self.network.link(other, one).cut = down;
        self.plan(period, Happening::Flap(Flapping { changes: changes - 1, ..flapping }));
    }

    /// Ends all cuts, and the flapping of links.
    fn heal(&mut self) {
        self.heals += 1;
        self.network.heal();
    }

    fn resurrect(&mut self, count: usize, change: fn(Bytes) -> Bytes) {
        for _ in 0..count {
            let Some(ghost) = self.network.resurrect(&mut self.rng) else { return };
            let late = Duration::from_micros(self.rng.u64(..2000));
            let (to, channel, bytes) = (ghost.to, ghost.channel, change(ghost.bytes));
            let process = usize::MAX;
            self.plan(late, Happening::Arrival { to, channel, bytes, process });
        }
    }

    /// Ends every fault: links are good, hosts up, awake and fast, and all daemons listed.
    pub fn heal_everything(&mut self, quality: Quality) {
        self.set_triggers(None);
        self.heal();
        self.network.set_quality(quality);
        for host in 0..self.hosts.len() {
            self.hosts[host].slowness = Duration::ZERO;
            self.hosts[host].calendar_late = Duration::ZERO;
            self.hosts[host].doomed = None;
            if self.hosts[host].paused_until.take().is_some() {
                self.plan_turn(host);
            }
            if self.settings.newcomers > 0 {
                self.reload(host, self.settings.daemons);
            }
            if !self.hosts[host].is_up() {
                self.boot(host);
            }
        }
        for client in &mut self.clients {
            client.reads = true;
        }
        self.recorder.remark(self.now, "FAULT none any more: everything heals".to_owned());
        for host in 0..self.hosts.len() {
            self.plan_turn(host);
        }
    }
}

/// The same datagram as daemons with another configuration would send it.
fn of_another_cluster(datagram: Bytes) -> Bytes {
    let mut changed = BytesMut::from(datagram.as_ref());
    if let Some(hash) = changed.get_mut(ring::CLUSTER_HASH) {
        hash.copy_from_slice(&OTHER_CLUSTER.0.to_le_bytes());
    }
    changed.freeze()
}
