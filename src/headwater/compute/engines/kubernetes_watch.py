"""What a cluster has of one kind of object, kept up to date by a list and the watch that goes on from it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import httpx
import structlog

from headwater.compute.engines.kubernetes_client import Kind, KubernetesClient, Object
from headwater.core.errors import Conflict, HeadwaterError

RETRY_S = 1.0
JOIN_S = 10.0

log = structlog.get_logger("headwater.compute")


class Watched:
    """The objects of a kind with a label, by name. While the server does not answer they stay as last seen."""

    def __init__(self, client: KubernetesClient, kind: Kind, label: str, *, changed: Callable[[], None]) -> None:
        """List once and begin to watch; `changed` is called after each change. Raises Unavailable where the server does not answer."""
        self._client, self._kind, self._label, self._changed = client, kind, label, changed
        self._guard = threading.Lock()
        self._objects: dict[str, Object] = {}
        self._closing = threading.Event()
        self._answer: httpx.Response | None = None
        since = self._relist()
        self._thread = threading.Thread(target=self._follow, args=(since,), name="kubernetes-watch", daemon=True)
        self._thread.start()

    def get(self, name: str) -> Object | None:
        """Return an object as last seen, if it was."""
        with self._guard:
            return self._objects.get(name)

    def all(self) -> list[Object]:
        """Return every object as last seen."""
        with self._guard:
            return list(self._objects.values())

    def close(self) -> None:
        """Break the watch off. Closing twice changes nothing."""
        self._closing.set()
        if self._answer is not None:
            with contextlib.suppress(OSError):  # the connection has ended by itself
                stream = self._answer.extensions["network_stream"].get_extra_info("socket")
                stream.shutdown(socket.SHUT_RDWR)
        self._thread.join(JOIN_S)

    def _relist(self) -> str:
        found, since = self._client.listed(self._kind, self._label)
        with self._guard:
            self._objects = {str(one["metadata"]["name"]): one for one in found}
        self._changed()
        return since

    def _follow(self, since: str) -> None:
        """Take in changes until the end of this object, and list anew where the server has dropped what came between or was away."""
        while not self._closing.is_set():
            try:
                for change, one in self._client.watch(self._kind, self._label, since or self._relist(), self._opened):
                    self._take(change, one)
            except Conflict:  # 410
                pass
            except HeadwaterError as error:
                if not self._closing.is_set():
                    log.warning("kubernetes.unavailable", error=str(error))
                self._closing.wait(RETRY_S)
            except Exception:  # without its watch an engine would take what it saw last for the truth
                log.exception("kubernetes.watch_failed")
                self._closing.wait(RETRY_S)
            since = ""

    def _opened(self, answer: httpx.Response) -> None:
        self._answer = answer
        if self._closing.is_set():
            answer.close()

    def _take(self, change: str, one: Object) -> None:
        name = str(one["metadata"]["name"])
        with self._guard:
            if change == "DELETED":
                self._objects.pop(name, None)
            else:
                self._objects[name] = one
        self._changed()
