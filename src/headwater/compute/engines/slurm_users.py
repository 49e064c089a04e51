"""Whose jobs they are in Slurm: the Unix account of the person who handed a job in, their token, and the rights to their folder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pwd
import re
import time
from collections.abc import Mapping
from pathlib import Path

from headwater.compute.work import Work
from headwater.core.errors import BadInput, Unavailable

ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
PERSON = "{person}"
TOKEN_S = 60


class Users:
    """Unix accounts by a person's name or an organisation's path; `{person}` in an account is the person's own name.

    A person's own entry goes first, then that of the organisation, then of those above it.
    """

    def __init__(self, accounts: Mapping[str, str]) -> None:
        """Take the accounts; with none of them every job is the platform's own. Raises Unavailable where folders cannot be given away."""
        self._accounts = dict(accounts)
        if accounts and os.geteuid() != 0:
            raise Unavailable(
                "Slurm jobs can be handed in as their people only by a server that runs as root: it gives them their folders.",
                "Run the server as root, or leave slurm_users empty.",
            )

    def __bool__(self) -> bool:
        return bool(self._accounts)

    def account(self, work: Work) -> str:
        """Return the account that an attempt runs under, "" for the platform's own. Raises BadInput where there is none for it."""
        if not self._accounts:
            return ""
        parts = work.organisation.split("/")
        above = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        told = next((self._accounts[name] for name in (work.person, *above) if name in self._accounts), None)
        if told is None:
            raise BadInput(
                f"'{work.person}' of '{work.organisation}' has no account on this Slurm.", "Ask an operator for a line in slurm_users."
            )
        account = told.replace(PERSON, work.person)
        if not ACCOUNT.fullmatch(account) or _ids(account)[0] == 0:
            raise BadInput(f"'{account[:60]}' cannot be the account of '{work.person}'.", "Name a plain account that is not root's.")
        return account


class Tokens:
    """What a request to slurmrestd carries to say who asks: a name, and a JSON Web Token."""

    def __init__(self, user: str = "", *, file: Path | None = None, key_file: Path | None = None) -> None:
        """Take a token from a file, read anew for each request, or sign one for each request with Slurm's own key (`jwt_key`)."""
        self._user = user
        self._file = file
        self._key_file = key_file

    def headers(self, user: str = "") -> dict[str, str]:
        """Return the headers of a request as that account, or as the platform's own. Raises Unavailable where a file cannot be read."""
        name = user or self._user
        headers = {"X-SLURM-USER-NAME": name} if name else {}
        try:
            if self._key_file is not None:
                headers["X-SLURM-USER-TOKEN"] = signed(name, self._key_file.read_bytes(), now_s=time.time())
            elif user and user != self._user:
                raise Unavailable(f"There is no key to speak for '{user}' at slurmrestd.", "Set slurm_jwt_key.")
            elif self._file is not None:
                headers["X-SLURM-USER-TOKEN"] = self._file.read_text("ascii").strip().removeprefix("SLURM_JWT=")
        except OSError as error:
            raise Unavailable(
                f"The Slurm token cannot be read: {error.strerror}.", "Check slurm_token_file and slurm_jwt_key.", where=str(error.filename)
            ) from error
        return headers


def signed(user: str, key: bytes, *, now_s: float) -> str:
    """Return a token of Slurm's auth/jwt for an account: HS256, good for a minute."""
    claims = {"iat": int(now_s), "exp": int(now_s) + TOKEN_S, "sun": user}
    told = b".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return b".".join((told, _part(hmac.new(key, told, hashlib.sha256).digest()))).decode("ascii")


def give(folder: Path, account: str) -> None:
    """Make an attempt's folder, and what was laid out in it, an account's own, and no other's. Inputs stay read-only.

    Raises BadInput where there is no such account.
    """
    uid, gid = _ids(account)
    folder.chmod(0o700)
    for path in (*folder.rglob("*"), folder):
        if not path.is_relative_to(folder / "inputs") or path.is_dir():
            os.chown(path, uid, gid, follow_symlinks=False)


def hand_over(kept: Path, account: str) -> None:
    """Make a folder for checkpoints an account's own, with what the platform, or the account that had it before, keeps there.

    Of what it holds only that changes hands which belongs to whom the folder does: a job may have laid links to files of others.
    Raises BadInput where there is no such account.
    """
    (uid, gid), before = _ids(account), kept.stat().st_uid
    if before == uid:
        return
    for path in (*kept.rglob("*"), kept):
        if path.lstat().st_uid == before:
            os.chown(path, uid, gid, follow_symlinks=False)


def _part(told: bytes) -> bytes:
    return base64.urlsafe_b64encode(told).rstrip(b"=")


def _ids(account: str) -> tuple[int, int]:
    try:
        found = pwd.getpwnam(account)
    except KeyError as error:
        raise BadInput(f"There is no account '{account[:60]}' on this machine.", "Make it, or correct slurm_users.") from error
    return found.pw_uid, found.pw_gid
