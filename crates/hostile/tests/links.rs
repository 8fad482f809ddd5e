//! Daemons whose datagrams are altered on their way, in all steps of forming a ring too.

use std::collections::BTreeSet;

use antiphon_hostile::{Alteration, Change, Reached, links};
use antiphon_wire::ring::DatagramKind;

/// How many clusters there are, one after the other.
const CLUSTERS: usize = 12;

/// Alterations of datagrams of all kinds.
fn alterations(random: &mut fastrand::Rng) -> Vec<Alteration> {
    (0..40).map(|_| Alteration::new(std::array::from_fn(|_| random.u8(..)))).collect()
}

#[test]
fn altered_datagrams_never_make_daemons_panic() {
    let mut random = fastrand::Rng::with_seed(4805);
    let told: Vec<Reached> = (0..CLUSTERS).map(|_| links(alterations(&mut random))).collect();
    let altered: BTreeSet<DatagramKind> = told.iter().flat_map(|told| told.altered.iter().copied()).collect();
    let whole = told.iter().filter(|told| told.is_whole).count();
    let rings: u64 = told.iter().map(|told| told.rings).sum();
    println!("{CLUSTERS} clusters, {rings} rings, {whole} whole in the end");
    let not_sent = [DatagramKind::Leave, DatagramKind::Piece];
    for kind in DatagramKind::ALL {
        assert_eq!(altered.contains(&kind), !not_sent.contains(&kind), "{kind:?}");
    }
    assert!(rings > 3 * 20 * CLUSTERS as u64, "a ring is formed for every second alteration");
    assert!(whole > CLUSTERS * 9 / 10, "most alterations do no lasting harm");
}

#[test]
fn daemons_are_one_ring_whatever_datagrams_were_lost_doubled_or_late() {
    let random = &mut fastrand::Rng::with_seed(4806);
    for number in 0..CLUSTERS {
        let mut alterations = alterations(random);
        for alteration in &mut alterations {
            alteration.change = [Change::Lose, Change::Double, Change::Delay][random.usize(..3)];
        }
        let told = links(alterations);
        assert!(told.is_whole && told.delivered > 1000, "{number}: {told:?}");
    }
}
