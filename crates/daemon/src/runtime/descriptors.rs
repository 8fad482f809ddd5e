//! The limit of open files, of which clients do not get the last.
//!
//! A daemon that clients have left no descriptor can neither be asked what is the matter nor read its files again,
//! just when somebody wants that of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use antiphon_proto::config::SessionConfig;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What clients leave: who asks for the status takes one, reading the configuration and the keys again a few.
const RESERVE: u64 = 8;

/// Lets the process have as many connections as the system allows it to ask for.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!("cannot raise the limit of open files: {error}");
    }
}

/// Tells if there cannot be so many sessions beside what is open, as a warning if somebody has asked for them, or if
/// there can be none;
/// `descriptor` is any that is open.
pub(super) fn tell_if_short(sessions: usize, descriptor: impl AsFd) {
    let others = lowest_free(descriptor).unwrap_or_default();
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    let has_asked = sessions != SessionConfig::default().max_sessions;
    match shortage(limit, others, sessions) {
        Some(shortage) if has_asked || room(limit, others) == 0 => tracing::warn!("{shortage}"),
        Some(shortage) => tracing::info!("{shortage}"),
        None => {}
    }
}

/// Fails, as the system does when none is left, if one more descriptor would be of the reserve. The limit is read each
/// time, as it may be changed while the daemon runs.
pub(super) fn spare_reserve(descriptor: impl AsFd) -> io::Result<()> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    // Below a limit of 0 there is no number to look for, and the system calls that an error of another kind.
    let has_more = limit > RESERVE && lowest_free(descriptor)? < limit - RESERVE;
    if has_more { Ok(()) } else { Err(Errno::MFILE.into()) }
}

/// The number that the next descriptor will have: the limit is one of numbers, and the system gives the lowest.
fn lowest_free(descriptor: impl AsFd) -> io::Result<u64> {
    let free = fcntl_dupfd_cloexec(descriptor, 0)?;
    Ok(free.as_raw_fd().unsigned_abs().into())
}

/// How many clients the limit leaves descriptors for, beside those that are open.
fn room(limit: u64, others: u64) -> u64 {
    limit.saturating_sub(others + RESERVE)
}

fn shortage(limit: u64, others: u64, sessions: usize) -> Option<String> {
    let room = room(limit, others);
    (room < sessions as u64).then(|| {
        format!(
            "the limit of {limit} open files leaves room for {room} clients, and MaxSessions is {sessions}: beyond that \
             clients wait; raise the limit to {} (ulimit -n, or LimitNOFILE= of the service), or lower MaxSessions",
            others + RESERVE + sessions as u64
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_for_the_sessions_is_told_with_one_that_is_not() {
        assert_eq!(shortage(1024, 16, 1000), None);
        let told = shortage(1023, 16, 1000).expect("one is missing");
        assert!(told.contains("1023 open files leaves room for 999 clients"), "{told}");
        assert!(told.contains("to 1024 (ulimit -n, or LimitNOFILE="), "{told}");
        assert!(shortage(10, 16, 1000).is_some_and(|told| told.contains("room for 0 clients")));
    }
}
