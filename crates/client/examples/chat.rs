//! A chat room is a group, and who is in the room is its view.
//!
//! ```sh
//! cargo run --package antiphon --example chat -- 4803 alice garden
//! ```
//!
//! Lines of the input are sent to the room; its end is the end of the visit. All visitors read the same
//! lines in the same order, also between comings and goings.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;
use std::thread;

use antiphon::{Change, Connector, Event, Sender, ServiceLevel, View};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (address, name) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let room = args.next().unwrap_or_else(|| "chat".to_owned());
    let ended = run(&address, &name, &room, BufReader::new(io::stdin()), &mut io::stdout());
    // Errors of the library name their causes themselves.
    if let Err(error) = &ended {
        eprintln!("chat: {error}");
    }
    ExitCode::from(u8::from(ended.is_err()))
}

pub(crate) fn run(
    address: &str,
    name: &str,
    room: &str,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut connection = Connector::new(address).name(name).connect()?;
    eprintln!("lines are sent; end with Ctrl-D");
    connection.join(room)?;
    let (mut sender, mut receiver) = connection.split();
    let room = room.to_owned();
    let talking = thread::spawn(move || {
        let said = say_lines(&mut sender, &room, input);
        // Whatever came of it: without a goodbye the other half would listen for ever.
        sender.disconnect()?;
        said
    });
    loop {
        match receiver.receive() {
            Ok(Event::Message(message)) => {
                writeln!(output, "{}: {}", message.sender, String::from_utf8_lossy(&message.body))?;
            }
            Ok(Event::View(view)) => writeln!(output, "* {}", news(&view))?,
            Ok(Event::Transition(_) | Event::SelfLeave(_) | Event::Rejected(_)) => {}
            // This is how the goodbye of the other thread comes back.
            Err(antiphon::Error::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    talking
        .join()
        .map_err(|_| "the thread that reads the input failed")?
        .map_err(|error| error as Box<dyn Error>)
}

fn say_lines(
    sender: &mut Sender,
    room: &str,
    input: impl BufRead,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for line in input.lines() {
        sender.multicast(ServiceLevel::Agreed, room, line?)?;
    }
    Ok(())
}

fn news(view: &View) -> String {
    let count = view.members.len();
    let what = match view.change {
        Change::Join(who) => format!("{who} came"),
        Change::Leave(who) => format!("{who} left"),
        Change::Disconnect(who) => format!("{who} hung up"),
        Change::Network => "the network changed".to_owned(),
    };
    format!("{what}, {count} are here")
}
