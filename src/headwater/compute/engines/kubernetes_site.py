"""How a Kubernetes engine is opened: from the platform's settings, or from what a registered site states."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from headwater.compute.engines import kubernetes_config
from headwater.compute.engines.kubernetes import NAME, KubernetesEngine
from headwater.compute.engines.kubernetes_client import KubernetesClient
from headwater.compute.engines.kubernetes_job import Place
from headwater.compute.work import EngineFactory, SiteOptions
from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.platform import Platform


class KubernetesOptions(SiteOptions):
    """What a site that is a Kubernetes cluster states; each as the setting of its name, `kubernetes_…`."""

    kubeconfig: str = ""
    namespace: str = ""
    queue: str = ""
    image: str
    claim: str
    folder: str = ""
    launch_s: float = Field(300.0, gt=0)


def opened(platform: Platform, name: str, options: KubernetesOptions) -> KubernetesEngine:
    """Open the engine of one cluster. Raises Unavailable where its API server does not answer, BadInput for options that do not hold."""
    claim_root = Path(options.folder) if options.folder else platform.settings.data_folder
    client = KubernetesClient(kubernetes_config.load(options.kubeconfig), namespace=options.namespace)
    place = Place(image=options.image, claim=options.claim, queue=options.queue, launch_s=options.launch_s)
    try:
        root = claim_root / f"{name}-jobs"
        return KubernetesEngine(name=name, root=root, claim_root=claim_root, store=platform.store, client=client, place=place)
    except HeadwaterError:
        client.close()
        raise


def _open(platform: Platform) -> KubernetesEngine:
    told = platform.settings
    if missing := [name for name in ("kubernetes_image", "kubernetes_claim") if not getattr(told, name)]:
        raise BadInput(f"The engine '{NAME}' needs {' and '.join(missing)}.", "Set them in headwater.toml.")
    options = KubernetesOptions(
        kubeconfig=told.kubernetes_kubeconfig,
        namespace=told.kubernetes_namespace,
        queue=told.kubernetes_queue,
        image=told.kubernetes_image,
        claim=told.kubernetes_claim,
        folder=told.kubernetes_folder,
        launch_s=told.kubernetes_launch_s,
    )
    return opened(platform, NAME, options)


KUBERNETES = EngineFactory(name=NAME, open=_open, wanted=lambda settings: settings.kubernetes, options=KubernetesOptions, site=opened)
