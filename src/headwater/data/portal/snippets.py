"""Lines that a person can paste to get a data set with the tool that they have. Pure.

Each runs as it stands: names and addresses are quoted for the shell or Python, whatever they hold.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Literal

from headwater.data.catalogue.sets import Version
from headwater.data.protocols.delta.shares import GENERAL, OPEN
from headwater.data.protocols.hub.repository import commit_of, repository_id
from headwater.data.protocols.offers import Links, Offer

Language = Literal["shell", "python"]
PROFILE = "headwater.share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Lines to paste: with which tool, into a shell or Python."""

    tool: str
    language: Language
    text: str
    needs_profile: bool = False


def snippets(offer: Offer, version: Version, links: Links) -> list[Snippet]:
    """Return what to paste for a version of an open data set; tools that read tables only where it has one."""
    found = [_curl(offer, version, links)]
    if version.table:
        found += [_pandas(offer, version, links), _delta(offer, version), _hub(offer, version, links)]
    found += [_ckan(offer, links), _frictionless(offer, links)]
    return [*found, _croissant(offer, links)] if version.table else found


def _curl(offer: Offer, version: Version, links: Links) -> Snippet:
    addresses = " ".join(f"-O {shlex.quote(links.file(offer.dataset.name, version.number, file.name))}" for file in version.files[:20])
    return Snippet(tool="curl", language="shell", text=f"curl -fsSL {addresses}")


def _pandas(offer: Offer, version: Version, links: Links) -> Snippet:
    addresses = [links.file(offer.dataset.name, version.number, file.name) for file in version.table]
    text = (
        f"import pandas as pd\n\nfiles = {_python(addresses)}\ntable = pd.concat([pd.read_parquet(file) for file in files])\nprint(table)"
    )
    return Snippet(tool="pandas", language="python", text=text)


def _delta(offer: Offer, version: Version) -> Snippet:
    table = f"{PROFILE}#{OPEN}.{offer.dataset.zone or GENERAL}.{offer.dataset.name}"
    text = f"import delta_sharing\n\ntable = delta_sharing.load_as_pandas({_python(table)}, version={version.number})\nprint(table)"
    return Snippet(tool="Delta Sharing", language="python", text=text, needs_profile=True)


def _hub(offer: Offer, version: Version, links: Links) -> Snippet:
    name, revision = _python(repository_id(offer)), _python(commit_of(version))
    lines = ["import os", f'os.environ["HF_ENDPOINT"] = {_python(f"{links.base}/hf")}', "from datasets import load_dataset"]
    text = "\n".join([*lines, "", f'table = load_dataset({name}, revision={revision}, split="train")', "print(table)"])
    return Snippet(tool="Hugging Face datasets", language="python", text=text)


def _ckan(offer: Offer, links: Links) -> Snippet:
    lines = ["from ckanapi import RemoteCKAN", "", f"portal = RemoteCKAN({_python(f'{links.base}/ckan')})"]
    lines.append(f"package = portal.action.package_show(id={_python(offer.dataset.name)})")
    lines.append('print([file["url"] for file in package["resources"]])')
    return Snippet(tool="CKAN", language="python", text="\n".join(lines))


def _frictionless(offer: Offer, links: Links) -> Snippet:
    address = _python(links.form(offer.dataset.name, "/datapackage.json"))
    text = f"from frictionless import Package\n\npackage = Package({address})\nprint(package.resource_names)"
    return Snippet(tool="Frictionless", language="python", text=text)


def _croissant(offer: Offer, links: Links) -> Snippet:
    address = _python(links.form(offer.dataset.name, "/croissant.jsonld"))
    lines = ["import itertools", "import mlcroissant as mlc", "", f"dataset = mlc.Dataset({address})"]
    lines += ['for row in itertools.islice(dataset.records("table"), 3):', "    print(row)"]
    return Snippet(tool="Croissant", language="python", text="\n".join(lines))


def _python(value: str | list[str]) -> str:
    """Return a value as Python source: JSON's texts are Python's too once everything beyond ASCII is escaped."""
    return json.dumps(value)
