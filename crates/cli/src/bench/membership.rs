//! `antiphon bench membership`.

use std::process::ExitCode;

use antiphon_bench::{MembershipLoad, measure_membership};

use super::load::DaemonArgs;
use crate::error::CliError;
use crate::output::{code, show, show_json};

#[derive(Debug, clap::Args)]
pub(super) struct MembershipArgs {
    #[command(flatten)]
    daemons: DaemonArgs,
    /// Sizes of the group, ascending, with commas between them; members are spread over the daemons.
    #[arg(short, long, value_delimiter = ',', default_values_t = [20, 200, 500, 1000])]
    members: Vec<usize>,
    /// Joins and leaves of one more member, with each size.
    #[arg(short, long, default_value = "20")]
    rounds: usize,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: MembershipArgs) -> Result<ExitCode, CliError> {
    let (group, reach) = (args.daemons.group(), args.daemons.reach());
    let load = MembershipLoad {
        daemons: args.daemons.daemons,
        reach,
        group,
        members: args.members,
        rounds: args.rounds,
    };
    let mut shown = Ok(());
    let rows = measure_membership(&load, |row| {
        if !args.json {
            shown = show(&row.to_string());
        }
    })?;
    shown?;
    if args.json {
        show_json(&rows)?;
    }
    Ok(code(rows.iter().all(|row| row.false_views == 0)))
}
