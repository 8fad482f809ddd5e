//! Retransmission requests: which of the token's to answer, and what to ask for.

use antiphon_wire::ids::Seq;
use antiphon_wire::ring::ranges;
use antiphon_wire::ring::token::{MAX_REQUESTS, Request};

use super::lateness::Lateness;
use super::window::Window;
use crate::time::Instant;

/// From this age on the member that answers may be one that the asker can not hear, so holders
/// take turns and leave the request on the token.
const STUBBORN_AGE: u8 = 3;

/// Answers what can be answered: returns the packets to send again, at most `limit`, and takes the
/// ranges that are answered in full off the token.
pub(crate) fn answer(
    requests: &mut Vec<Request>,
    window: &Window,
    my_index: usize,
    members: usize,
    limit: usize,
) -> Vec<Seq> {
    let mut answered = Vec::new();
    requests.retain(|request| {
        if usize::from(request.member) == my_index {
            return false;
        }
        let my_turn =
            (usize::from(request.member) + 1 + usize::from(request.age)) % members.max(1) == my_index;
        if request.age >= STUBBORN_AGE && !my_turn {
            return true;
        }
        let room = limit.saturating_sub(answered.len());
        // Clipped first, so that a forged range costs no more than the window has packets.
        let last = request.range.last.min(window.highest());
        let held = request.range.first.max(window.discarded().next()).0..=last.0;
        let held: Vec<Seq> = held.map(Seq).filter(|seq| window.contains(*seq)).take(room).collect();
        let complete = held.len() as u64 == request.range.packets();
        answered.extend(held);
        !complete || request.age >= STUBBORN_AGE
    });
    answered.sort_unstable();
    answered.dedup();
    answered
}

/// Adds what I lack of what is due, am not waiting for already, and nobody else asks for.
pub(crate) fn ask(
    requests: &mut Vec<Request>,
    window: &Window,
    lateness: &mut Lateness,
    now: Instant,
    (my_index, age): (usize, u8),
) {
    let asked =
        |seq: Seq| requests.iter().any(|request| request.age < STUBBORN_AGE && request.range.contains(seq));
    let due = lateness.due(now);
    let lacking = window.missing(due).filter(|seq| !asked(*seq) && !lateness.awaits(*seq, now));
    let mut missing = ranges::collect(lacking);
    missing.truncate(MAX_REQUESTS.saturating_sub(requests.len()));
    lateness.note_asked(now, missing.iter().copied());
    let member = my_index as u16;
    requests.extend(missing.into_iter().map(|range| Request { range, member, age }));
}
