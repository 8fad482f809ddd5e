"""Changes of the network, as both modules tell them."""

from __future__ import annotations

from conftest import LIMIT, Daemon

from antiphon import Cause, Connection, Transition, View, spread

GROUP = "watched"


def view_with(connection: Connection, members: int) -> View:
    """The first view of so many members. Before it come those of the way there."""
    while True:
        event = connection.receive(timeout=LIMIT)
        if isinstance(event, View) and len(event.members) == members:
            return event


def test_a_daemon_that_dies_is_a_transition_and_then_a_view(two_daemons: tuple[Daemon, Daemon]) -> None:
    here, there = two_daemons
    with here.connect("ann") as ann:
        old = spread.connect(here.address, "old")
        lost = there.connect("lost")
        ann.join(GROUP)
        old.join(GROUP)
        lost.join(GROUP)
        before = view_with(ann, 3)
        while True:
            message = old.receive()
            if isinstance(message, spread.MembershipMsgType) and message.group_id == before.id:
                break
        there.process.kill()
        stay = ("#ann#d2", "#old#d2")
        assert ann.receive(timeout=LIMIT) == Transition(GROUP, before.id)
        after = ann.receive(timeout=LIMIT)
        assert isinstance(after, View) and after.cause is Cause.NETWORK and after.changed_member is None
        assert (after.members, after.vs_sets, after.my_vs_set, after.my_index) == (stay, (stay,), 0, 0)
        assert after.gone_since(before) == ("#lost#d3",)
        signal, view = old.receive(), old.receive()
        assert isinstance(signal, spread.MembershipMsgType) and isinstance(view, spread.MembershipMsgType)
        assert (signal.reason, signal.group_id, signal.members) == (0, before.id, ())
        assert (view.reason, view.group_id) == (spread.CAUSED_BY_NETWORK, after.id)
        assert view.members == view.extra == stay
        old.disconnect()
        lost.close()
