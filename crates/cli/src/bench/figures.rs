//! `antiphon bench figures`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_bench::figures::{Extent, Figures, Taken, experiments, take_figures};
use indicatif::ProgressBar;

use crate::error::CliError;
use crate::output::{code, remark, show_line};

#[derive(Debug, clap::Args)]
pub(super) struct FiguresArgs {
    /// Directory for tables (CSV), pictures (SVG) and the page (index.html).
    #[arg(short, long, value_name = "DIRECTORY")]
    out: PathBuf,
    /// Fewer points and a single round: about five minutes.
    #[arg(long)]
    quick: bool,
    /// How often all experiments are made, one after the other; a row is of the round with the median
    /// [default: 3, 1 with --quick].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
    /// Test aid: a point or two of each experiment.
    #[arg(long, hide = true, conflicts_with = "quick")]
    glimpse: bool,
    /// Some experiments only.
    #[arg(long, value_name = "NAME", value_delimiter = ',', long_help = only_help())]
    only: Vec<String>,
    /// The program whose command `daemon` runs a daemon [default: this one].
    #[arg(long, value_name = "PATH")]
    daemon_program: Option<PathBuf>,
}

fn only_help() -> String {
    let names: String = experiments().map(|(name, title)| format!("\n  {name:13} {title}")).collect();
    format!("Some experiments only:{names}")
}

/// Fails when an experiment did, or a daemon broke a promise in any.
pub(super) fn run(args: FiguresArgs) -> Result<ExitCode, CliError> {
    let program = match args.daemon_program {
        Some(program) => program,
        None => super::this_program()?,
    };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (extent, rounds) = match (args.quick, args.glimpse) {
        (true, _) => (Extent::Quick, 1),
        (_, true) => (Extent::Glimpse, 1),
        (false, false) => (Extent::Full, 3),
    };
    let figures = Figures {
        program,
        extent,
        rounds: args.rounds.unwrap_or(rounds).into(),
        out: args.out.clone(),
        only: args.only,
        command: format!("antiphon {}", words.join(" ")),
    };
    let bar = ProgressBar::new_spinner();
    if io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    let taken = take_figures(&figures, &|step| {
        if io::stderr().is_terminal() {
            bar.set_message(step.to_owned());
        } else {
            remark(step);
        }
    })?;
    bar.finish_and_clear();
    show_line(&args.out.join("index.html").display().to_string())?;
    let Taken { failed, faults } = &taken;
    failed.iter().for_each(|(name, error)| remark(&format!("antiphon: {name} failed: {error}")));
    if *faults > 0 {
        remark(&format!("antiphon: {faults} gaps, duplicates, order differences or false views"));
    }
    Ok(code(taken == Taken::default()))
}
