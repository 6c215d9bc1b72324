"""A cluster with Greylag installed: made if it is not there, quick if it is. The demo and the e2e tests start here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.api import Api, Document, Refused, object_path
from demo.console import ROOT, Console
from demo.errors import DemoError
from demo.settings import ClusterChoice
from devcluster.cluster import Cluster
from devcluster.errors import DevclusterError

RELEASE = "greylag"
SYSTEM_NAMESPACE = "greylag-system"
CHART = ROOT / "charts" / "greylag"
_HELM_SECONDS = 240
_KUBECTL_SECONDS = 120
_NAMESPACE_SECONDS = 180
_POKE_SECONDS = 4.0
_POKE_ANNOTATION = "greylag.dev/demo-removed-at"


@dataclass(frozen=True, slots=True)
class Environment:
    """A cluster, the images in it, and the tools to talk to it."""

    choice: ClusterChoice
    console: Console
    api: Api
    images: Mapping[str, str]
    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def bring_up(cls, choice: ClusterChoice, console: Console, values: Mapping[str, Any] | None = None) -> Environment:
        """Make what is missing of cluster, images and installation; `values` are the chart's, beside the images.

        Raises:
            DemoError: a step failed; the text says which and why.
        """
        images, variables = _current(choice, console) if choice.current else _devcluster(choice, console)
        api = Api(None if choice.current else Path(variables["KUBECONFIG"]))
        environment = cls(choice, console, api, images, variables)
        environment.install(values or {})
        return environment

    @classmethod
    def attach(cls, choice: ClusterChoice, console: Console) -> Environment:
        """Use a cluster that has everything already; nothing is built, loaded or installed.

        Raises:
            DemoError: the cluster is not up.
        """
        variables = dict(os.environ) if choice.current else _variables(choice)
        api = Api(None if choice.current else Path(variables["KUBECONFIG"]))
        return cls(choice, console, api, _images(console, choice, "refs"), variables)

    @property
    def devcluster(self) -> Cluster:
        """The devcluster: its audit log, addresses, and the API server's outages.

        Raises:
            DemoError: it is the reader's own cluster.
        """
        if self.choice.current:
            raise DemoError("CLUSTER=current is no devcluster")
        return Cluster(self.choice.name, self.console.say)

    def kubectl(self, *words: str) -> str:
        """Run kubectl on the cluster and return its output.

        Raises:
            DemoError: it failed.
        """
        label = f"kubectl {' '.join(words)}"
        return self.console.run(label, ["kubectl", *words], environment=self.variables, seconds=_KUBECTL_SECONDS)

    def install(self, values: Mapping[str, Any]) -> None:
        """Install or upgrade the chart with the images of this checkout, and wait until the operator is ready.

        Raises:
            DemoError: helm failed.
        """
        merged = _merge(_image_values(self.images), values)
        argv = ["helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM_NAMESPACE]
        argv += ["--create-namespace", "--take-ownership", "--wait", "--timeout", f"{_HELM_SECONDS}s"]
        for name, value in _flat(merged):
            argv += ["--set-json", f"{name}={json.dumps(value)}"]
        began = time.monotonic()
        self.console.run("helm upgrade --install", argv, environment=self.variables, seconds=_HELM_SECONDS + 30)
        self.console.say(f"chart installed in {SYSTEM_NAMESPACE}, operator ready ({time.monotonic() - began:.1f} s)")

    def apply(self, *manifests: Document) -> None:
        """Apply objects, in order.

        Raises:
            DemoError: the API server refused one.
        """
        for manifest in manifests:
            self.api.apply(object_path(manifest), manifest)

    def renew_namespace(self, manifest: Document) -> None:
        """Make a namespace anew: what was in it is gone.

        Raises:
            DemoError: it does not go away.
        """
        name = manifest["metadata"]["name"]
        path = object_path(manifest)
        old = self.api.find(path)
        if old is not None:
            self.console.say(f"namespace {name} is there from an earlier run: removing it")
            self.api.delete(path)
            with self.console.company(lambda: f"  waiting for the end of namespace {name}"):
                self._await_end(path, old["metadata"]["uid"])
        self.api.apply(path, manifest)

    def _await_end(self, path: str, uid: str) -> None:
        poked = time.monotonic()

        def hurry() -> bool | None:
            nonlocal poked
            found = self.api.find(path)
            if found is None or found["metadata"]["uid"] != uid:
                return True
            # Pods may drain for an hour; here nobody waits for their answers any more.
            for pod in self.api.get(f"{path}/pods")["items"]:
                self.api.delete(f"{path}/pods/{pod['metadata']['name']}", gracePeriodSeconds="0")
            if time.monotonic() - poked > _POKE_SECONDS:
                poked = time.monotonic()
                # After meeting such a pod the namespace controller looks again in half an hour, or at a change.
                self._poke(path)
            return None

        self.api.await_that(f"end of {path.rpartition('/')[2]}", _NAMESPACE_SECONDS, hurry)

    def _poke(self, path: str) -> None:
        with contextlib.suppress(Refused):
            self.api.patch(path, {"metadata": {"annotations": {_POKE_ANNOTATION: f"{time.time():.0f}"}}})


def _current(choice: ClusterChoice, console: Console) -> tuple[dict[str, str], dict[str, str]]:
    missing = [name for name in ("kubectl", "helm") if shutil.which(name) is None]
    if missing:
        raise DemoError(f"CLUSTER=current needs {' and '.join(missing)} on PATH")
    _python(console, "Debian packages", "devcluster", "packages")
    console.say(f"building images and pushing them to {choice.registry}")
    return _images(console, choice, "load"), dict(os.environ)


def _devcluster(choice: ClusterChoice, console: Console) -> tuple[dict[str, str], dict[str, str]]:
    """Start the cluster and build the images at the same time: each waits a lot for things that are not the CPU."""
    _python(console, "Debian packages", "devcluster", "packages")
    console.say(f"devcluster {choice.name} and images: start and build side by side, only what is missing")
    _python(console, "compiling Kubernetes", "devcluster", "build")
    with ThreadPoolExecutor(2) as pool:
        cluster = pool.submit(_python, console, "devcluster", "devcluster", "up", *_cluster_words(choice))
        archives = pool.submit(_images, console, choice, "archives")
        cluster.result()
        archives.result()
    images = _images(console, choice, "load")
    console.say(f"cluster {choice.name} has {len(images)} images")
    return images, _variables(choice)


def _cluster_words(choice: ClusterChoice) -> tuple[str, ...]:
    return ("--name", choice.name, "--nodes", str(choice.nodes))


def _python(console: Console, label: str, *words: str) -> str:
    return console.stream(label, [sys.executable, "-m", *words], environment=dict(os.environ))


def _images(console: Console, choice: ClusterChoice, verb: str) -> dict[str, str]:
    # A registry in the reader's environment must not turn a load into the devcluster into a push.
    environment = {
        **os.environ,
        "CLUSTER_NAME": choice.name,
        "IMAGE_REGISTRY": choice.registry if choice.current else "",
    }
    output = console.stream("images", [sys.executable, "-m", "images", verb], environment=environment)
    images = {str(name): str(image) for name, image in json.loads(output).items()}
    if verb == "refs" and choice.current:
        return {name: f"{choice.registry}/{image.partition('/')[2]}" for name, image in images.items()}
    return images


def _variables(choice: ClusterChoice) -> dict[str, str]:
    """Environment in which kubectl and helm are the devcluster's, and its addresses are reached without a proxy."""
    cluster = Cluster(choice.name)
    try:
        kubeconfig, programs, addresses = cluster.kubeconfig, cluster.bin_dir, cluster.plan.addresses
    except DevclusterError as error:
        raise DemoError(str(error)) from error
    exempt = ",".join([*filter(None, [os.environ.get("NO_PROXY")]), *addresses])
    return {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "PATH": f"{programs}:{os.environ.get('PATH', '')}",
        "NO_PROXY": exempt,
        "no_proxy": exempt,
    }


def _image_values(images: Mapping[str, str]) -> dict[str, Any]:
    return {part: {"image": images[part]} for part in ("operator", "gateway", "runtime", "store")}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Values by their dotted path, as `helm --set-json` takes them."""
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        path = f"{prefix}{name}"
        pairs += _flat(value, f"{path}.") if isinstance(value, Mapping) and value else [(path, value)]
    return pairs
