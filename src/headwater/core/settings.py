"""Every setting of the platform, read once at the edge and passed down.

Sources, the first that has a value wins: environment variables `HEADWATER_<NAME>`, then
`headwater.toml` in the data folder, then the default here. An unknown key is an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from headwater.core.errors import BadInput

DEFAULT_FOLDER = Path(".headwater")
FILE = "headwater.toml"


class Settings(BaseSettings):
    """The settings tree. Descriptions here are the reference in `docs/reference/settings.md`."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", extra="forbid", frozen=True)

    data_folder: Path = Field(DEFAULT_FOLDER, description="Where the platform keeps its database, artifacts, keys and job folders.")
    database_url: str = Field("", description="SQLAlchemy URL of the database; empty means a SQLite file in the data folder.")
    store_url: str = Field("", description="Folder or fsspec URL of the artifact store; empty means `artifacts/` in the data folder.")
    host: str = Field("127.0.0.1", description="Address that the server listens on.")
    port: int = Field(8420, ge=0, le=65535, description="Port that the server listens on; 0 picks a free one.")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^/\s?#]+(/[^\s?#]*)?)?$",
        description="Address of the server in links that outside clients get; empty means the one that each request came to.",
    )
    public_requests_per_minute: int = Field(
        1200, ge=0, description="Requests that one address may make in a minute without a sign-in; 0 means any number."
    )
    token_requests_per_minute: int = Field(
        6000, ge=0, description="Requests that one token or session may make in a minute; 0 means any number."
    )
    signed_url_minutes: float = Field(
        60.0, gt=0, le=7 * 24 * 60, description="How long an address that opens a file without a sign-in holds."
    )
    secure_cookies: bool = Field(False, description="Send session cookies over HTTPS only; switch on behind TLS.")
    session_hours: float = Field(12.0, gt=0, description="How long a sign-in lasts.")
    session_idle_minutes: float = Field(120.0, gt=0, description="How long a sign-in lasts that is not used.")
    oidc_issuer: str = Field(
        "",
        max_length=300,
        pattern=r"^(https://[^\s?#]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^\s?#]*)?)?$",
        description="Address of an OpenID Connect provider that people may sign in with, https but on this machine; empty means none.",
    )
    oidc_client_id: str = Field("", max_length=300, description="Name by which the provider knows this platform.")
    oidc_client_secret_file: str = Field("", description="File with the client's secret, read at each sign-in; empty for a public client.")
    oidc_scopes: str = Field("openid profile email", pattern=r"^(.* )?openid( .*)?$", description="Scopes that are asked for.")
    oidc_organisation_claim: str = Field(
        "", description="Claim with the organisation path of a new person; empty means all are the city's."
    )
    oidc_groups_claim: str = Field("groups", description="Claim that lists a person's groups.")
    oidc_roles: dict[str, str] = Field(
        default_factory=dict, description='What groups may do, such as {engineers = "developer@city/haidian"}; weighed at each sign-in.'
    )
    local_cpus: float = Field(0.0, ge=0, description="CPUs that the local engine may give to jobs; 0 means those this process may use.")
    local_memory_gib: float = Field(0.0, ge=0, description="Memory that the local engine may give to jobs; 0 means 80 % of the machine's.")
    local_accelerators: dict[str, int] = Field(
        default_factory=dict, description="Declared accelerators of this machine by chip, such as {h20 = 8}."
    )
    isolation: str = Field(
        "none",
        pattern="^(none|bubblewrap)$",
        description="How jobs of the local engine are kept from the platform's files: not at all, or by bubblewrap.",
    )
    engine: str = Field("local", max_length=40, description="Engine that runs jobs where a run names none.")
    slurm: bool = Field(False, description="Use a Slurm cluster as an engine.")
    slurm_url: str = Field("", description="Address of slurmrestd, `http(s)://host:port` or `unix:/path`; empty means Slurm's commands.")
    slurm_user: str = Field("", description="User whose name goes with the token to slurmrestd.")
    slurm_token_file: str = Field("", description="File with a JSON Web Token for slurmrestd, read anew for each request.")
    slurm_login: str = Field("", description="Login node `user@host` to run Slurm's commands on through ssh; empty means this machine.")
    slurm_folder: str = Field("", description="Folder for jobs that the nodes see at the same path; empty means one in the data folder.")
    slurm_partition: str = Field("", description="Partition that jobs go to; empty means Slurm's default.")
    slurm_account: str = Field("", description="Account that jobs are charged to; empty means the user's default.")
    ray_url: str = Field("", description="Address of a Ray cluster's dashboard, `http(s)://host:port`; empty means no Ray.")
    ray_token_file: str = Field("", description="File with the Ray cluster's token, read anew for each request; empty means none.")
    ray_folder: str = Field("", description="Folder for jobs that Ray's nodes see at the same path; empty means one in the data folder.")
    kubernetes: bool = Field(False, description="Use a Kubernetes cluster as an engine.")
    kubernetes_kubeconfig: str = Field(
        "", description="Kubeconfig file; empty means the service account of the pod that the server runs in."
    )
    kubernetes_namespace: str = Field("", description="Namespace that jobs go to; empty means the kubeconfig's, or the server's own.")
    kubernetes_queue: str = Field("", description="Kueue's local queue that admits jobs; empty means that they start without Kueue.")
    kubernetes_image: str = Field("", description="Image that jobs run in; its `python3` has Headwater installed.")
    kubernetes_claim: str = Field("", description="Persistent volume claim with the folder for jobs, which many nodes may mount.")
    kubernetes_folder: str = Field("", description="Where the root of the claim's volume is here; empty means the data folder.")
    kubernetes_launch_s: float = Field(300.0, gt=0, description="Seconds that a pod gets to be placed and to pull its image.")
    skypilot: dict[str, Any] = Field(
        default_factory=dict, description="Use a SkyPilot API server as an engine: the table of docs/skypilot.md; empty means none."
    )
    slurm_jwt_key: str = Field("", description="File with Slurm's own key, to sign short-lived tokens with instead of a token file.")
    slurm_users: dict[str, str] = Field(
        default_factory=dict,
        description="Unix account by a person's name or an organisation's path, such as {city = '{person}'}; none: all jobs as one user.",
    )
    slurm_python: str = Field("", description="Python of Slurm's nodes, with Headwater in it; empty means the path of this one.")
    slurm_accounting: bool = Field(False, description="Take what a job used from Slurm's accounting, and an end that Slurm has forgotten.")
    sites_file: str = Field(
        "",
        description="File of sites (`headwater compute sites FILE` checks it) that the console shows: a site is the engine of its id.",
    )
    site_lost_s: float = Field(
        60.0, ge=1, le=86400, description="Seconds without an answer after which a site is lost, and its jobs go elsewhere where they may."
    )
    job_attempts: int = Field(
        3, ge=1, le=10, description="How often a job is started in all when its process is lost through no fault of its own."
    )
    policy: str = Field(
        "fifo", description="Scheduling policy: a shipped one's name (`headwater twin policies`), or a file, read again when it changes."
    )
    stop_grace_s: float = Field(5.0, ge=0, le=3600, description="Seconds that a job which is to stop gets to write a checkpoint.")
    stage_cache_gib: float = Field(
        16.0, ge=0, description="Inputs of jobs that each engine's folder keeps for later jobs; the longest unused go first."
    )
    upload_max_bytes: int = Field(64 << 20, gt=0, description="Largest request body that the server takes.")
    store_max_bytes: int = Field(16 << 30, gt=0, description="Largest single artifact that the store takes.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least severe log events that are written.")
    plan_file: str = Field("", description="Plan to show; empty means the one that comes with Headwater.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = init_settings().get("data_folder") or env_settings().get("data_folder") or DEFAULT_FOLDER
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=Path(folder) / FILE)

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_folder / 'headwater.db'}"

    @property
    def store(self) -> str:
        """The artifact store's place, with the default filled in."""
        return self.store_url or str(self.data_folder / "artifacts")


def load(**given: Any) -> Settings:
    """Return the settings; `given` (from the command line) wins over every source. Raises BadInput, naming every wrong key."""
    known = set(Settings.model_fields)
    stray = [name for name in os.environ if name.startswith("HEADWATER_") and name.removeprefix("HEADWATER_").lower() not in known]
    if stray:
        raise BadInput(f"Unknown setting {', '.join(sorted(stray))} in the environment.", f"Settings: {', '.join(sorted(known))}.")
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise BadInput(f"Wrong settings: {problems}.", f"Settings: {', '.join(sorted(known))}.", where=FILE) from error
    except ValueError as error:  # tomllib's decode error, which names line and column
        raise BadInput(f"The settings file is not TOML: {error}.", where=FILE) from error
    return settings.model_copy(update={"data_folder": settings.data_folder.resolve()})
