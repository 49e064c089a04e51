"""`headwater up` and `headwater admin-link`: the server in the foreground, and the way in."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from headwater.core import output
from headwater.core.errors import Unavailable
from headwater.core.options import Data

if TYPE_CHECKING:
    import asyncio

    from uvicorn import Server

    from headwater.core.platform import Platform
    from headwater.core.settings import Settings

app = typer.Typer()
LINK_LASTS = timedelta(hours=1)
SWITCH_S = 0.0005
"""How long a thread runs before others get their turn. Requests pass through several threads and wait at each for the interpreter: with
Python's own 5 ms, 100 requests a second took 1.4 s in the median on two busy cores, with this 0.14 s."""
GRACE_S = 5


def set_apart() -> None:
    """Take what is loaded by now out of the garbage collector's sight: it stays, and each full walk through it took 80 ms."""
    gc.collect()
    gc.freeze()


@app.command("up")
def up(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = None,
) -> None:
    """Start the server and the console, and print a one-time link that signs in the administrator.

    Several servers may run on one database; one decides on jobs, and another takes over when it ends.
    """
    from headwater.cli import client
    from headwater.core import platform, settings
    from headwater.server import log

    chosen = settings.load(data_folder=data, host=host, port=port)
    log.configure(chosen.log_level)
    with listening(chosen) as listener, platform.opened(chosen) as opened:
        opened.found()
        address = address_of(chosen, listener)
        note = client.announce(chosen, address)
        try:
            serve(opened, listener, address)
        finally:
            note.unlink(missing_ok=True)


@app.command("admin-link")
def admin_link(data: Data = None) -> None:
    """Print a one-time link that signs in the administrator."""
    from headwater.cli import client
    from headwater.core import platform, settings

    chosen = settings.load(data_folder=data)
    address = client.running(chosen) or f"http://{chosen.host}:{chosen.port}"
    with platform.opened(chosen) as opened:
        link = f"{address}{way_in(opened)}"
    output.document({"link": link, "lasts_s": LINK_LASTS.total_seconds()}, lambda: output.cell(link))


def way_in(opened: Platform) -> str:
    """Return the path of a page that signs in the administrator once."""
    from headwater.core import identity

    administrator, now = opened.found(), opened.clock.now()
    token = opened.db.write(
        lambda connection: identity.issue_token(
            connection, administrator, kind="once", label="one-time link", lasts=LINK_LASTS, at=now, actor=identity.SYSTEM
        )
    )
    return f"/sign-in?link={quote(token)}"


@contextlib.contextmanager
def listening(chosen: Settings) -> Iterator[socket.socket]:
    """Give the listening socket. Raises Unavailable where the address is taken or not this machine's."""
    try:
        family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
        listener = socket.create_server((chosen.host, chosen.port), family=family)
    except OSError as error:
        where = f"{chosen.host}:{chosen.port}"
        raise Unavailable(f"Cannot listen there: {error.strerror}.", "Choose another with --host and --port.", where=where) from error
    with listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it on sockets made with proto=TCP only
        yield listener


def address_of(chosen: Settings, listener: socket.socket) -> str:
    """Return the address that a browser on this machine opens."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(chosen.host, f"[{chosen.host}]" if ":" in chosen.host else chosen.host)  # noqa: S104
    return f"http://{host}:{listener.getsockname()[1]}"


def serve(opened: Platform, listener: socket.socket, address: str) -> None:
    """Serve until SIGINT or SIGTERM, then let jobs go on and streams end."""
    import uvicorn

    from headwater.compute.dispatcher import Dispatcher
    from headwater.server.app import create_app
    from headwater.server.housekeeping import Housekeeping
    from headwater.server.listening import HEAD_S, Patient

    sys.setswitchinterval(SWITCH_S)
    dispatcher, housekeeping = Dispatcher(opened), Housekeeping(opened)
    application = create_app(opened, dispatcher=dispatcher)
    config = uvicorn.Config(
        application,
        http=Patient,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(HEAD_S),  # longer than clients keep theirs, or they would write to one that is just being closed
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    set_apart()
    dispatcher.start()
    housekeeping.start()
    try:
        told = {"address": address, "admin_link": address + way_in(opened), "data": str(opened.settings.data_folder), "pid": os.getpid()}
        output.record(told, title="Headwater is up; Ctrl-C stops it")
        with ending(server, application.state.closing):
            server.run(sockets=[listener])
    finally:
        housekeeping.stop()
        dispatcher.stop()


@contextlib.contextmanager
def ending(server: Server, closing: asyncio.Event) -> Iterator[None]:
    """Let streams end when the server is told to stop, so that it need not wait for their readers.

    The server raises the signal again once it has stopped: by then it must only bring us back here.
    """
    told = server.handle_exit

    def handle(sig: int, frame: FrameType | None) -> None:
        told(sig, frame)
        closing.set()

    server.handle_exit = handle  # type: ignore[method-assign] # the one hook between the signal and the wait for connections
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
