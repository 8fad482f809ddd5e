//! Work that is done by whoever is free, once, although workers crash.
//!
//! ```sh
//! cargo run --package antiphon --features tokio --example queue -- 4803 alice
//! ```
//!
//! A line of the input is a job for all programs in the group. A free program claims the oldest job
//! that nobody has; of several claims the first in the total order counts, and everyone knows which
//! that is. When a worker is gone from the view, what it had claimed is free again. A job is done once,
//! except when its worker is gone before it said so: then somebody does it again.
//!
//! Whoever comes later learns of the jobs that are put from then on; the old ones are the business of
//! those who were there.

use std::error::Error;
use std::io::Write;

use antiphon::tokio::Connection;
use antiphon::{Connector, Envelope, Event, MemberName, Message, ServiceLevel};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

const GROUP: &str = "queue";
const JOB: i16 = 1;
const CLAIM: i16 = 2;
const DONE: i16 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (address, name) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let ended = run(&address, &name, BufReader::new(tokio::io::stdin()), &mut std::io::stdout()).await;
    // Errors of the library name their causes themselves.
    if let Err(error) = &ended {
        eprintln!("queue: {error}");
    }
    // Not by returning: that waits for the thread that reads the input, until there is another line.
    std::process::exit(i32::from(ended.is_err()));
}

pub(crate) async fn run(
    address: &str,
    name: &str,
    input: impl AsyncBufRead + Unpin,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut connection = Connector::new(address).name(name).connect_tokio().await?;
    eprintln!("each line is a job; end with Ctrl-D");
    connection.join(GROUP).await?;
    let mut queue = Queue { me: connection.member(), jobs: Vec::new(), is_free: true };
    let (mut lines, mut jobs_put) = (input.lines(), 0);
    loop {
        // Both can be cancelled, so neither loses anything when the other comes first.
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => {
                    jobs_put += 1;
                    send(&mut connection, JOB, format!("{}/{jobs_put} {line}", queue.me)).await?;
                }
                None => return Ok(connection.disconnect().await?),
            },
            event = connection.receive() => match event? {
                Event::Message(message) => queue.on_message(&message, &mut connection, output).await?,
                Event::View(view) => {
                    queue.free_jobs_of_others_than(&view.members);
                    queue.claim_next(&mut connection).await?;
                }
                Event::Transition(_) | Event::SelfLeave(_) | Event::Rejected(_) => {}
            },
        }
    }
}

async fn send(connection: &mut Connection, kind: i16, text: String) -> Result<(), antiphon::Error> {
    connection.send(&Envelope::new(ServiceLevel::Agreed).to(GROUP)?.message_type(kind), text).await
}

/// What is not done yet. The same in all programs that have been here equally long.
struct Queue {
    me: MemberName,
    /// The oldest first.
    jobs: Vec<Job>,
    /// Whether no claim of this program is on its way, and no job in its hands.
    is_free: bool,
}

struct Job {
    name: String,
    text: String,
    worker: Option<MemberName>,
}

impl Queue {
    async fn on_message(
        &mut self,
        message: &Message,
        connection: &mut Connection,
        output: &mut impl Write,
    ) -> Result<(), Box<dyn Error>> {
        let text = String::from_utf8_lossy(&message.body);
        let (name, text) = text.split_once(' ').unwrap_or((&text, ""));
        match message.message_type {
            JOB => {
                self.jobs.push(Job { name: name.to_owned(), text: text.to_owned(), worker: None });
            }
            CLAIM => self.on_claim(name, message.sender, connection).await?,
            DONE => {
                self.jobs.retain(|job| job.name != name);
                writeln!(output, "{name}: {text}, by {}", message.sender)?;
                self.is_free |= message.sender == self.me;
            }
            _ => {}
        }
        self.claim_next(connection).await?;
        Ok(())
    }

    async fn on_claim(
        &mut self,
        name: &str,
        worker: MemberName,
        connection: &mut Connection,
    ) -> Result<(), antiphon::Error> {
        let free = self.jobs.iter_mut().find(|job| job.name == name && job.worker.is_none());
        match free {
            Some(job) => {
                job.worker = Some(worker);
                if worker == self.me {
                    // The work itself; what takes long belongs in a task of its own.
                    let result = format!("{name} {}", job.text.to_uppercase());
                    send(connection, DONE, result).await?;
                }
            }
            None => self.is_free |= worker == self.me,
        }
        Ok(())
    }

    async fn claim_next(&mut self, connection: &mut Connection) -> Result<(), antiphon::Error> {
        let next = self.jobs.iter().find(|job| job.worker.is_none());
        if let Some(job) = next.filter(|_| self.is_free) {
            self.is_free = false;
            send(connection, CLAIM, job.name.clone()).await?;
        }
        Ok(())
    }

    fn free_jobs_of_others_than(&mut self, members: &[MemberName]) {
        for job in &mut self.jobs {
            job.worker = job.worker.filter(|worker| members.contains(worker));
        }
    }
}
