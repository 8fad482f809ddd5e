//! The options that all clients have: where the daemon is and who is calling.

use std::path::PathBuf;
use std::time::Duration;

use antiphon::{AuthMethod, Connection, Connector};
use antiphon_daemon::conf::UNIX_DIRECTORY;
use clap::ValueEnum;

use crate::error::CliError;

const YEAR_SECONDS: f64 = 31_536_000.0;

/// Where the daemon is and who is calling.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The daemon: PORT for the Unix socket on this machine, PORT@HOST for TCP.
    #[arg(short = 'c', long, value_name = "PORT[@HOST]", default_value = "4803")]
    connect: String,
    /// Private name, 1 to 10 characters from '$' to '~'; the daemon makes one up if none is given.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    name: String,
    /// Directory of the daemon's Unix socket.
    #[arg(long, value_name = "DIRECTORY", default_value = UNIX_DIRECTORY)]
    unix_dir: PathBuf,
    /// How to authenticate; may be given several times.
    #[arg(long, value_enum, default_value = "null")]
    auth: Vec<Auth>,
    /// Seconds that connecting may take.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, allow_negative_numbers = true)]
    connect_timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Auth {
    /// No proof.
    Null,
    /// By the address that the connection comes from.
    Ip,
}

impl ConnectArgs {
    /// Opens a session.
    pub(crate) fn open(&self, membership: bool) -> Result<Connection, CliError> {
        let connector = Connector::new(&self.connect)
            .name(&self.name)
            .unix_directory(&self.unix_dir)
            .auth(&methods(&self.auth))
            .membership(membership)
            .timeout(self.connect_timeout);
        Ok(connector.connect()?)
    }
}

/// The methods of these names.
pub(crate) fn methods(names: &[Auth]) -> Vec<AuthMethod> {
    let method = |auth: &Auth| match auth {
        Auth::Null => AuthMethod::Null,
        Auth::Ip => AuthMethod::Ip,
    };
    names.iter().map(method).collect()
}

/// Reads a length of time in seconds, possibly with a fraction, up to a year.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=YEAR_SECONDS).contains(seconds));
    let seconds = seconds.ok_or("expected seconds from 0 to 31536000, as in 2 or 0.5")?;
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_no_sign() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["-1", "soon", "inf", "nan", "31536001"].iter().all(|text| seconds(text).is_err()));
    }
}
