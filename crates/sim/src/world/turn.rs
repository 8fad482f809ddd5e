//! One turn of a host's event loop: datagrams, clients, timers, then everything that is to leave.
//!
//! The shape is that of the daemon's own loop: the preferred socket first, bounded work from every
//! source, timers only when the sockets are empty (or have kept them waiting for long), outputs last.

use std::time::Duration;

use antiphon_proto::{Channel, Event, Input, Origin, Transmit};
use antiphon_wire::ring::DatagramKind;
use bytes::Bytes;

use super::streams::StreamInput;
use super::trigger::Point;
use super::{Happening, World};

/// Turns that a due timer waits for datagrams at most.
const MAX_STARVED_TURNS: u32 = 8;

impl World {
    /// Plans a turn as soon as the host is free, unless one is planned.
    pub(super) fn plan_turn(&mut self, host: usize) {
        let at = self.now.max(self.hosts[host].busy_until);
        if self.hosts[host].is_running() && self.hosts[host].turn_at.is_none() {
            self.hosts[host].turn_at = Some(at);
            self.plan_at(at, Happening::Turn(host));
        }
    }

    /// A deadline may have come: turns the loop if so, else waits for the new one.
    pub(super) fn wake(&mut self, host: usize) {
        if self.hosts[host].wake_at != Some(self.now) {
            return;
        }
        self.hosts[host].wake_at = None;
        if !self.hosts[host].is_running() {
            return;
        }
        if self.hosts[host].deadline().is_some_and(|deadline| deadline <= self.now) {
            self.plan_turn(host);
        } else {
            self.plan_wake(host);
        }
    }

    pub(super) fn plan_wake(&mut self, host: usize) {
        let Some(deadline) = self.hosts[host].deadline() else { return };
        let at = deadline.max(self.now);
        if self.hosts[host].wake_at.is_none_or(|planned| at < planned) {
            self.hosts[host].wake_at = Some(at);
            self.plan_at(at, Happening::Wake(host));
        }
    }

    pub(super) fn resume(&mut self, host: usize) {
        if self.hosts[host].paused_until == Some(self.now) {
            self.hosts[host].paused_until = None;
            self.plan_turn(host);
        }
    }

    pub(super) fn turn(&mut self, host: usize) {
        if self.hosts[host].turn_at != Some(self.now) {
            return;
        }
        self.hosts[host].turn_at = None;
        if !self.hosts[host].is_running() {
            return;
        }
        self.unblock(host);
        let taken = if self.serves_ring(host) { self.receive(host) } else { 0 };
        self.read_streams(host);
        self.fire(host);
        let mut written = self.write(host);
        self.go_on(host);
        written += self.close_sessions(host);
        self.flush(host);
        self.settle(host, taken, written);
    }

    /// Whether datagrams are taken: not for a while when clients are to get what came of others before.
    fn serves_ring(&self, host: usize) -> bool {
        let served = &self.hosts[host];
        let waited = self.now.since(served.ring_served);
        !served.node.as_ref().is_some_and(|node| node.ring_may_wait(waited))
    }

    /// Takes datagrams; returns how many.
    fn receive(&mut self, host: usize) -> u32 {
        self.hosts[host].ring_served = self.now;
        let batch = self.rng.usize(1..=self.settings.host.receive_batch);
        let mut taken = 0;
        for _ in 0..batch {
            let Some(datagram) = self.hosts[host].receive() else { break };
            self.input(host, Input::Datagram(datagram));
            taken += 1;
        }
        taken
    }

    fn read_streams(&mut self, host: usize) {
        for _ in 0..self.settings.host.stream_batch {
            let Some((session, input)) = self.hosts[host].read_stream() else { return };
            let input = match input {
                StreamInput::Open => Input::SessionOpened(session, Origin::Unix),
                StreamInput::Bytes(bytes) => Input::SessionBytes(session, bytes),
                StreamInput::Close => Input::SessionClosed(session),
            };
            self.input(host, input);
        }
    }

    fn fire(&mut self, host: usize) {
        let now = self.now;
        let fired = &mut self.hosts[host];
        if fired.deadline().is_none_or(|deadline| deadline > now) {
            fired.starved = 0;
            return;
        }
        fired.starved += 1;
        if !fired.has_datagrams() || fired.starved > MAX_STARVED_TURNS {
            fired.starved = 0;
            self.input(host, Input::Timeout);
        }
    }

    /// Hands one input to the daemon and records what it says about it.
    pub(super) fn input(&mut self, host: usize, input: Input) {
        let called = &mut self.hosts[host];
        let now = called.clock.local(self.now);
        let Some(node) = &mut called.node else { return };
        node.handle(now, input, &mut called.out);
        self.absorb(host);
    }

    /// Moves trace, events and sessions with something to read to where they belong.
    pub(super) fn absorb(&mut self, host: usize) {
        let absorbed = &mut self.hosts[host];
        for session in absorbed.out.dirty.drain(..) {
            absorbed.writes.mark(session);
        }
        let process = absorbed.process;
        if let Some(records) = &mut absorbed.out.trace {
            for record in records.drain(..) {
                self.recorder.core(self.now, process, record);
            }
        }
        if absorbed.out.events.is_empty() {
            return;
        }
        for event in std::mem::take(&mut absorbed.out.events) {
            self.recorder.event(self.now, process, &event);
            self.on_event(host, event);
        }
    }

    fn on_event(&mut self, host: usize, event: Event) {
        match event {
            Event::MembershipState { from, to, reason } => {
                *self.transitions.entry((from, to)).or_default() += 1;
                self.note(host, || format!("{from} -> {to}: {reason}"));
                self.trigger(host, Point::State(to));
            }
            Event::Installed { .. } => self.trigger(host, Point::Installed),
            Event::Settled { .. } => self.trigger(host, Point::Settled),
            Event::Stopped => self.hosts[host].stopped = true,
            Event::DuplicateDaemon(process) => {
                self.duplicates_reported.push((host, process));
                self.note(host, || format!("duplicate daemon {process}"));
            }
            Event::Reloaded { cluster } => self.note(host, || format!("goes over to {cluster}")),
            Event::OnlyTold(process) => self.note(host, || format!("hears no gossip of {process}")),
            Event::OnlyHeard(process) => self.note(host, || format!("only hears {process}")),
            Event::ForeignCluster { .. }
            | Event::ForeignVersion { .. }
            | Event::DatagramTooLong { .. }
            | Event::SessionAccepted(..)
            | Event::SessionClosed(..) => {}
        }
    }

    fn note(&mut self, host: usize, text: impl FnOnce() -> String) {
        self.recorder.remark(self.now, format!("{}: {}", super::daemon_id(host), text()));
    }

    /// Sends what is to leave, or as much of it as the daemon lives to send.
    fn flush(&mut self, host: usize) {
        let transmits = std::mem::take(&mut self.hosts[host].out.transmits);
        for (sent, transmit) in transmits.into_iter().enumerate() {
            if let Some(kind) = DatagramKind::of(&transmit.burst) {
                self.trigger(host, Point::Sends(kind));
            }
            if self.hosts[host].doomed.is_some_and(|last| sent >= last) {
                break;
            }
            self.transmit(host, &transmit);
        }
        if self.hosts[host].doomed.is_some() {
            self.crash(host);
        } else if self.hosts[host].stopped {
            self.stop(host);
        }
    }

    fn transmit(&mut self, host: usize, transmit: &Transmit) {
        for daemon in transmit.to.daemons() {
            self.send_to(host, daemon.index(), transmit);
        }
    }

    /// Sends to the host of a daemon, or to all hosts that run it.
    fn send_to(&mut self, from: usize, daemon: usize, transmit: &Transmit) {
        match self.settings.double {
            Some((_, second)) if daemon == second => {}
            Some((first, second)) if daemon == first => {
                for to in [first, second].into_iter().filter(|to| *to != from) {
                    self.send_burst(from, to, transmit);
                }
            }
            _ => self.send_burst(from, daemon, transmit),
        }
    }

    fn send_burst(&mut self, from: usize, to: usize, transmit: &Transmit) {
        if to >= self.hosts.len() || to == from {
            let text = format!("sends to d{to}, itself or nobody");
            self.note(from, || text);
            return;
        }
        for datagram in transmit.datagrams() {
            // A strike may have ended the sender.
            if !self.hosts[from].is_up() {
                break;
            }
            self.send_or_strike((from, to), transmit.channel, &datagram);
        }
    }

    /// Leaves a datagram to the link.
    pub(super) fn send_datagram(&mut self, between: (usize, usize), channel: Channel, datagram: &Bytes) {
        let (from, to) = between;
        let process = self.hosts[from].process;
        let arrivals = self.network.send(self.now, between, channel, datagram, &mut self.rng);
        for arrival in arrivals.into_iter().flatten() {
            let bytes = arrival.bytes;
            self.plan_at(arrival.at, Happening::Arrival { to, channel, bytes, process });
        }
    }

    /// Charges the turn to the host's processor and plans what comes next.
    fn settle(&mut self, host: usize, taken: u32, written: u32) {
        if !self.hosts[host].is_up() {
            return;
        }
        let limits = self.settings.host;
        let work = limits.datagram_cost * taken + limits.frame_cost * written;
        let cost = limits.turn_cost + work + self.hosts[host].slowness;
        self.hosts[host].busy_until = self.now + cost.max(Duration::from_nanos(100));
        if self.has_work(host) {
            self.plan_turn(host);
        }
        self.plan_wake(host);
    }

    fn has_work(&self, host: usize) -> bool {
        let asked = &self.hosts[host];
        self.awaits_offers(host)
            || asked.has_datagrams()
            || asked.has_streams()
            || self.has_writes(host)
            || asked.deadline().is_some_and(|deadline| deadline <= self.now)
    }
}
