"""Every error Headwater raises on purpose.

HeadwaterError                    a stable code, what happened, what to do
  BadInput                        the user's file, row or value is wrong           exit 2, HTTP 422
    BadFile                       a project, card, definition or plan file, with every problem found in it
  Refused                         understood, and not allowed                      exit 1, HTTP 403
    GateClosed                    a required statement or measure is missing
    BadStatement                  a statement is forged, expired, revoked or about something else
    NotSignedIn                   no token, or one that is unknown or expired      exit 1, HTTP 401
  NotFound                        no such thing here                               exit 1, HTTP 404
  Conflict                        the thing is not in a state that allows this     exit 1, HTTP 409
  LimitExceeded                   too large, too long, too many                    exit 1, HTTP 413
  TooMany                         more requests in a minute than one caller gets   exit 1, HTTP 429
  StepFailed                      a job ran and did not succeed                    exit 1, HTTP 500 never: it is recorded on the job
  Broken                          stored bytes or the ledger do not add up         exit 1, HTTP 500
  Unavailable                     a disk, engine, package or server is not there   exit 3, HTTP 503

Messages are written for the person who meets them: what was wrong with the figures, where, and
the next step. The code is stable and documented in `docs/reference/errors.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class HeadwaterError(Exception):
    """Base of every error raised on purpose: a code, what happened, what to do."""

    code = "headwater"
    exit_code = 1
    http_status = 500

    def __init__(self, what: str, hint: str = "", *, where: str | None = None, **facts: object) -> None:
        super().__init__(" ".join(part for part in (f"{where}:" if where else "", what, hint) if part))
        self.what = what
        self.hint = hint
        self.where = where
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.hint, self.where, self.facts)


def _rebuild(kind: type[HeadwaterError], what: str, hint: str, where: str | None, facts: dict[str, object]) -> HeadwaterError:
    return kind(what, hint, where=where, **facts)


class BadInput(HeadwaterError):
    """A file, row, key or value that the user gave is wrong."""

    code = "bad_input"
    exit_code = 2
    http_status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a user's file, and where."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.where}:", self.what, self.hint) if part)


class BadFile(BadInput):
    """A file that a person wrote is wrong; all its problems are listed at once."""

    code = "bad_file"

    def __init__(self, problems: Sequence[Problem], kind: str = "file") -> None:
        self.problems = tuple(problems)
        self.kind = kind
        count = len(self.problems)
        listed = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the {kind}.\n{listed}\n", "Nothing was run or changed.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems, self.kind)


class Refused(HeadwaterError):
    """The request was understood and is not allowed."""

    code = "refused"
    http_status = 403


class GateClosed(Refused):
    """A gate stays closed: a statement, grade or measure that it needs is missing."""

    code = "gate_closed"


class BadStatement(Refused):
    """A signed statement does not verify, has expired, was revoked, or is about something else."""

    code = "statement.bad"


class NotSignedIn(Refused):
    """No valid token or session came with the request."""

    code = "identity.not_signed_in"
    http_status = 401


class NotFound(HeadwaterError):
    """No such thing, or none that this person may see."""

    code = "not_found"
    http_status = 404


class Conflict(HeadwaterError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    http_status = 409


class LimitExceeded(HeadwaterError):
    """Too large, too long or too many for a stated limit."""

    code = "limit_exceeded"
    http_status = 413


class TooMany(HeadwaterError):
    """More requests than one caller may make in this time; `wait_s` says when to try again."""

    code = "too_many"
    http_status = 429


class StepFailed(HeadwaterError):
    """A step ran and could not do its work; recorded on its job."""

    code = "step.failed"
    http_status = 422


class Broken(HeadwaterError):
    """Stored bytes or ledger entries do not add up."""

    code = "broken"


class Unavailable(HeadwaterError):
    """A disk, engine, package or server that is needed is not there."""

    code = "unavailable"
    exit_code = 3
    http_status = 503
