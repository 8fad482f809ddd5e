//! What happens at one chosen datagram.
//!
//! Chance seldom meets the one datagram that matters. A strike is told its number, so that whoever sets strikes can
//! try one datagram after the other.

use std::fmt;
use std::time::Duration;

use antiphon_proto::Channel;
use antiphon_proto::time::Instant;
use antiphon_wire::ring::DatagramKind;
use bytes::Bytes;

use super::{Fault, Happening, World, daemon_id};

/// One thing of those that happen at a datagram which is about to be sent.
#[derive(Clone, PartialEq, Debug)]
pub enum Blow {
    /// It is sent. Without this it is lost.
    Send,
    /// A copy of it arrives after that time, whatever the links are like.
    Arrive(Duration),
    /// A fault happens, before the rest of what its sender sends in this turn.
    Now(Fault),
    /// A fault happens after that time; with none, when the turn of its sender is over.
    Later(Duration, Fault),
}

/// What happens at one of the datagrams that are sent up to some time.
pub struct Strike {
    /// The number of that datagram, of those that are sent after the strike was set, from 0 on; with `None` they are
    /// only counted.
    pub at: Option<u64>,
    /// What is sent later is not counted.
    pub until: Instant,
    /// What happens, in this order, if the datagram is on its way from the first of two hosts to the second.
    pub blows: Box<dyn Fn(usize, usize) -> Vec<Blow>>,
    /// How many have been counted.
    pub counted: u64,
    /// When it happened.
    pub struck: Option<Instant>,
}

impl Strike {
    fn count(&mut self, now: Instant, (from, to): (usize, usize)) -> Option<Vec<Blow>> {
        if now > self.until {
            return None;
        }
        let number = self.counted;
        self.counted += 1;
        if self.at != Some(number) {
            return None;
        }
        self.struck = Some(now);
        Some((self.blows)(from, to))
    }
}

impl fmt::Debug for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strike").field("at", &self.at).field("until", &self.until).finish_non_exhaustive()
    }
}

impl World {
    /// Sends a datagram, unless it is the one at which something happens: then that happens.
    pub(super) fn send_or_strike(&mut self, between: (usize, usize), channel: Channel, datagram: &Bytes) {
        let now = self.now;
        let Some(blows) = self.strike.as_mut().and_then(|strike| strike.count(now, between)) else {
            self.send_datagram(between, channel, datagram);
            return;
        };
        let (from, to) = between;
        let kind = DatagramKind::of(datagram).map_or("?".to_owned(), |kind| format!("{kind:?}"));
        let text = format!("STRIKE at {kind} from {} to {}", daemon_id(from), daemon_id(to));
        self.recorder.remark(now, text);
        for blow in blows {
            match blow {
                Blow::Send => self.send_datagram(between, channel, datagram),
                Blow::Arrive(after) => {
                    let (bytes, process) = (datagram.clone(), self.hosts[from].process);
                    self.plan(after, Happening::Arrival { to, channel, bytes, process });
                }
                Blow::Now(fault) => self.apply(fault),
                Blow::Later(after, fault) => self.plan(after, Happening::Fault(Box::new(fault))),
            }
        }
    }
}
