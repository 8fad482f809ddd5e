//! Troubles at some datagrams of some stories; `antiphon-sim every` takes all (docs/testing.md, Every datagram).

use antiphon_sim::every::{Series, Story, Trial, Trouble};
use antiphon_sim::runner;

#[test]
fn trouble_at_any_datagram_breaks_no_promise() {
    runner::catch_panics();
    for story in [Story::Boot, Story::Hole, Story::BusyMerge, Story::LeaderRestart, Story::Reload] {
        for trouble in [Trouble::Lose, Trouble::SenderDies, Trouble::ReceiverPauses, Trouble::CutShort] {
            let series = Series::run(story, trouble, 41, 2);
            assert!(series.runs > 5, "{series}");
            assert!(series.broken.is_empty(), "{series}");
        }
    }
}

#[test]
fn the_same_trial_leaves_the_same_trace() {
    let trial = Trial::new(Story::Merge, Some((Trouble::SenderRestarts, 100)));
    let (one, other) = (trial.run(), trial.run());
    assert_eq!(runner::hash(&one.trace), runner::hash(&other.trace));
    assert_ne!(runner::hash(&one.trace), runner::hash(&Trial::new(Story::Merge, None).run().trace));
}

/// A core that installs a ring too early breaks no promise unless somebody dies at the wrong moment.
#[cfg(feature = "mutants")]
#[test]
fn a_planted_fault_shows_at_some_datagram() {
    runner::catch_panics();
    let broken = |trouble| {
        let mut trial = Trial::new(Story::Messages, trouble);
        trial.settings.mutant = Some(antiphon_proto::mutant::Mutant::InstallEarly);
        let outcome = trial.run();
        (outcome.datagrams, outcome.broken)
    };
    let (datagrams, without) = broken(None);
    assert!(without.is_empty(), "{without:?}");
    let mut trials = (0..datagrams).step_by(8).map(|at| broken(Some((Trouble::SenderDiesBefore, at))));
    assert!(trials.any(|(_, broken)| !broken.is_empty()));
}
