//! Times of C programs: seconds and microseconds.

use std::cmp::Ordering;
use std::ffi::c_int;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::layout::SpTime;

const MICROSECONDS: i64 = 1_000_000;

impl SpTime {
    /// The time of day.
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { sec, usec: since.subsec_micros().into() }
    }

    /// As a duration; nothing for a negative one.
    pub(super) fn duration(self) -> Duration {
        let microseconds = i128::from(self.sec) * i128::from(MICROSECONDS) + i128::from(self.usec);
        Duration::from_micros(u64::try_from(microseconds.max(0)).unwrap_or(u64::MAX))
    }

    /// With microseconds from 0 to 999999.
    fn of(sec: i64, usec: i64) -> Self {
        Self { sec: sec.saturating_add(usec.div_euclid(MICROSECONDS)), usec: usec.rem_euclid(MICROSECONDS) }
    }
}

/// The time of day.
#[unsafe(no_mangle)]
pub extern "C" fn E_get_time() -> SpTime {
    SpTime::now()
}

/// The difference of two times.
#[unsafe(no_mangle)]
pub extern "C" fn E_sub_time(time: SpTime, delta: SpTime) -> SpTime {
    SpTime::of(time.sec.saturating_sub(delta.sec), time.usec.saturating_sub(delta.usec))
}

/// The sum of two times.
#[unsafe(no_mangle)]
pub extern "C" fn E_add_time(time: SpTime, delta: SpTime) -> SpTime {
    SpTime::of(time.sec.saturating_add(delta.sec), time.usec.saturating_add(delta.usec))
}

/// 1 when the first time is later, -1 when it is earlier, 0 when they are the same.
#[unsafe(no_mangle)]
pub extern "C" fn E_compare_time(one: SpTime, other: SpTime) -> c_int {
    match SpTime::of(one.sec, one.usec).cmp(&SpTime::of(other.sec, other.usec)) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

/// Sleeps.
#[unsafe(no_mangle)]
pub extern "C" fn E_delay(time: SpTime) {
    thread::sleep(time.duration());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(sec: i64, usec: i64) -> SpTime {
        SpTime { sec, usec }
    }

    #[test]
    fn microseconds_are_carried_and_borrowed() {
        assert_eq!(E_add_time(time(1, 700_000), time(2, 500_000)), time(4, 200_000));
        assert_eq!(E_sub_time(time(4, 200_000), time(2, 500_000)), time(1, 700_000));
        assert_eq!(E_sub_time(time(i64::MIN, 0), time(1, 0)), time(i64::MIN, 0));
    }

    #[test]
    fn later_is_more() {
        assert_eq!(E_compare_time(time(1, 0), time(0, 999_999)), 1);
        assert_eq!(E_compare_time(time(1, 0), time(0, 1_000_000)), 0);
        assert_eq!(E_compare_time(time(1, 0), time(1, 1)), -1);
    }
}
