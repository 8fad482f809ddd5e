//! Retransmission requests: which of the token's to answer, and what to ask for.

use antiphon_wire::ids::Seq;
use antiphon_wire::ring::ranges;
use antiphon_wire::ring::token::{MAX_REQUESTS, Request};

use super::packets::PacketStore;
use super::tolerance::Tolerance;
use crate::time::Instant;

/// From this age on the member that answers may be one that the asker cannot hear, so holders
/// take turns and leave the request on the token.
const STUBBORN_AGE: u8 = 3;
/// Such requests stay on the token for a round, and must leave room for what others lack.
const MAX_STUBBORN_REQUESTS: usize = MAX_REQUESTS / 2;

/// The member that answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answerer {
    /// Its place in the ring.
    pub(crate) member: usize,
    /// How many there are.
    pub(crate) members: usize,
}

/// Answers what can be answered: returns the packets to send again, at most `limit`, and takes the
/// ranges that are answered in full off the token.
pub(crate) fn answer(
    requests: &mut Vec<Request>,
    packets: &PacketStore,
    answerer: Answerer,
    limit: usize,
) -> Vec<Seq> {
    let Answerer { member, members } = answerer;
    let mut answered = Vec::new();
    requests.retain(|request| {
        // What nobody could answer for a round is asked for anew, if it is still missing.
        if usize::from(request.member) == member {
            return false;
        }
        if request.age >= STUBBORN_AGE && whose_turn(request, members) != member {
            return true;
        }
        let room = limit.saturating_sub(answered.len());
        let held: Vec<Seq> = packets.held_of(request.range).take(room).collect();
        let complete = held.len() as u64 == request.range.packets();
        answered.extend(held);
        !complete || request.age >= STUBBORN_AGE
    });
    answered.sort_unstable();
    answered.dedup();
    answered
}

/// Who answers a stubborn request: all members but the asker, one after the other as it grows older.
fn whose_turn(request: &Request, members: usize) -> usize {
    let others = members.saturating_sub(1).max(1);
    (usize::from(request.member) + 1 + usize::from(request.age) % others) % members.max(1)
}

/// The age of a request that is made once more: from the highest number on, the turns begin anew.
pub(crate) fn older(age: u8) -> u8 {
    age.checked_add(1).unwrap_or(STUBBORN_AGE)
}

/// A member that asks, and the age of its next requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Its place in the ring.
    pub(crate) member: usize,
    pub(crate) age: u8,
}

/// Asks for each packet that is due and missing, unless its answer may still be on its way or another member
/// has asked. Returns how many packets these are.
pub(crate) fn ask(
    requests: &mut Vec<Request>,
    packets: &PacketStore,
    tolerance: &mut Tolerance,
    now: Instant,
    asker: Asker,
) -> u32 {
    let asked =
        |seq: Seq| requests.iter().any(|request| request.age < STUBBORN_AGE && request.range.contains(seq));
    let due = tolerance.due(now);
    let lacking = packets.missing(due).filter(|seq| !asked(*seq) && !tolerance.awaits(*seq, now));
    let mut missing = ranges::collect(lacking);
    let most = if asker.age < STUBBORN_AGE { MAX_REQUESTS } else { MAX_STUBBORN_REQUESTS };
    missing.truncate(MAX_REQUESTS.saturating_sub(requests.len()).min(most));
    tolerance.note_asked(now, missing.iter().copied());
    let (member, age) = (asker.member as u16, asker.age);
    let packets = missing.iter().map(|range| range.packets()).sum::<u64>();
    requests.extend(missing.into_iter().map(|range| Request { range, member, age }));
    u32::try_from(packets).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use antiphon_wire::ring::ranges::SeqRange;

    use super::super::packets::tests::packet;
    use super::*;

    /// A member that lacks every second one of 200 packets.
    fn ask_for_many(requests: &mut Vec<Request>, asker: Asker) -> u32 {
        let mut packets = PacketStore::after(Seq::ZERO);
        (2..=200).step_by(2).for_each(|seq| assert!(packets.insert(packet(seq))));
        let mut tolerance = Tolerance::default();
        tolerance.note_passed(Instant(0), Seq(200));
        ask(requests, &packets, &mut tolerance, Instant(1), asker)
    }

    #[test]
    fn a_member_that_nobody_can_help_leaves_room_for_what_others_lack() {
        let mut requests = Vec::new();
        assert_eq!(ask_for_many(&mut requests, Asker { member: 1, age: STUBBORN_AGE }), 32);
        assert_eq!(ask_for_many(&mut requests, Asker { member: 2, age: 0 }), 32);
        assert_eq!(requests.len(), MAX_REQUESTS);
        assert_eq!(ask_for_many(&mut Vec::new(), Asker { member: 2, age: 0 }), 64);
    }

    /// Seed 1092834: with two members, every request of an odd age was left to the one that asked.
    #[test]
    fn however_often_it_is_asked_everyone_else_has_a_turn() {
        for members in 2..=128_u16 {
            let range = SeqRange { first: Seq(1), last: Seq(1) };
            let mut request = Request { range, member: members / 2, age: STUBBORN_AGE };
            let others: BTreeSet<usize> =
                (0..members).filter(|member| *member != request.member).map(usize::from).collect();
            for _ in 0..10 {
                let mut asked = BTreeSet::new();
                // Where the ages begin anew, two members may have a turn less or more.
                for _ in 0..others.len() * 2 {
                    asked.insert(whose_turn(&request, members.into()));
                    request.age = older(request.age);
                }
                assert_eq!(asked, others, "of {members}");
            }
        }
    }
}
