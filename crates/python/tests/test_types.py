"""What is received, as objects."""

from __future__ import annotations

import pytest
from conftest import LIMIT, Daemon

import antiphon
from antiphon import Cause, GroupId, Message, ServiceLevel, Transition, View


def view_of(members: tuple[str, ...], cause: Cause = Cause.NETWORK) -> View:
    """A view of these members."""
    return View("group", GroupId(1, 2, 3), cause, members, 0, (members,), 0)


def test_members_are_new_or_gone_by_name_and_keep_their_order() -> None:
    before, after = view_of(("#d#n", "#a#n", "#b#n")), view_of(("#a#n", "#e#n", "#c#n"))
    assert after.new_since(before) == ("#e#n", "#c#n")
    assert after.gone_since(before) == ("#d#n", "#b#n")
    assert after.new_since(after) == ()


def test_who_came_along_has_the_same_state() -> None:
    members = ("#a#n", "#b#n", "#c#n")

    def view(cause: Cause, sets: tuple[tuple[str, ...], ...], index: int, own: int) -> View:
        return View("group", GroupId(1, 2, 3), cause, members, index, sets, own)

    joiner = (("#b#n",),)
    assert view(Cause.JOIN, joiner, 0, 0).came_along == ("#a#n", "#c#n")
    assert view(Cause.JOIN, joiner, 1, 0).came_along == ("#b#n",)
    assert view(Cause.LEAVE, (("#d#n",),), 0, 0).came_along == members
    sides = (("#b#n",), ("#c#n", "#a#n"))
    assert view(Cause.NETWORK, sides, 0, 1).came_along == ("#a#n", "#c#n")
    assert view(Cause.NETWORK, sides, 1, 0).came_along == ("#b#n",)
    assert view(Cause.NETWORK, (), 1, 0).came_along == ()


def test_a_network_change_is_about_no_single_member() -> None:
    assert view_of(("#a#n",)).changed_member is None
    assert view_of(("#a#n",), Cause.JOIN).changed_member == "#a#n"
    assert View("group", GroupId(1, 2, 3), Cause.JOIN, (), None, (), 0).changed_member is None


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
