"""Where a Kubernetes API server is and who asks: read from a kubeconfig file, or from the pod that this server runs in."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from headwater.core.errors import BadInput, Unavailable

IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_POD_SERVER = "https://kubernetes.default.svc"
PLUGIN_S = 60.0


class Access:
    """An API server's address, how its certificate is checked, and the token that goes with each request."""

    def __init__(self, server: str, *, tls: ssl.SSLContext, namespace: str = "", user: Mapping[str, Any] | None = None) -> None:
        """Make it from a kubeconfig's `user`: `token`, `tokenFile` or `exec`; a client certificate is in `tls` already."""
        self.server = server.rstrip("/")
        self.tls = tls
        self.namespace = namespace
        self._user = dict(user or {})
        self._from_plugin = ""
        self._guard = threading.Lock()

    def headers(self) -> dict[str, str]:
        """Return the headers that say who asks; a token's file is read anew, since clusters renew it. Raises Unavailable."""
        token = self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def renew(self) -> None:
        """Forget a token that was refused, so that the next request asks the credential plug-in for another."""
        with self._guard:
            self._from_plugin = ""

    def _token(self) -> str:
        if self._user.get("tokenFile"):
            try:
                return Path(self._user["tokenFile"]).read_text("ascii").strip()
            except OSError as error:
                what = f"The Kubernetes token cannot be read: {error.strerror}."
                raise Unavailable(what, "Check the file.", where=self._user["tokenFile"]) from error
        if self._user.get("exec"):
            with self._guard:
                self._from_plugin = self._from_plugin or _asked_of_plugin(self._user["exec"])
                return self._from_plugin
        return str(self._user.get("token") or "")


def load(file: str) -> Access:
    """Return the access of a kubeconfig's current context; with no file, that of the service account of the pod we run in.

    Raises Unavailable where neither is there, BadInput for a file that says too little.
    """
    if not file:
        return _of_pod()
    path = Path(file).expanduser()
    try:
        told = yaml.safe_load(path.read_text("utf-8"))
        context = _named(told, "contexts", told["current-context"])["context"]
        cluster = _named(told, "clusters", context["cluster"])["cluster"]
        user = _named(told, "users", context["user"]).get("user") or {}
        server = str(cluster["server"])
    except OSError as error:
        raise Unavailable(f"The kubeconfig cannot be read: {error.strerror}.", "Check kubernetes_kubeconfig.", where=file) from error
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        what = f"The kubeconfig has no usable current context ({type(error).__name__}: {str(error)[:100]})."
        raise BadInput(what, "Check it with 'kubectl --kubeconfig FILE version'.", where=file) from error
    try:
        tls = _tls(cluster, user, path.parent)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise BadInput(f"The kubeconfig's certificates cannot be used: {error}.", "Write the file anew.", where=file) from error
    if user.get("tokenFile"):
        user = {**user, "tokenFile": str(path.parent / user["tokenFile"])}
    return Access(server, tls=tls, namespace=str(context.get("namespace") or ""), user=user)


def _of_pod() -> Access:
    if not (IN_POD / "token").exists():
        what = "No kubeconfig is set, and this server does not run in a pod with a service account."
        raise Unavailable(what, "Set kubernetes_kubeconfig.")
    tls = ssl.create_default_context(cafile=str(IN_POD / "ca.crt"))
    namespace = (IN_POD / "namespace").read_text("ascii").strip()
    return Access(IN_POD_SERVER, tls=tls, namespace=namespace, user={"tokenFile": str(IN_POD / "token")})


def _named(told: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    return next(one for one in told[kind] if one["name"] == name)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    """Return how the server's certificate is checked, with the user's own certificate where there is one."""
    authority = _content(cluster, "certificate-authority", folder)
    tls = ssl.create_default_context(cadata=authority.decode("ascii")) if authority else ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    certificate, key = _content(user, "client-certificate", folder), _content(user, "client-key", folder)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:  # ssl reads a key from files alone; this one is ours only, and gone at once
            file.write(certificate + b"\n" + key)
            file.flush()
            tls.load_cert_chain(file.name)
    return tls


def _content(part: Mapping[str, Any], name: str, folder: Path) -> bytes:
    """Return what a kubeconfig holds inline as `NAME-data`, or names as a file beside it."""
    if part.get(f"{name}-data"):
        return base64.b64decode(part[f"{name}-data"])
    return (folder / part[name]).read_bytes() if part.get(name) else b""


def _asked_of_plugin(plugin: Mapping[str, Any]) -> str:
    """Return the token that a credential plug-in gives (`client.authentication.k8s.io`). Raises Unavailable."""
    command = [str(plugin["command"]), *map(str, plugin.get("args") or ())]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {str(one["name"]): str(one["value"]) for one in plugin.get("env") or ()}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(
        {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PLUGIN_S, env=environment, check=True)
        return str(json.loads(done.stdout)["status"]["token"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        what = f"The kubeconfig's credential plug-in gave no token: {error}."
        raise Unavailable(what, "Run it by hand, and sign in again.", where=command[0]) from error
