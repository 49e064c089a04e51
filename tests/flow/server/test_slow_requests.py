"""Requests that trickle in: a real server over real sockets, with less patience than in use."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI

from headwater.server import guard
from headwater.server.listening import Patient
from tests.flow.server.conftest import Token


class Hasty(Patient):
    head_s = 0.4


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """Serve an application on a free port of the loopback address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=Hasty, log_config=None, lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    """Give the port of a server that waits 0.4 s for a head and 0.4 s for a body."""
    for one in app.user_middleware:
        if one.cls is guard.Limited:
            one.kwargs["body_s"] = 0.4
    with served(app) as found:
        yield found


def until_closed(connection: socket.socket) -> tuple[bytes, float]:
    """Return what still comes, and the seconds until the other side closes."""
    began, told = time.monotonic(), b""
    connection.settimeout(10)
    while part := connection.recv(65536):
        told += part
    return told, time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: "], ids=["nothing", "half a head"])
def test_a_connection_that_does_not_say_what_it_wants_is_closed(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        told, took_s = until_closed(connection)
    assert told == b""
    assert 0.2 < took_s < 5


def test_a_second_head_on_the_same_connection_has_no_more_time_than_the_first(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HT")
        _, took_s = until_closed(connection)
    assert took_s < 5


@pytest.mark.parametrize("size", [1 << 20, 70_000], ids=["one header without an end", "whole"])
def test_a_head_that_grows_too_large_is_refused(port: int, size: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        with contextlib.suppress(OSError):  # the server may close before it has read all
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * size + (b"" if size > 1 << 19 else b"\r\n\r\n"))
        connection.settimeout(10)
        told = b""
        with contextlib.suppress(ConnectionResetError):
            told = connection.recv(65536)
    assert not told or told.startswith(b"HTTP/1.1 400"), told


def test_requests_sent_at_once_are_answered_in_their_order(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        told, _ = until_closed(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"200", b"404"]


def test_a_body_that_trickles_is_answered_408_and_one_that_flows_is_taken(port: int, token: Token) -> None:
    head = f"POST /api/artifacts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token()}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}content-length: 1000\r\n\r\nabc".encode())
        told, took_s = until_closed(connection)
    assert told.startswith(b"HTTP/1.1 408")
    assert b"The body came too slowly: 3 bytes" in told
    assert took_s < 5
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}content-length: 1000\r\nconnection: close\r\n\r\n".encode() + b"a" * 1000)
        told, _ = until_closed(connection)
    assert told.startswith(b"HTTP/1.1 201"), told


def test_an_answer_may_take_longer_than_a_request(port: int, app: FastAPI) -> None:
    @app.get("/slowly")
    def slowly() -> str:
        time.sleep(0.9)
        return "there"

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /slowly HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        told, took_s = until_closed(connection)
    assert told.startswith(b"HTTP/1.1 200")
    assert took_s > 0.8
