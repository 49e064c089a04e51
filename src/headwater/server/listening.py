"""The server's end of a connection: uvicorn's own over llhttp, which also closes connections that do not say what they want.

uvicorn bounds how long an idle connection stays after an answer, but not how long a request's head
may take, nor how large it may grow. `guard.Limited` bounds the body's time and size.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
"""How long a request line and its headers may take from the connection's beginning, or from the last answer."""
HEAD_BYTES = 64 << 10
"""How large they may be."""
TOO_LARGE = f"The request's head is larger than {HEAD_BYTES} bytes."


class Patient(HttpToolsProtocol):
    """HTTP/1.1 over one connection; it is closed where no whole head has come in HEAD_S seconds, or in HEAD_BYTES bytes."""

    head_s = HEAD_S
    _waiting: asyncio.TimerHandle | None = None
    _silent = True  # whether nothing is under way, and the next head is not whole yet
    _head_open = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_open = self._head_open
        super().data_received(data)
        if was_open and self._head_open:  # the parser keeps a header to itself until it is whole
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(TOO_LARGE)

    def on_message_begin(self) -> None:
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES:
            raise ValueError(TOO_LARGE)  # the parser stops, and the answer is 400
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = self._silent = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._silent = not self.pipeline
        self._wait()

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(self.head_s, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self._silent and not self.transport.is_closing():
            self.transport.close()
