//! A lock is a group: who joins it waits behind those who are in it.
//!
//! ```sh
//! cargo run --package antiphon --example lock -- 4803 alice printer
//! ```
//!
//! Commands: `acquire`, `release`. Everyone sees joins and departures in one order, so everyone who
//! joins knows who came before: the members of its first view. When all of these are gone, the lock is
//! its own. A holder that crashes leaves the group by that, and the next one goes on.
//!
//! When the network parts, each side has a holder. When it comes together again, the sides are put one
//! behind the other in the order of the view's virtual synchrony sets, which all members see alike; a
//! holder in a later set has lost the lock and is told so. What must never have two holders needs a
//! majority too, as in the example `election`.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::thread;

use antiphon::{Change, Connector, Event, GroupName, MemberName, View};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (address, name) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let lock = args.next().unwrap_or_else(|| "lock".to_owned());
    let ended = run(&address, &name, &lock, BufReader::new(io::stdin()), &mut io::stdout());
    // Errors of the library name their causes themselves.
    if let Err(error) = &ended {
        eprintln!("lock: {error}");
    }
    ExitCode::from(u8::from(ended.is_err()))
}

pub(crate) fn run(
    address: &str,
    name: &str,
    lock: &str,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    // Here, because the thread below has nobody to tell of a name that is not legal.
    let group: GroupName = lock.parse()?;
    let connection = Connector::new(address).name(name).connect()?;
    eprintln!("write acquire or release; end with Ctrl-D");
    let mut place = Place { me: connection.member(), ahead: BTreeSet::new() };
    let mut held = false;
    let (mut sender, mut receiver) = connection.split();
    thread::spawn(move || -> Result<(), antiphon::Error> {
        for line in input.lines().map_while(Result::ok) {
            match line.as_str() {
                "acquire" => sender.join(group)?,
                "release" => sender.leave(group)?,
                _ => eprintln!("acquire or release?"),
            }
        }
        sender.disconnect()
    });
    loop {
        match receiver.receive() {
            Ok(Event::View(view)) => {
                place.on_view(&view);
                let had = std::mem::replace(&mut held, place.ahead.is_empty());
                match (had, held) {
                    (false, true) => writeln!(output, "acquired")?,
                    (true, false) => writeln!(output, "lost")?,
                    (false, false) => writeln!(output, "waiting behind {}", place.ahead.len())?,
                    (true, true) => {}
                }
            }
            Ok(Event::SelfLeave(_)) => {
                held = false;
                writeln!(output, "released")?;
            }
            Ok(Event::Message(_) | Event::Transition(_) | Event::Rejected(_)) => {}
            Err(antiphon::Error::Ended) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A place in the queue for a lock.
pub(crate) struct Place {
    pub(crate) me: MemberName,
    /// Who came before.
    pub(crate) ahead: BTreeSet<MemberName>,
}

impl Place {
    pub(crate) fn on_view(&mut self, view: &View) {
        if view.change == Change::Join(self.me) {
            self.ahead = view.members.iter().copied().filter(|member| *member != self.me).collect();
        }
        // Who came another way has had other views than I, and does not stand where I last saw it.
        if view.change == Change::Network {
            self.ahead.retain(|member| view.my_set().contains(member));
        }
        // Sides that were apart: those before mine have the lock before me.
        let before_mine = view.vs_sets.iter().take(view.my_vs_set).flatten();
        self.ahead.extend(before_mine);
        self.ahead.retain(|member| view.members.contains(member));
    }
}
