//! The clients of the demo, what they receive, and the timeline.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use antiphon::{Connector, Event, Sender, ServiceLevel, View};

use super::PATIENCE;
use crate::error::CliError;
use crate::output::show_line;
use crate::print;

/// Everything that one client received on one connection, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The client's full name.
    pub(super) member: String,
    /// What it received.
    pub(super) events: Vec<Event>,
    /// The bodies that it sent.
    pub(super) sent: Vec<String>,
    /// Whether it was cut off, so that it may lack the end.
    pub(super) cut_off: bool,
}

struct Player {
    sender: Option<Sender>,
    reader: JoinHandle<()>,
    log: usize,
}

/// What has come for one of the logs.
struct News {
    log: usize,
    what: What,
}

enum What {
    Event(Box<Event>),
    /// The connection ended, and the client did not end it.
    Lost,
}

/// See the module documentation.
pub(super) struct Stage {
    start: Instant,
    logs: Vec<Log>,
    players: BTreeMap<String, Player>,
    news: Receiver<News>,
    tell: mpsc::Sender<News>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let (tell, news) = mpsc::channel();
        Self { start: Instant::now(), logs: Vec::new(), players: BTreeMap::new(), news, tell }
    }

    /// Announces what happens next.
    pub(super) fn act(&mut self, what: &str) -> Result<(), CliError> {
        show_line("")?;
        show_line(&format!("{:7.3} s  === {what}", self.start.elapsed().as_secs_f64()))
    }

    /// Connects a client.
    pub(super) fn enter(&mut self, name: &str, address: &str) -> Result<(), CliError> {
        let connection = Connector::new(address).name(name).connect()?;
        let member = connection.member().to_string();
        let (sender, mut receiver) = connection.split();
        let log = self.logs.len();
        let tell = self.tell.clone();
        self.logs.push(Log { member, ..Log::default() });
        let reader = thread::spawn(move || {
            loop {
                let (what, is_last) = match receiver.receive() {
                    Ok(event) => (What::Event(Box::new(event)), false),
                    Err(antiphon::Error::Ended) => return,
                    Err(_) => (What::Lost, true),
                };
                if tell.send(News { log, what }).is_err() || is_last {
                    return;
                }
            }
        });
        self.players.insert(name.to_owned(), Player { sender: Some(sender), reader, log });
        Ok(())
    }

    pub(super) fn join(&mut self, name: &str, group: &str) -> Result<(), CliError> {
        if let Some(sender) = self.players.get_mut(name).and_then(|player| player.sender.as_mut()) {
            sender.join(group)?;
        }
        Ok(())
    }

    /// Sends an agreed message.
    pub(super) fn send(&mut self, name: &str, group: &str, body: &str) -> Result<(), CliError> {
        if let Some(player) = self.players.get_mut(name)
            && let Some(sender) = &mut player.sender
        {
            sender.multicast(ServiceLevel::Agreed, group, body)?;
            if let Some(log) = self.logs.get_mut(player.log) {
                log.sent.push(body.to_owned());
            }
        }
        Ok(())
    }

    /// Waits until the last view of each client has exactly these members.
    pub(super) fn until_all_see(&mut self, clients: &[&str], members: &[&str]) -> Result<(), CliError> {
        let wanted = format!("{} to see {}", clients.join(", "), members.join(", "));
        self.until(&wanted, |stage| {
            clients.iter().all(|client| {
                let view = stage.log_of(client).and_then(|log| last_view(&log.events));
                view.is_some_and(|view| {
                    let seen: Vec<&[u8]> = view.members.iter().map(|member| member.private()).collect();
                    seen.len() == members.len() && members.iter().all(|name| seen.contains(&name.as_bytes()))
                })
            })
        })
    }

    /// Waits until each client has received that many messages.
    pub(super) fn until_received(&mut self, clients: &[&str], messages: usize) -> Result<(), CliError> {
        let wanted = format!("{} to have {messages} messages", clients.join(", "));
        let count = |log: &Log| log.events.iter().filter(|event| matches!(event, Event::Message(_))).count();
        self.until(&wanted, |stage| {
            clients.iter().all(|client| stage.log_of(client).is_some_and(|log| count(log) >= messages))
        })
    }

    /// Waits until a client has received that message.
    pub(super) fn until_sent_is_received(&mut self, client: &str, body: &str) -> Result<(), CliError> {
        let is_it =
            |event: &Event| matches!(event, Event::Message(message) if message.body == body.as_bytes());
        self.until(&format!("{client} to receive \"{body}\""), |stage| {
            stage.log_of(client).is_some_and(|log| log.events.iter().any(is_it))
        })
    }

    /// Disconnects everyone and returns what they received, to the last event.
    pub(super) fn close(mut self) -> Vec<Log> {
        for player in self.players.values_mut() {
            if let Some(sender) = player.sender.take() {
                let _ = sender.disconnect();
            }
        }
        for player in std::mem::take(&mut self.players).into_values() {
            let _ = player.reader.join();
        }
        for News { log, what } in self.news.try_iter() {
            match (self.logs.get_mut(log), what) {
                (Some(log), What::Event(event)) => log.events.push(*event),
                (Some(log), What::Lost) => log.cut_off = true,
                (None, _) => {}
            }
        }
        self.logs
    }

    fn log_of(&self, client: &str) -> Option<&Log> {
        self.logs.get(self.players.get(client)?.log)
    }

    fn until(&mut self, wanted: &str, met: impl Fn(&Self) -> bool) -> Result<(), CliError> {
        let deadline = Instant::now() + PATIENCE;
        while !met(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(news) = self.news.recv_timeout(left) else {
                return Err(CliError::DemoTimedOut { wanted: wanted.to_owned(), patience: PATIENCE });
            };
            self.note(news)?;
        }
        Ok(())
    }

    fn note(&mut self, news: News) -> Result<(), CliError> {
        let at = self.start.elapsed().as_secs_f64();
        let Some(log) = self.logs.get_mut(news.log) else { return Ok(()) };
        let told = match news.what {
            What::Event(event) => {
                let line = print::line(&event);
                log.events.push(*event);
                line
            }
            What::Lost => {
                log.cut_off = true;
                "-- connection lost".to_owned()
            }
        };
        show_line(&format!("{at:7.3} s  {:<11} {told}", log.member))
    }
}

fn last_view(events: &[Event]) -> Option<&View> {
    events.iter().rev().find_map(|event| if let Event::View(view) = event { Some(view) } else { None })
}

#[cfg(test)]
mod tests {
    use antiphon::GroupName;

    use super::*;

    fn event(group: &str) -> Event {
        Event::SelfLeave(GroupName::new(group.as_bytes()).expect("legal"))
    }

    fn player(stage: &mut Stage, name: &str) {
        let (log, tell) = (stage.logs.len(), stage.tell.clone());
        let reader = thread::spawn(move || {
            tell.send(News { log, what: What::Event(Box::new(event("late"))) }).expect("open");
            tell.send(News { log, what: What::Lost }).expect("open");
        });
        stage.logs.push(Log::default());
        stage.players.insert(name.to_owned(), Player { sender: None, reader, log });
    }

    #[test]
    fn what_the_clients_receive_last_is_judged_too() {
        let mut stage = Stage::new();
        player(&mut stage, "a");
        let logs = stage.close();
        assert_eq!(logs[0].events, [event("late")]);
    }

    #[test]
    fn who_is_cut_off_before_the_clients_leave_may_lack_the_end() {
        let mut stage = Stage::new();
        player(&mut stage, "a");
        assert!(stage.close()[0].cut_off);
    }
}
