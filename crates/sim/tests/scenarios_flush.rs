//! Stories about programs with the flush layer (docs/testing.md, Scenarios).

use antiphon_sim::client::flush::Deed;
use antiphon_sim::scenario::ms;
use antiphon_sim::trace::FlushEvent;
use antiphon_sim::workload::group;
use antiphon_sim::world::{ClientId, Fault, World};

/// One program with the flush layer at each daemon, all members of `v`.
fn programs<const N: usize>(world: &mut World) -> [ClientId; N] {
    let programs = std::array::from_fn(|host| world.add_flush_client(host, "f", Some(ms(2000))));
    for program in programs {
        world.open(program);
        world.act(program, group("v"), Deed::Join);
        world.run(ms(20));
        flush(world, &programs);
    }
    programs
}

/// These programs flush, if they were asked to.
fn flush(world: &mut World, programs: &[ClientId]) {
    for program in programs {
        world.act(*program, group("v"), Deed::Flush);
    }
    world.run(ms(20));
}

/// What a program was told last, and did.
fn told(world: &World, program: ClientId) -> Vec<FlushEvent> {
    let session = world.client(program).trace_position();
    let traces = &world.recorder.trace.flushes;
    let records = traces.iter().find(|trace| Some(trace.session) == session).map(|trace| &trace.records);
    records.into_iter().flatten().map(|(_, _, event)| event.clone()).collect()
}

/// How many members the last view of a program has.
fn members(world: &World, program: ClientId) -> usize {
    let view = |event: &FlushEvent| match event {
        FlushEvent::View(view) => Some(view.members.len()),
        _ => None,
    };
    told(world, program).iter().rev().find_map(view).unwrap_or_default()
}

/// SC-57: of five members one never flushes, and another crashes while all others flush. They wait
/// for the silent one as long as its limit, not longer.
#[test]
fn a_silent_member_holds_up_the_others_no_longer_than_its_limit() {
    let mut world = World::ring_of(5);
    let all: [ClientId; 5] = programs(&mut world);
    let [p, q, r, crashes, silent] = all;
    world.run_until_quiet();
    flush(&mut world, &all);
    assert!(all.iter().all(|program| members(&world, *program) == 5), "all are in one view");

    // A change: a sixth program comes.
    let sixth = world.add_flush_client(0, "late", Some(ms(2000)));
    world.open(sixth);
    let asked = world.now();
    world.act(sixth, group("v"), Deed::Join);
    world.run(ms(10));
    world.act(p, group("v"), Deed::Flush);
    world.act(q, group("v"), Deed::Flush);
    world.apply(Fault::Crash { host: 3, silent: false });
    assert!(world.client(crashes).session().is_none(), "it crashed while it was to flush");
    world.run(ms(400));
    world.act(r, group("v"), Deed::Flush);
    world.run(ms(1000));
    assert_eq!(members(&world, p), 5, "the silent member holds up the others");
    assert!(!told(&world, silent).contains(&FlushEvent::Overdue), "its time is not over");

    world.wait_for("the view", |world| members(world, p) == 4);
    assert!(world.now().since(asked) < ms(2200), "the others waited longer than the limit");
    world.run(ms(100));
    for program in [p, q, r, sixth] {
        assert_eq!(members(&world, program), 4);
    }
    let end: Vec<FlushEvent> = told(&world, silent).into_iter().rev().take(2).collect();
    assert_eq!(end, [FlushEvent::Left, FlushEvent::Overdue], "it was told why it is out");
    world.apply(Fault::Restart { host: 3, after: ms(1) });
    world.finish();
}
