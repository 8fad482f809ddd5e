//! A leader without a vote: the first member of the view.
//!
//! ```sh
//! cargo run --package antiphon --example election -- 4803 alice 3
//! ```
//!
//! All members of a group are told the same views with the members in the same order, so they agree on
//! the first one without a message. When the network parts, each side has a view, and would have a
//! leader. So the number of programs that there are in all can be given (3 here): only a view with more
//! than half of them has a leader, and there cannot be two of these at a time.
//!
//! "At a time" means the time of the views: a leader that is cut off learns it by its next view, a
//! moment later than the other side may have a new one. The end of the input ends the candidacy.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::thread;

use antiphon::{Connector, Event, MemberName, View};

const GROUP: &str = "election";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (address, name) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let programs = args.next().map_or(Ok(1), |text| text.parse());
    let ended = programs
        .map_err(|_| "the number of programs must be a number, such as 3".into())
        .and_then(|programs| run(&address, &name, programs, BufReader::new(io::stdin()), &mut io::stdout()));
    // Errors of the library name their causes themselves.
    if let Err(error) = &ended {
        eprintln!("election: {error}");
    }
    ExitCode::from(u8::from(ended.is_err()))
}

pub(crate) fn run(
    address: &str,
    name: &str,
    programs: usize,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut connection = Connector::new(address).name(name).connect()?;
    connection.join(GROUP)?;
    let me = connection.member();
    let (sender, mut receiver) = connection.split();
    thread::spawn(move || {
        input.lines().for_each(drop);
        // What comes of it, the other thread is told.
        let _ = sender.disconnect();
    });
    loop {
        match receiver.receive() {
            Ok(Event::View(view)) => match leader(&view, programs) {
                Some(leader) if leader == me => writeln!(output, "I lead {}", view.members.len())?,
                Some(leader) => writeln!(output, "{leader} leads")?,
                None => writeln!(output, "nobody leads: {} of {programs} are here", view.members.len())?,
            },
            // Whoever acts as the leader should pause here: the others may be about to elect another.
            Ok(Event::Transition(_)) => writeln!(output, "the view is ending")?,
            Ok(Event::Message(_) | Event::SelfLeave(_) | Event::Rejected(_)) => {}
            Err(antiphon::Error::Ended) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn leader(view: &View, programs: usize) -> Option<MemberName> {
    let is_majority = view.members.len() * 2 > programs;
    view.members.first().copied().filter(|_| is_majority)
}
