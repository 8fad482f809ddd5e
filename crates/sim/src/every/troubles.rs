//! What goes wrong at a datagram.

use std::time::Duration;

use clap::ValueEnum;

use crate::scenario::ms;
use crate::world::{Blow, Fault};

/// What goes wrong at a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Trouble {
    /// It is lost.
    Lose,
    /// It is delayed for a moment.
    Late,
    /// It is delayed until nobody waits for it any more.
    TooLate,
    /// It comes again after a moment.
    Twice,
    /// It comes again long after.
    TwiceLate,
    /// Its sender dies before it leaves.
    SenderDiesBefore,
    /// Its sender dies right after.
    SenderDies,
    /// Its receiver dies, with all that it has sent and that is on its way.
    ReceiverDies,
    /// Its sender is restarted right after its turn.
    SenderRestarts,
    /// Its receiver is restarted.
    ReceiverRestarts,
    /// Its receiver is restarted with a calendar of long ago.
    ReceiverRestartsInThePast,
    /// Its sender leaves.
    SenderLeaves,
    /// Its receiver leaves.
    ReceiverLeaves,
    /// Its sender stands still for longer than a token takes to count as lost.
    SenderPauses,
    /// Its receiver does.
    ReceiverPauses,
    /// Its receiver stands still for longer than it takes the others to form a ring.
    ReceiverPausesLong,
    /// Its receiver stands still for so long that the others have lost sight of it.
    ReceiverSleeps,
    /// Its receiver stands still while its sender is restarted.
    PauseAndRestart,
    /// The receiver's clock leaps ahead.
    ReceiverLeaps,
    /// Its receiver is slow for a while.
    ReceiverSlows,
    /// It and what follows it from its sender to its receiver is lost, for a moment.
    CutShort,
    /// The same for seconds.
    Cut,
    /// What goes the other way is lost, for seconds.
    CutBack,
    /// Its sender is alone for a moment.
    SenderAlone,
    /// Its receiver is alone for longer than it takes to form rings.
    ReceiverAlone,
    /// One way between the two is cut, then the other one, and so on.
    CutsInTurn,
}

impl Trouble {
    /// What happens at a datagram between two of so many hosts.
    #[must_use]
    pub fn blows(self, (from, to): (usize, usize), hosts: usize) -> Vec<Blow> {
        use Blow::{Arrive, Later, Now, Send};
        let crash = |host, silent| Now(Fault::Crash { host, silent });
        let pause = |host, duration| Now(Fault::Pause { host, duration });
        let cut = |from, to| Fault::CutOneWay { from, to };
        let healed_after = |pause| Later(pause, Fault::Heal);
        let alone =
            |host: usize| Now(Fault::Partition((0..hosts).map(|at| usize::from(at == host)).collect()));
        let soon = Duration::ZERO;
        match self {
            Self::Lose => vec![],
            Self::Late => vec![Arrive(ms(30))],
            Self::TooLate => vec![Arrive(ms(1700))],
            Self::Twice => vec![Send, Arrive(ms(100))],
            Self::TwiceLate => vec![Send, Arrive(ms(4000))],
            Self::SenderDiesBefore => vec![crash(from, false)],
            Self::SenderDies => vec![Send, crash(from, false)],
            Self::ReceiverDies => vec![Send, crash(to, true)],
            Self::SenderRestarts => vec![Send, Later(soon, Fault::Restart { host: from, after: ms(3) })],
            Self::ReceiverRestarts => vec![Send, Now(Fault::Restart { host: to, after: ms(40) })],
            Self::ReceiverRestartsInThePast => vec![
                Send,
                Now(Fault::SetCalendar { host: to, late: Duration::from_secs(10_000) }),
                Now(Fault::Restart { host: to, after: ms(3) }),
            ],
            Self::SenderLeaves => vec![Send, Later(soon, Fault::Shutdown(from))],
            Self::ReceiverLeaves => vec![Send, Now(Fault::Shutdown(to))],
            Self::SenderPauses => vec![Send, pause(from, ms(350))],
            Self::ReceiverPauses => vec![Send, pause(to, ms(350))],
            Self::ReceiverPausesLong => vec![Send, pause(to, ms(1300))],
            Self::ReceiverSleeps => vec![Send, pause(to, ms(3900))],
            Self::PauseAndRestart => {
                vec![Send, pause(to, ms(700)), Later(ms(300), Fault::Restart { host: from, after: ms(10) })]
            }
            Self::ReceiverLeaps => vec![Send, Now(Fault::ClockLeap { host: to, by: ms(5000) })],
            Self::ReceiverSlows => vec![
                Send,
                Now(Fault::Slow { host: to, extra: ms(8) }),
                Later(ms(4000), Fault::Slow { host: to, extra: soon }),
            ],
            Self::CutShort => vec![Now(cut(from, to)), Send, healed_after(ms(120))],
            Self::Cut => vec![Now(cut(from, to)), Send, healed_after(ms(3000))],
            Self::CutBack => vec![Now(cut(to, from)), Send, healed_after(ms(3000))],
            Self::SenderAlone => vec![alone(from), Send, healed_after(ms(60))],
            Self::ReceiverAlone => vec![alone(to), Send, healed_after(ms(600))],
            Self::CutsInTurn => {
                let mut blows = vec![Now(cut(from, to)), Send];
                for turn in 1..4 {
                    let way = if turn % 2 == 0 { cut(from, to) } else { cut(to, from) };
                    blows.extend([healed_after(ms(150 * turn)), Later(ms(150 * turn), way)]);
                }
                blows.push(healed_after(ms(600)));
                blows
            }
        }
    }

    /// How long it takes until the last thing that comes of it has happened.
    #[must_use]
    pub fn duration(self) -> Duration {
        let blows = self.blows((0, 1), 2);
        let duration = |blow: &Blow| match blow {
            Blow::Send => Duration::ZERO,
            Blow::Arrive(after) => *after,
            Blow::Now(fault) => lasts(fault),
            Blow::Later(after, fault) => *after + lasts(fault),
        };
        blows.iter().map(duration).max().unwrap_or_default()
    }
}

fn lasts(fault: &Fault) -> Duration {
    match fault {
        Fault::Restart { after, .. } => *after,
        Fault::Pause { duration, .. } => *duration,
        _ => Duration::ZERO,
    }
}
