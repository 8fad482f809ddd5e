//! When to join the multicast group again.
//!
//! The system knows the interface of a membership, and the one by which a socket sends to groups, by number. One
//! that is taken away and made anew has another number, although it has the same name and address: from then on
//! what is sent to the group is refused, and what others send there does not arrive. Nor does it when the daemon's
//! address moves to another interface, as when a bridge is laid over the old one, and then nothing is refused.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon_proto::time::Instant;
use rustix::io::Errno;

use super::failures::Failures;

/// Between two looks or attempts: what is in the way takes a person, or a program that sets up networks, to remove.
const PAUSE: Duration = Duration::from_secs(1);
/// What the system answers to a datagram for a group when the interface for it is gone.
const INTERFACE_GONE: [i32; 2] = [Errno::NODEV.raw_os_error(), Errno::ADDRNOTAVAIL.raw_os_error()];

/// Whether a failed send says that the group must be joined again.
pub(crate) fn is_sign(to: SocketAddr, error: &io::Error) -> bool {
    to.ip().is_multicast() && error.raw_os_error().is_some_and(|code| INTERFACE_GONE.contains(&code))
}

/// The attempts so far.
#[derive(Debug, Default)]
pub(crate) struct Rejoin {
    /// The interface by which the group was joined last, if the system told.
    interface: Option<u32>,
    not_before: Instant,
    failures: Failures,
}

impl Rejoin {
    /// The group was joined by that interface.
    pub(crate) fn joined(&mut self, interface: Option<u32>) {
        self.interface = interface;
    }

    /// Whether the daemon's address is at an interface now by which the group was not joined.
    pub(crate) fn has_moved_to(&self, interface: Option<u32>) -> bool {
        interface.is_some() && interface != self.interface
    }

    /// Whether it is time to look or to try again; if it is, the next time is a pause later.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let may = now >= self.not_before;
        if may {
            self.not_before = now + PAUSE;
        }
        may
    }

    /// Notes that an attempt failed, and says now and then what to do.
    pub(crate) fn failed(&mut self, group: SocketAddr, me: SocketAddr, error: &io::Error) {
        if let Some(times) = self.failures.note(group, error.raw_os_error()) {
            tracing::warn!(
                "cannot join {group} again ({times} times so far): {error}; see that an interface which is up has \
                 the address {}, or restart the daemon",
                me.ip()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_without_its_interface_is_joined_again() {
        let group = ([239, 0, 0, 1], 4803).into();
        for errno in [Errno::NODEV, Errno::ADDRNOTAVAIL] {
            assert!(is_sign(group, &errno.into()));
            assert!(!is_sign(([10, 0, 0, 1], 4803).into(), &errno.into()));
        }
        // While the address is gone as well there is nothing to join by.
        assert!(!is_sign(group, &Errno::NETUNREACH.into()));
    }

    #[test]
    fn a_group_is_joined_again_where_the_address_is_if_it_is_anywhere_else() {
        let mut rejoin = Rejoin::default();
        rejoin.joined(Some(2));
        let moved = [None, Some(2), Some(3)].map(|interface| rejoin.has_moved_to(interface));
        assert_eq!(moved, [false, false, true]);
        rejoin.joined(None);
        assert!(rejoin.has_moved_to(Some(2)), "it was not told where it is");
    }

    #[test]
    fn attempts_have_a_pause_between_them() {
        let mut rejoin = Rejoin::default();
        let at = |ms| Instant::default() + Duration::from_millis(ms);
        let begun: Vec<u64> = (0..4000).step_by(100).filter(|ms| rejoin.begin(at(*ms))).collect();
        assert_eq!(begun, [0, 1000, 2000, 3000]);
    }
}
