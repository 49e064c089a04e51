"""Starlette's test client, which talks to the application in this process."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for a package that does the same; httpx is the one that we have
    from starlette.testclient import TestClient

__all__ = ["TestClient"]
