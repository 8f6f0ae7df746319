"""How a connection ends: so that the client gets its last answer, and no later than it reads.

After gate.py in serve/. uvicorn and the event loop close a connection on bytes that nobody has read, and wait without
end for a client to read what is still to be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


class Lingering:
    """A connection's transport that closes in such a way that the client gets its last answer.

    Where a connection is closed on which bytes have come that nobody read, the system sends a reset, and the client's
    system throws away what it hasn't read yet. So while more may come, only our side ends; what comes is thrown away
    until the client ends its side or has had the time of a request. A second close() closes at once.

    Args:
        transport: the event loop's.
        seconds: for how long a client may read nothing of what is to be sent.
        more_may_come: whether it is still sending.
        read_on: throws away what comes, for a while, and leaves.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        seconds: float,
        more_may_come: Callable[[], bool],
        read_on: Callable[[], None],
    ) -> None:
        self.transport, self.seconds = transport, seconds
        self.more_may_come, self.read_on = more_may_come, read_on
        self.get_extra_info, self.abort = transport.get_extra_info, transport.abort
        self.ended = False
        self.unread: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Send it, unless the last answer has been sent."""
        if not self.ended:
            self.transport.write(data)

    def close(self) -> None:
        """Close: now, or when the client has had its time to send the rest and to read."""
        lingers = not self.is_closing() and self.more_may_come()
        self.ended = True
        if lingers:
            with contextlib.suppress(OSError):  # the client has left already
                self.transport.write_eof()
            self.read_on()
        else:
            self.transport.close()  # after what is still to be sent
            self.watch()

    def is_closing(self) -> bool:
        """Whether the last answer has been written."""
        return self.ended or self.transport.is_closing()

    def lost(self) -> None:
        """The connection has ended."""
        self.ended = True
        self._stop()

    # -- what the client doesn't read

    def watch(self) -> None:
        """Leave the client once nothing has been read of what is still to be sent for as long as a request may take."""
        if self.unread is None and (unsent := self.transport.get_write_buffer_size()):
            self.unread = asyncio.get_running_loop().call_later(self.seconds, self._still_unread, unsent)

    def read_again(self) -> None:
        """It reads."""
        self._stop()
        if self.is_closing():  # there is no other clock any more
            self.watch()

    def _still_unread(self, before: int) -> None:
        self.unread = None
        if self.transport.get_write_buffer_size() < before:
            self.watch()
        else:
            self.transport.abort()

    def _stop(self) -> None:
        if self.unread is not None:
            self.unread.cancel()
            self.unread = None
