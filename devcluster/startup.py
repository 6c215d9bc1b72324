"""Starting a cluster's programs in order, and waiting for what each next one needs."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from devcluster import cgroups, network, nodeconfig
from devcluster.api import ApiClient
from devcluster.bootstrap import create_bootstrap_objects
from devcluster.certs import ensure_certificates, ensure_kubeconfigs
from devcluster.components import Component, after_api, all_components, api_server, before_api
from devcluster.errors import DevclusterError
from devcluster.images import BUSYBOX, image_names, import_image
from devcluster.plan import Node, Plan
from devcluster.process import ProcessIdentity, read_pid_file, run, spawn, wait_until
from devcluster.watched import Reporter

_READY_SECONDS = 120
_REPORT_SECONDS = 5
_DNS_SECONDS = 2
_LOG_TAIL = 1500


class Startup:
    """Brings one cluster to the state that its plan describes; every step may be repeated."""

    def __init__(self, plan: Plan, programs: Path, report: Reporter) -> None:
        """`programs` is the folder of the compiled programs."""
        self._plan = plan
        self._programs = programs
        self._report = report

    def start_all(self) -> None:
        """Start what does not run, and return when pods can be created and names resolved.

        Raises:
            DevclusterError: a part does not start; with the end of its log.
        """
        self._prepare()
        self._report("starting etcd, containerd and the API server")
        self.ensure(before_api(self._plan, self._programs))
        self.ensure((self._api_server,))
        self._load_pause_image()
        self.await_api()
        self._report("starting kubelet, kube-proxy, controllers, scheduler and CoreDNS")
        self.ensure(after_api(self._plan, self._programs))
        create_bootstrap_objects(self._plan, ApiClient(self._plan))
        self._await_use()
        self._complete.touch()

    @property
    def _complete(self) -> Path:
        return self._plan.run / "complete"

    @property
    def was_complete(self) -> bool:
        """True once :meth:`start_all` came to its end."""
        return self._complete.exists()

    @property
    def _api_server(self) -> Component:
        return api_server(self._plan, self._programs)

    def _prepare(self) -> None:
        ensure_certificates(self._plan)
        ensure_kubeconfigs(self._plan)
        nodeconfig.write_configs(self._plan)
        if not network.is_network_complete(self._plan):
            network.create_network(self._plan)
        for node in self._plan.nodes:
            cgroups.create_cgroup(node.cgroup)

    def ensure(self, components: Sequence[Component]) -> None:
        """Start those that do not run."""
        for component in components:
            if self.process(component) is None:
                spawn(component.command, self._log(component), self._pid_file(component), self._plan.name)

    def process(self, component: Component) -> ProcessIdentity | None:
        """Return the component's process if it runs."""
        return read_pid_file(self._pid_file(component))

    def processes(self) -> dict[str, ProcessIdentity | None]:
        """Return every component's process."""
        return {item.name: self.process(item) for item in all_components(self._plan, self._programs)}

    def api_process(self) -> ProcessIdentity | None:
        """Return the API server's process if it runs."""
        return self.process(self._api_server)

    def start_api(self) -> None:
        """Start the API server alone and wait until it is ready."""
        self.ensure((self._api_server,))
        self.await_api()

    def await_api(self) -> None:
        """Wait until the API server calls itself ready."""
        self._await("the API server", ApiClient(self._plan).is_ready)

    def _await_use(self) -> None:
        api = ApiClient(self._plan)
        wanted = {node.name for node in self._plan.nodes}
        self._await("the nodes", lambda: api.ready_nodes() >= wanted)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._await("the controllers", lambda: api.get(account).ok)
        for node in self._plan.nodes:
            resolves = functools.partial(_resolves, self._plan, node)
            self._await(f"the name server, seen from {node.name}", resolves)

    def _load_pause_image(self) -> None:
        for node in self._plan.nodes:
            answers = functools.partial(_containerd_answers, node)
            self._await(f"containerd on {node.name}", answers)
            if nodeconfig.PAUSE_IMAGE not in image_names(node):
                import_image(node, self._programs.parent / "pause.tar")

    def _pid_file(self, component: Component) -> Path:
        return self._plan.run / f"{component.name}.pid"

    def _log(self, component: Component) -> Path:
        return self._plan.logs / f"{component.name}.log"

    def _await(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not wait_until(condition, _REPORT_SECONDS, poll=0.1):
            self._check_programs()
            if time.monotonic() > deadline:
                message = f"{what} not ready after {_READY_SECONDS} s: see {self._plan.logs}"
                raise DevclusterError(message)
            self._report(f"waiting for {what}")

    def _check_programs(self) -> None:
        for component in all_components(self._plan, self._programs):
            if self._pid_file(component).exists() and self.process(component) is None:
                log = self._log(component)
                tail = log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
                message = f"{component.name} ended; the end of {log}:\n{tail}"
                raise DevclusterError(message)


def _containerd_answers(node: Node) -> bool:
    try:
        image_names(node)
    except DevclusterError:
        return False
    return True


def _resolves(plan: Plan, node: Node) -> bool:
    """Ask the name server by its Service address, as a pod of that node would."""
    question = ["nslookup", "kubernetes.default.svc.cluster.local", plan.dns_service_address]
    try:
        answer = run([*network.enter(node), str(BUSYBOX), *question], timeout=_DNS_SECONDS)
    except DevclusterError:
        return False
    return plan.api_service_address in answer.split()
