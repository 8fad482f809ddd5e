"""The names of the old bindings."""

from __future__ import annotations

import select

import pytest
from conftest import LIMIT, Daemon

from antiphon import spread


def connect(daemon: Daemon, name: str = "", membership: int = 1) -> spread.MailboxType:
    """A mailbox."""
    return spread.connect(daemon.address, name, 0, membership)


def regular(mailbox: spread.MailboxType) -> spread.RegularMsgType:
    """The next message, which a client sent."""
    received = mailbox.receive()
    assert isinstance(received, spread.RegularMsgType), received
    return received


def membership(mailbox: spread.MailboxType) -> spread.MembershipMsgType:
    """The next message, which is about a membership."""
    received = mailbox.receive()
    assert isinstance(received, spread.MembershipMsgType), received
    return received


def test_a_program_in_the_old_style_runs(daemon: Daemon) -> None:
    ann, ben = connect(daemon, "ann"), connect(daemon, "ben")
    assert ann.private_group == "#ann#localhost"
    ann.join("old")
    first = membership(ann)
    assert (first.group, first.members, first.reason) == ("old", (ann.private_group,), spread.CAUSED_BY_JOIN)
    assert first.extra == (ann.private_group,)
    ben.join("old")
    second, same = membership(ann), membership(ben)
    assert second.group_id == same.group_id != first.group_id and second.extra == (ben.private_group,)
    assert ann.multicast(spread.AGREED_MESS, "old", "text", 7) == 4
    got = regular(ben)
    assert (got.groups, got.message, got.msg_type) == (("old",), b"text", 7)
    assert (got.sender, got.endian) == (ann.private_group, 0)
    groups = ("old", "older")
    assert ben.multigroup_multicast(spread.SAFE_MESS | spread.SELF_DISCARD, groups, b"several", -1) == 7
    assert [regular(ann).message for _ in range(2)] == [b"text", b"several"]
    ben.leave("old")
    left = membership(ann)
    assert (left.reason, left.extra) == (spread.CAUSED_BY_LEAVE, (ben.private_group,))
    out = membership(ben)
    assert (out.group, out.reason, out.members, out.extra) == ("old", spread.CAUSED_BY_LEAVE, (), ())
    ann.disconnect()
    ben.disconnect()


def test_the_socket_tells_whether_there_is_another_message(daemon: Daemon) -> None:
    sender, receiver = connect(daemon), connect(daemon, "slow", 0)
    assert receiver.poll() == 0
    for number in range(50):
        sender.multicast(spread.FIFO_MESS, receiver.private_group, str(number) * number)
    for number in range(50):
        assert select.select([receiver], [], [], LIMIT)[0]
        assert receiver.poll() > 0
        assert regular(receiver).message == (str(number) * number).encode()
    assert receiver.poll() == 0 and select.select([receiver.fileno()], [], [], 0)[0] == []
    sender.disconnect()
    receiver.disconnect()


def test_a_message_that_comes_with_the_handshake_stays_in_the_socket(daemon: Daemon) -> None:
    sender = connect(daemon)
    for _ in range(20):
        sender.multicast(spread.FIFO_MESS, "#early#localhost", b"x")
        early = connect(daemon, "early", 0)
        sender.multicast(spread.FIFO_MESS, early.private_group, b"last")
        while True:
            assert select.select([early], [], [], LIMIT)[0]
            if regular(early).message == b"last":
                break
        early.disconnect()
    sender.disconnect()


def test_a_large_message_comes_in_parts(daemon: Daemon) -> None:
    alone = connect(daemon)
    body = bytes(range(256)) * 500
    assert alone.multicast(spread.AGREED_MESS, alone.private_group, body) == len(body)
    assert regular(alone).message == body
    alone.disconnect()


def test_bodies_are_text_or_have_bytes(daemon: Daemon) -> None:
    alone = connect(daemon, membership=0)
    for wrong in (5, [1, 2], None):
        with pytest.raises(TypeError):
            alone.multicast(spread.FIFO_MESS, alone.private_group, wrong)  # type: ignore[arg-type]
    for body in (b"ab", bytearray(b"ab"), memoryview(b"a-b-")[::2], "ab"):
        assert alone.multicast(spread.FIFO_MESS, alone.private_group, body) == 2
        assert regular(alone).message == b"ab"
    alone.disconnect()


def test_errors_have_the_old_numbers(daemon: Daemon) -> None:
    def code(failing: object) -> int:
        assert callable(failing)
        with pytest.raises(spread.error) as caught:
            failing()
        number, reason = caught.value.args
        assert isinstance(number, int) and isinstance(reason, str)
        assert (caught.value.errno, caught.value.strerror) == (number, reason)
        return number

    taken = connect(daemon, "taken")
    assert code(lambda: connect(daemon, "taken")) == spread.REJECT_NOT_UNIQUE
    assert code(lambda: connect(daemon, "a#b")) == spread.REJECT_ILLEGAL_NAME
    assert code(lambda: spread.connect("1@127.0.0.1")) == spread.COULD_NOT_CONNECT
    assert code(lambda: spread.connect("localhost:4803")) == spread.ILLEGAL_SPREAD
    assert code(lambda: taken.join("two words")) == spread.ILLEGAL_GROUP
    assert code(lambda: taken.leave("")) == spread.ILLEGAL_GROUP
    assert code(lambda: taken.multicast(spread.FIFO_MESS, "g", bytes(150_000))) == spread.MESSAGE_TOO_LONG
    assert code(lambda: taken.multicast(0, "g", b"")) == spread.ILLEGAL_SERVICE
    taken.disconnect()
    assert code(taken.receive) == spread.ILLEGAL_SESSION
    assert code(taken.disconnect) == spread.ILLEGAL_SESSION


def test_names_are_cut_and_the_version_is_told(daemon: Daemon) -> None:
    long = connect(daemon, "a-name-of-more-than-ten")
    assert long.private_group == "#a-name-of-#localhost"
    long.disconnect()
    assert spread.version() == (4, 4, 0)
    assert spread.MEMBERSHIP_MESS & spread.REG_MEMB_MESS and spread.DEFAULT_SPREAD_PORT == 4803
