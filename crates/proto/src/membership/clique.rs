//! Who can form a ring: cliques of daemons that all hear each other (docs/protocol.md, M4).

use std::collections::{BTreeMap, BTreeSet};

use antiphon_wire::ids::ProcessId;

/// The clique that contains `me`.
///
/// Vertices are `me` and everyone with a row; two are joined if both name each other. The vertex
/// with the fewest neighbours (the greater process among equals) is removed until all that are left
/// are joined. If that removed `me`, the same is done among the rest. Every daemon with the same
/// rows computes the same cliques, wherever it stands itself: with cliques grown around each
/// proposer, two leaders could propose overlapping rings for ever.
pub(crate) fn containing(
    me: ProcessId,
    mine: &BTreeSet<ProcessId>,
    rows: &BTreeMap<ProcessId, &BTreeSet<ProcessId>>,
) -> Vec<ProcessId> {
    let vertices: Vec<ProcessId> =
        rows.keys().copied().chain([me]).collect::<BTreeSet<_>>().into_iter().collect();
    let row = |process: &ProcessId| if *process == me { Some(mine) } else { rows.get(process).copied() };
    let rows: Vec<_> = vertices.iter().map(row).collect();
    let hears = |a: usize, b: usize| match (rows.get(a), vertices.get(b)) {
        (Some(Some(row)), Some(other)) => row.contains(other),
        _ => false,
    };
    let matrix: Vec<Vec<bool>> = (0..vertices.len())
        .map(|a| (0..vertices.len()).map(|b| a != b && hears(a, b) && hears(b, a)).collect())
        .collect();
    let joined = |a: usize, b: usize| matrix.get(a).and_then(|row| row.get(b)).copied().unwrap_or(false);
    let mut pool: Vec<usize> = (0..vertices.len()).collect();
    loop {
        let clique = reduce(pool.clone(), joined);
        let members = || clique.iter().filter_map(|vertex| vertices.get(*vertex)).copied();
        if members().any(|member| member == me) {
            return members().collect();
        }
        pool.retain(|vertex| !clique.contains(vertex));
    }
}

/// Removes vertices, given in order, until all that are left are joined.
fn reduce(mut clique: Vec<usize>, joined: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    loop {
        let degree = |a: usize| clique.iter().filter(|b| joined(a, **b)).count();
        let incomplete =
            clique.iter().map(|a| (degree(*a), *a)).filter(|(links, _)| links + 1 < clique.len());
        let worst = incomplete.min_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        match worst {
            Some((_, vertex)) => clique.retain(|other| *other != vertex),
            None => return clique,
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::ids::DaemonId;

    use super::*;

    fn process(daemon: u16) -> ProcessId {
        ProcessId { daemon: DaemonId(daemon), incarnation: 1 }
    }

    /// The clique of `me` when everyone hears everyone but for the given cut links.
    fn clique(me: u16, daemons: u16, cut: &[(u16, u16)]) -> Vec<u16> {
        let row = |of: u16| -> BTreeSet<ProcessId> {
            (0..daemons).filter(|other| *other != of && !cut.contains(&(*other, of))).map(process).collect()
        };
        let rows: BTreeMap<u16, _> = (0..daemons).map(|of| (of, row(of))).collect();
        let others = rows.iter().filter(|(of, _)| **of != me).map(|(of, row)| (process(*of), row)).collect();
        containing(process(me), &rows[&me], &others).iter().map(|member| member.daemon.0).collect()
    }

    #[test]
    fn daemons_that_all_hear_each_other_are_one_clique() {
        for me in 0..4 {
            assert_eq!(clique(me, 4, &[]), [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_link_cut_one_way_parts_its_ends_and_everyone_agrees_how() {
        let cut = [(0, 1)];
        assert_eq!(clique(0, 3, &cut), [0, 2]);
        assert_eq!(clique(2, 3, &cut), [0, 2]);
        assert_eq!(clique(1, 3, &cut), [1]);
    }

    #[test]
    fn a_daemon_that_hears_nobody_is_alone() {
        let deaf = [(0, 3), (1, 3), (2, 3)];
        assert_eq!(clique(3, 4, &deaf), [3]);
        assert_eq!(clique(0, 4, &deaf), [0, 1, 2]);
    }
}
