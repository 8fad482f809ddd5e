//! Which failed sends are logged: of each kind the first, and then ever fewer.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Kinds that are told apart, enough for several errors to each socket of each daemon. Failures of further
/// kinds are counted with all others in the status, but not logged.
const MAX_KINDS: usize = 1024;

/// How often sends have failed, by destination and error of the system.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    times: HashMap<(SocketAddr, Option<i32>), u64>,
}

impl Failures {
    /// Notes a failed send. Gives how many of its kind there were so far if it is one to be logged.
    pub(crate) fn note(&mut self, to: SocketAddr, error: Option<i32>) -> Option<u64> {
        let kind = (to, error);
        if self.times.len() == MAX_KINDS && !self.times.contains_key(&kind) {
            return None;
        }
        let times = self.times.entry(kind).or_default();
        *times += 1;
        times.is_power_of_two().then_some(*times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn each_kind_is_logged_at_powers_of_two_whatever_the_others_do() {
        let mut failures = Failures::default();
        let kinds = [(address(1), Some(1)), (address(1), Some(2)), (address(2), Some(1)), (address(2), None)];
        for time in 1..=1000_u64 {
            for (to, error) in kinds {
                let logged = failures.note(to, error);
                assert_eq!(logged, time.is_power_of_two().then_some(time), "{to} {error:?}");
            }
        }
    }

    #[test]
    fn kinds_without_end_take_bounded_memory_and_leave_the_known_ones_alone() {
        let mut failures = Failures::default();
        let logged = (0..5000).filter(|port| failures.note(address(*port), None).is_some()).count();
        assert_eq!((logged, failures.times.len()), (MAX_KINDS, MAX_KINDS));
        assert_eq!(failures.note(address(0), None), Some(2));
    }
}
