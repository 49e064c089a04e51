"""The same platform with a held clock as the hub's tests have."""

from tests.flow.models.conftest import clock, site

__all__ = ["clock", "site"]
