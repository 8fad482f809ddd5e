"""What is received, as objects."""

from __future__ import annotations

import pytest
from conftest import LIMIT, Daemon

import antiphon
from antiphon import Cause, GroupId, Message, ServiceLevel, Transition, View


def view_of(members: tuple[str, ...]) -> View:
    """A view of these members, after a network change."""
    return View("group", GroupId(1, 2, 3), Cause.NETWORK, None, members, 0, (members,), 0)


def test_members_are_new_or_gone_by_name_and_keep_their_order() -> None:
    before, after = view_of(("#d#n", "#a#n", "#b#n")), view_of(("#a#n", "#e#n", "#c#n"))
    assert after.new_since(before) == ("#e#n", "#c#n")
    assert after.gone_since(before) == ("#d#n", "#b#n")
    assert after.new_since(after) == ()


def test_who_came_along_has_the_same_state() -> None:
    members = ("#a#n", "#b#n", "#c#n")

    def single(cause: Cause, changed_member: str, index: int) -> View:
        return View("group", GroupId(1, 2, 3), cause, changed_member, members, index, (), 0)

    def network(sets: tuple[tuple[str, ...], ...], index: int, own: int) -> View:
        return View("group", GroupId(1, 2, 3), Cause.NETWORK, None, members, index, sets, own)

    assert single(Cause.JOIN, "#b#n", 0).came_along == ("#a#n", "#c#n")
    assert single(Cause.JOIN, "#b#n", 1).came_along == ("#b#n",)
    assert single(Cause.LEAVE, "#d#n", 0).came_along == members
    sides = (("#b#n",), ("#c#n", "#a#n"))
    assert network(sides, 0, 1).came_along == ("#a#n", "#c#n")
    assert network(sides, 1, 0).came_along == ("#b#n",)
    assert network((), 1, 0).came_along == ()


def test_service_levels_are_ordered() -> None:
    levels = list(ServiceLevel)
    assert levels == sorted(levels) and ServiceLevel.SAFE > ServiceLevel.AGREED
    assert [level.value for level in levels] == [1, 2, 4, 8, 16, 32]


def test_events_match_patterns_and_show_themselves(daemon: Daemon) -> None:
    with daemon.connect("ann") as ann:
        ann.join("shown")
        match ann.receive(timeout=LIMIT):
            case View(group="shown", cause=Cause.JOIN, members=[only]):
                assert only == ann.member
            case other:
                pytest.fail(f"not the view: {other}")
        ann.multicast(ServiceLevel.SAFE, "shown", b"x" * 61, message_type=7)
        match ann.receive(timeout=LIMIT):
            case Message(sender, body) as message:
                assert (sender, body) == (ann.member, b"x" * 61)
                shown = (
                    "<Message sender='#ann#localhost' service=safe groups=('shown',) message_type=7 body=b'"
                )
                assert repr(message) == f"{shown}{'x' * 60}' + 1 bytes>"
                assert message.body is message.body and message.flags == ServiceLevel.SAFE
            case other:
                pytest.fail(f"not the message: {other}")
    transition = Transition("shown", GroupId(1, 2, 3))
    assert repr(transition) == "Transition(group='shown', id=GroupId(leader=1, time=2, counter=3))"


def test_all_exceptions_have_one_root_and_a_code() -> None:
    kinds = [kind for name in antiphon.__all__ if isinstance(kind := getattr(antiphon, name), type)]
    errors = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, antiphon.AntiphonError) and error.code < 0
    assert issubclass(antiphon.ConnectTimeout, TimeoutError)
    assert issubclass(antiphon.ConnectionClosed, ConnectionError)
