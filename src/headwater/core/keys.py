"""The platform's signing keys and the public keys that it trusts.

`keys/<office>.pem` holds a private Ed25519 key (mode 0600) of one *office* of this platform, and
`keys/trusted.json` every public key it trusts with the kinds of claim each may make. The offices are
kept apart so that the part that trains a model holds no key that could grade or file it; a real
deployment replaces an office's key by that body's own public key.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from headwater.core import statement
from headwater.core.errors import BadInput, Broken, Refused
from headwater.core.statement import TrustedKey

OFFICES: dict[str, tuple[str, ...]] = {
    "platform": (
        statement.LINEAGE,
        statement.PUBLICATION,
        statement.DATA_VERSION,
        statement.CALIBRATION,
        statement.USAGE,
        statement.REVOCATION,
    ),
    "evaluator": (statement.TRUST_GRADE, statement.REVOCATION),
    "authority": (statement.FILING, statement.AUTHORISATION, statement.REVOCATION),
}


class Keyring:
    """Keys in a folder. Made on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._found()

    def trusted(self) -> tuple[TrustedKey, ...]:
        """Return every trusted public key."""
        try:
            told = json.loads((self.folder / "trusted.json").read_text(encoding="utf-8"))
            return tuple(
                TrustedKey(
                    name=one["name"],
                    public=Ed25519PublicKey.from_public_bytes(base64.b64decode(one["public"])),
                    may_claim=frozenset(one["may_claim"]),
                )
                for one in told["keys"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Broken(
                f"The list of trusted keys cannot be read: {error}.", "Restore it from a backup.", where=str(self.folder / "trusted.json")
            ) from error

    def signer(self, predicate_type: str) -> Ed25519PrivateKey:
        """Return the private key of the first office here that may make this kind of claim, else raise Refused."""
        for office, kinds in OFFICES.items():
            path = self.folder / f"{office}.pem"
            if predicate_type in kinds and path.exists():
                key = load_pem_private_key(path.read_bytes(), password=None)
                if isinstance(key, Ed25519PrivateKey):
                    return key
        raise Refused(f"No key here may claim {predicate_type}.", "The body in charge signs it on its own platform; import its statement.")

    def trust(self, name: str, public: bytes, may_claim: tuple[str, ...]) -> None:
        """Trust one more public key (32 raw bytes) for some kinds of claim."""
        if len(public) != 32:
            raise BadInput(f"An Ed25519 public key has 32 bytes, this has {len(public)}.", "Give the raw key.")
        path = self.folder / "trusted.json"
        told = json.loads(path.read_text(encoding="utf-8"))
        told["keys"].append({"name": name, "public": base64.b64encode(public).decode(), "may_claim": list(may_claim)})
        self._replace(path, told)

    def _found(self) -> None:
        """Make the offices' keys, once, however many processes come at the same time."""
        if (self.folder / "trusted.json").exists():
            return
        with (self.folder / "founding.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.folder / "trusted.json").exists():
                self._make()

    def _make(self) -> None:
        keys = []
        for office, kinds in OFFICES.items():
            key = Ed25519PrivateKey.generate()
            path = self.folder / f"{office}.pem"
            with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
            keys.append({"name": office, "public": public, "may_claim": list(kinds)})
        self._replace(self.folder / "trusted.json", {"schema": "headwater.trusted-keys/1", "keys": keys})

    @staticmethod
    def _replace(path: Path, value: object) -> None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(value, indent=2), encoding="utf-8")
        part.replace(path)
