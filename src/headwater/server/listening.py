"""The server's end of a connection: uvicorn's own, which also closes connections that do not say what they want.

uvicorn bounds how large a request's head may grow (64 KiB) and how long an idle connection stays
after an answer, but not how long a head may take. `guard.Limited` bounds the body's time.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 20.0
"""How long a request line and its headers may take from the connection's beginning, or from the last answer."""


class Patient(H11Protocol):
    """HTTP/1.1 over one connection; it is closed where no whole head has come in HEAD_S seconds."""

    head_s = HEAD_S
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(self.head_s, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
