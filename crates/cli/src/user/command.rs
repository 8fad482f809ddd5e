//! What can be typed.

use antiphon::{Destination, GroupName, MemberName, ServiceLevel, ServiceLevelError};

/// The commands, for people.
pub(super) const HELP: &str = "\
join GROUP                    become a member and get its messages
leave GROUP                   stop being a member
send GROUP[,GROUP...] TEXT    send a message, also without being a member
private #NAME#DAEMON TEXT     send a message to one client
LEVEL GROUP[,GROUP...] TEXT   send with another service level, once:
                              unreliable, reliable, fifo, causal, agreed or safe
service LEVEL                 service level of send and private (agreed at first)
type NUMBER                   message type of send and private (0 at first)
whoami                        the name by which others can reach this client
help                          this text
quit                          disconnect; so does the end of the input";

/// What messages are sent with unless a command says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Defaults {
    /// The service level.
    pub(super) service: ServiceLevel,
    /// The application's message type.
    pub(super) message_type: i16,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { service: ServiceLevel::Agreed, message_type: 0 }
    }
}

/// A command, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Nothing,
    Help,
    WhoAmI,
    Quit,
    Join(GroupName),
    Leave(GroupName),
    Defaults(Defaults),
    Send { service: ServiceLevel, message_type: i16, to: Vec<GroupName>, text: String },
}

impl Command {
    /// Reads a line. The error says how the command is written.
    pub(super) fn parse(line: &str, defaults: &Defaults) -> Result<Self, String> {
        let (verb, rest) = word(line);
        match verb {
            "" => Ok(Self::Nothing),
            "help" | "?" => Ok(Self::Help),
            "whoami" => Ok(Self::WhoAmI),
            "quit" | "exit" => Ok(Self::Quit),
            "join" => group(rest, "join GROUP").map(Self::Join),
            "leave" => group(rest, "leave GROUP").map(Self::Leave),
            "service" => {
                let service = rest.parse().map_err(|error: ServiceLevelError| error.to_string())?;
                Ok(Self::Defaults(Defaults { service, ..*defaults }))
            }
            "type" => {
                let usage = |_| "write: type NUMBER, from -32768 to 32767".to_owned();
                Ok(Self::Defaults(Defaults { message_type: rest.parse().map_err(usage)?, ..*defaults }))
            }
            "send" => send(defaults, rest),
            "private" => private(defaults, rest),
            level => match level.parse() {
                Ok(service) => send(&Defaults { service, ..*defaults }, rest),
                Err(_) => Err(format!("'{level}' is not a command; type help for those that are")),
            },
        }
    }
}

/// The first word, and what follows the blanks after it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn group(name: &str, usage: &str) -> Result<GroupName, String> {
    GroupName::new(name.as_bytes()).map_err(|error| format!("{error}; write: {usage}"))
}

fn send(defaults: &Defaults, rest: &str) -> Result<Command, String> {
    let usage = |error| format!("{error}; write: send GROUP[,GROUP...] TEXT");
    let (groups, text) = word(rest);
    let to: Result<Vec<GroupName>, _> = groups.split(',').map(Destination::group_name).collect();
    Ok(message(defaults, to.map_err(usage)?, text))
}

fn private(defaults: &Defaults, rest: &str) -> Result<Command, String> {
    let usage = |error| format!("{error}; write: private #NAME#DAEMON TEXT");
    let (member, text) = word(rest);
    let to = MemberName::parse(member.as_bytes()).and_then(|member| member.group_name());
    Ok(message(defaults, vec![to.map_err(usage)?], text))
}

fn message(defaults: &Defaults, to: Vec<GroupName>, text: &str) -> Command {
    let Defaults { service, message_type } = *defaults;
    Command::Send { service, message_type, to, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line, &Defaults::default())
    }

    fn sent(line: &str) -> (ServiceLevel, Vec<String>, String) {
        match parse(line) {
            Ok(Command::Send { service, to, text, .. }) => {
                (service, to.iter().map(ToString::to_string).collect(), text)
            }
            other => panic!("{line} gave {other:?}"),
        }
    }

    #[test]
    fn messages_go_to_groups_and_members() {
        let to = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            sent("send chat hello  world"),
            (ServiceLevel::Agreed, to(&["chat"]), "hello  world".into())
        );
        assert_eq!(sent(" safe a,#bob#db1 x"), (ServiceLevel::Safe, to(&["a", "#bob#db1"]), "x".into()));
        assert_eq!(sent("private #bob#db1 x"), (ServiceLevel::Agreed, to(&["#bob#db1"]), "x".into()));
        assert_eq!(sent("send chat").2, "");
    }

    #[test]
    fn defaults_change_one_at_a_time() {
        let Ok(Command::Defaults(defaults)) = parse("service safe") else { panic!("not accepted") };
        assert_eq!(defaults, Defaults { service: ServiceLevel::Safe, message_type: 0 });
        let changed = Command::parse("type -7", &defaults);
        assert_eq!(changed, Ok(Command::Defaults(Defaults { message_type: -7, ..defaults })));
    }

    #[test]
    fn mistakes_are_answered_with_how_to_write_it() {
        for (line, hint) in [
            ("join", "write: join GROUP"),
            ("join two words", "write: join GROUP"),
            ("send", "write: send"),
            ("send a,,b x", "write: send"),
            ("private bob x", "write: private"),
            ("service best", "agreed"),
            ("type 70000", "write: type"),
            ("shout", "type help"),
        ] {
            assert!(parse(line).is_err_and(|error| error.contains(hint)), "{line}");
        }
        assert_eq!(parse("  "), Ok(Command::Nothing));
    }
}
