"""Slurm as an engine: the one that the settings name, and those that are registered as sites."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from headwater.compute.engines.slurm_client import SlurmClient
from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens, Users
from headwater.compute.work import EngineFactory, SiteOptions
from headwater.core.platform import Platform
from headwater.core.settings import Settings


class SlurmOptions(SiteOptions):
    """What a site with Slurm states; each as the setting `slurm_…` of the same name."""

    url: str = Field("", description="Address of slurmrestd, `http(s)://host:port` or `unix:/path`; empty means Slurm's commands.")
    user: str = Field("", description="User whose name goes with the token to slurmrestd.")
    token_file: str = Field("", description="File with a JSON Web Token for slurmrestd, read anew for each request.")
    jwt_key: str = Field("", description="File with Slurm's own key, to sign short-lived tokens with instead of a token file.")
    login: str = Field("", description="Login node `user@host` to run Slurm's commands on through ssh; empty means this machine.")
    folder: str = Field("", description="Folder for jobs that the nodes see at the same path; empty means one in the data folder.")
    partition: str = Field("", description="Partition that jobs go to; empty means Slurm's default.")
    account: str = Field("", description="Account that jobs are charged to; empty means the user's default.")
    users: dict[str, str] = Field(default_factory=dict, description="Unix account by a person's name or an organisation's path.")
    python: str = Field("", description="Python of the nodes, with Headwater in it; empty means the path of this one.")
    accounting: bool = Field(False, description="Take what a job used from Slurm's accounting, and an end that Slurm has forgotten.")


def client_of(options: SlurmOptions) -> SlurmClient:
    """Return a client as the options say: slurmrestd where it has an address, else Slurm's commands. Raises Unavailable."""
    if not options.url:
        return CommandClient(login=options.login)
    file, key_file = (Path(name) if name else None for name in (options.token_file, options.jwt_key))
    return RestClient(options.url, Tokens(options.user, file=file, key_file=key_file))


def options_of(settings: Settings) -> SlurmOptions:
    """Return what the settings say of the one Slurm that needs no site."""
    return SlurmOptions(**{name: getattr(settings, f"slurm_{name}") for name in SlurmOptions.model_fields})


def opened(platform: Platform, name: str, options: SlurmOptions) -> SlurmEngine:
    """Return the engine of a Slurm under a name; its jobs lie in a folder of that name where none is stated. Raises Unavailable."""
    return SlurmEngine(
        name=name,
        root=Path(options.folder) if options.folder else platform.settings.data_folder / f"{name}-jobs",
        store=platform.store,
        client=client_of(options),
        partition=options.partition,
        account=options.account,
        users=Users(options.users),
        accounting=options.accounting,
        python=options.python,
    )


SLURM = EngineFactory(
    name="slurm",
    open=lambda platform: opened(platform, "slurm", options_of(platform.settings)),
    wanted=lambda settings: settings.slurm,
    options=SlurmOptions,
    site=opened,
)
