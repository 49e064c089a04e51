"""Routes that tell errors in a protocol's own words, as its clients expect them.

What is wrong inside (status 500 and above) goes to the platform's own handler, which logs it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from headwater.core.errors import BadInput, HeadwaterError

Tell = Callable[[HeadwaterError], Response]


def speaking(tell: Tell) -> type[APIRoute]:
    """Return the class of routes whose errors `tell` puts into a response."""

    class Spoken(APIRoute):
        """A route whose errors are told by the protocol's rule."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Return the route's handler, with its errors told."""
            handle = super().get_route_handler()

            async def spoken(request: Request) -> Response:
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    return tell(unfit(error))
                except HeadwaterError as error:
                    if error.http_status >= 500:
                        raise
                    return tell(error)

            return spoken

    return Spoken


def unfit(error: RequestValidationError) -> BadInput:
    """Return the one error that says everything that does not fit in a request."""
    wrong = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
    return BadInput(f"The request does not fit: {wrong[:2000]}.")
