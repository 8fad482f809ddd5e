"""What can go wrong.

Each class has in ``code`` the number by which the C library and the protocol know the reason.
"""


class AntiphonError(Exception):
    """The root of all exceptions of this package."""

    code = -19


class AddressError(AntiphonError, ValueError):
    """The text does not name a daemon."""

    code = -1


class ConnectError(AntiphonError, OSError):
    """Nobody answers at the daemon's address. ``__cause__`` is what the system said last."""

    code = -2


class ConnectTimeout(ConnectError, TimeoutError):
    """The session was not open in time."""


class RefusedError(AntiphonError):
    """The daemon was reached and refused the session."""

    code = -4


class QuotaError(RefusedError):
    """The daemon has as many sessions as it allows."""

    code = -3


class NameRefusedError(RefusedError):
    """The daemon does not allow the private name."""

    code = -5


class NameInUseError(RefusedError):
    """Another session of the daemon has the private name."""

    code = -6


class VersionError(RefusedError):
    """The daemon does not serve this client's version."""

    code = -7


class AuthenticationError(RefusedError):
    """The daemon does not offer the authentication method, or it was not passed."""

    code = -9


class ConnectionClosed(AntiphonError, ConnectionError):
    """The connection is closed: by this program, or because the daemon stopped or dropped this client."""

    code = -8


class ProtocolError(AntiphonError):
    """The daemon sent what the protocol does not know. The connection is of no use then."""

    code = -13


class IllegalNameError(AntiphonError, ValueError):
    """A name of a group, a member or this client is not legal."""

    code = -14


class IllegalPrivateNameError(IllegalNameError):
    """The private name that was asked for is not legal: it has 1 to 10 characters from ``$`` to ``~``."""

    code = -5


class ServiceError(AntiphonError, ValueError):
    """A message has no service level, or several."""

    code = -12


class GroupCountError(AntiphonError, ValueError):
    """A message goes to 1 to 100 groups."""

    code = -13


class MessageTooLong(AntiphonError, ValueError):
    """A message has at most 143,952 bytes, including 32 for each group."""

    code = -17
