"""How commands reach a platform: the server that runs on the data folder, another by address, or one started for the command.

Every command speaks the server's HTTP API, so that what works here works from any other client.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx

from headwater.core import identity, platform, settings
from headwater.core.errors import BadInput, HeadwaterError, NotFound, NotSignedIn, Refused, Unavailable
from headwater.core.platform import Platform
from headwater.core.settings import Settings

TOKEN_VARIABLE = "HW_TOKEN"  # noqa: S105 - the name of a variable, not a secret
PATIENCE_S = 30.0


class Remote(HeadwaterError):
    """A problem that a server reported, with its own code."""

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"The server answered {status}."))
        self.code = str(problem.get("code", "server"))
        kinds: dict[int, type[HeadwaterError]] = {401: NotSignedIn, 403: Refused, 404: NotFound, 422: BadInput, 503: Unavailable}
        self.exit_code = kinds.get(status, HeadwaterError).exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A platform's HTTP API, spoken as one person."""

    http: httpx.Client
    address: str
    embedded: bool

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON answer to a GET. Raises Remote with what the server says is wrong."""
        return self._answer("GET", path, params={key: value for key, value in query.items() if value is not None})

    def post(self, path: str, body: Any = None) -> Any:
        """Return the JSON answer to a POST of a JSON body. Raises Remote."""
        return self._answer("POST", path, json=body)

    def upload(self, path: Path) -> str:
        """Store a file on the platform and return its artifact name."""
        with path.open("rb") as file:
            return str(self._answer("POST", "/api/artifacts", content=file)["name"])

    def _answer(self, method: str, path: str, **rest: Any) -> Any:
        try:
            answer = self.http.request(method, path, **rest)
        except httpx.TransportError as error:
            raise Unavailable(f"The server at {self.address} does not answer: {error}.", "Check that it runs.") from error
        if answer.is_error:
            try:
                problem = answer.json()
            except ValueError:
                problem = {}
            raise Remote(problem if isinstance(problem, dict) else {}, answer.status_code)
        return answer.json() if answer.content else None


@contextlib.contextmanager
def connected(*, data: Path | None = None, server: str | None = None, dispatch: bool = False) -> Iterator[Client]:
    """Give a client for the platform at an address, or of a data folder.

    A data folder whose server runs is reached through it; otherwise the platform is opened in this
    process for as long as the client is used, with a dispatcher if jobs are to run (`dispatch`).
    Another server takes the token from the environment variable HW_TOKEN.
    """
    if server is not None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise NotSignedIn(f"{server} needs a token.", f"Set {TOKEN_VARIABLE} to one made there with `headwater token create`.")
        with _http(server, token) as http:
            yield Client(http=http, address=server, embedded=False)
        return
    chosen = settings.load(data_folder=data)
    with platform.opened(chosen) as opened, _own_token(opened) as token, contextlib.ExitStack() as stack:
        address = running(chosen)
        embedded = address is None
        if address is None:
            address = stack.enter_context(_served(opened, dispatch=dispatch))
        with _http(address, token) as http:
            yield Client(http=http, address=address, embedded=embedded)


def announce(chosen: Settings, address: str) -> Path:
    """Note in the data folder where a server of it listens, and return that file. Those of servers that are gone go."""
    for path in _announced(chosen):
        if _answering(path) is None:
            path.unlink(missing_ok=True)
    note = chosen.data_folder / f"server-{socket.gethostname()}-{os.getpid()}.json"
    note.write_text(json.dumps({"address": address, "pid": os.getpid()}), encoding="utf-8")
    return note


def running(chosen: Settings) -> str | None:
    """Return the address of a server that runs on this data folder, or None."""
    return next((address for path in _announced(chosen) if (address := _answering(path)) is not None), None)


def _announced(chosen: Settings) -> list[Path]:
    return sorted(chosen.data_folder.glob("server-*.json"))


def _answering(note: Path) -> str | None:
    try:
        address = str(json.loads(note.read_text(encoding="utf-8"))["address"])
        return address if httpx.get(f"{address}/health", timeout=2.0).is_success else None
    except (OSError, ValueError, KeyError, TypeError, httpx.TransportError):
        return None


def _http(address: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S, trust_env=False)


@contextlib.contextmanager
def _own_token(opened: Platform) -> Iterator[str]:
    """Give a short-lived administrator's token: whoever may read the data folder owns the platform anyway."""
    administrator, now = opened.found(), opened.clock.now()
    lasts = timedelta(hours=12)
    token = opened.db.write(
        lambda connection: identity.issue_token(connection, administrator, kind="api", label="command line", lasts=lasts, at=now)
    )
    try:
        yield token
    finally:
        opened.db.write(lambda connection: identity.revoke_token(connection, token, actor=administrator, at=opened.clock.now()))


@contextlib.contextmanager
def _served(opened: Platform, *, dispatch: bool) -> Iterator[str]:
    """Serve the platform from a thread of this process, on a free port of the loopback address."""
    import uvicorn

    from headwater.compute.dispatcher import Dispatcher
    from headwater.server.app import create_app

    dispatcher = Dispatcher(opened) if dispatch else None
    if dispatcher is not None:
        dispatcher.start()
    try:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as in `up`: small answers must not wait for an acknowledgement
        app = create_app(opened, dispatcher=dispatcher)
        web = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
        thread.start()
        try:
            _wait_until_up(web)
            yield f"http://127.0.0.1:{cast('tuple[str, int]', listener.getsockname())[1]}"
        finally:
            web.should_exit = True
            thread.join(timeout=PATIENCE_S)
            listener.close()
    finally:
        if dispatcher is not None:
            dispatcher.stop()


def _wait_until_up(web: Any) -> None:
    until = time.monotonic() + PATIENCE_S
    while not web.started:
        if time.monotonic() > until:
            raise Unavailable("The embedded server did not start.", "Look at the messages above.")
        time.sleep(0.01)
