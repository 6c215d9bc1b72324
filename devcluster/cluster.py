"""One cluster: up, down, status, images, and an API outage on demand."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from devcluster import network, registry, teardown
from devcluster.api import ApiClient
from devcluster.errors import DevclusterError
from devcluster.images import import_image
from devcluster.packages import check_machine, check_rights
from devcluster.plan import DEFAULT_NAME, Plan, check_name, check_nodes
from devcluster.process import stop
from devcluster.registry import Record
from devcluster.startup import Startup
from devcluster.toolchain import ensure_built
from devcluster.watched import Reporter

# A graceful end waits for open watches; a test of an outage wants the outage now.


@dataclass(frozen=True, slots=True)
class Status:
    """What runs and what does not."""

    programs: dict[str, int | None]
    network: bool
    api_ready: bool
    nodes_ready: frozenset[str]
    nodes_wanted: frozenset[str]

    @property
    def healthy(self) -> bool:
        """True if `up` has nothing to do."""
        return (
            self.network
            and self.api_ready
            and None not in self.programs.values()
            and self.nodes_ready >= self.nodes_wanted
        )


class Cluster:
    """A cluster by name, running or not."""

    def __init__(self, name: str | None = None, report: Reporter = print) -> None:
        """Name it; None means `CLUSTER_NAME` of the environment, or the default."""
        self.name = check_name(name or os.environ.get("CLUSTER_NAME") or DEFAULT_NAME)
        self._report = report

    @property
    def plan(self) -> Plan:
        """Addresses and paths.

        Raises:
            DevclusterError: the cluster was not started since the machine was.
        """
        return registry.plan_of(self.name, self._record())

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator; works on the machine without entering any namespace."""
        return self.plan.kubeconfig

    @property
    def audit_log(self) -> Path:
        """Audit log, one JSON object a line: writes only."""
        return self.plan.audit_log

    @property
    def bin_dir(self) -> Path:
        """Folder with kubectl and helm."""
        return Path(self._record().programs)

    def _record(self) -> Record:
        record = registry.read_record(self.name)
        if record is None:
            message = f"cluster {self.name} is not up: run `python -m devcluster up --name {self.name}`"
            raise DevclusterError(message)
        return record

    def _startup(self) -> Startup:
        return Startup(self.plan, self.bin_dir, self._report)

    def up(self, nodes: int = 1) -> None:
        """Start the cluster, or what of it is missing; nothing happens to a healthy one.

        Raises:
            DevclusterError: a wrong number of nodes, missing rights or packages, or a part that does not start.
        """
        check_nodes(nodes)
        check_machine()
        began = time.monotonic()
        if registry.read_record(self.name) is None:
            # Not under the cluster's lock: it takes minutes when the cache is empty.
            ensure_built(self._report)
        with registry.locked(self.name):
            record = registry.read_record(self.name)
            if record and self._is_healthy(record, nodes):
                self._report(f"cluster {self.name} is up and healthy: {self.kubeconfig}")
                return
            self._prepare(record, nodes)
            self._startup().start_all()
        self._report(f"cluster {self.name} is up after {time.monotonic() - began:.1f} s: {self.kubeconfig}")

    def _is_healthy(self, record: Record, nodes: int) -> bool:
        if record.nodes != nodes:
            message = (
                f"cluster {self.name} is up with NODES={record.nodes}, not {nodes}:"
                f" run `python -m devcluster down --name {self.name}` first"
            )
            raise DevclusterError(message)
        return self._startup().was_complete and self.status().healthy

    def _prepare(self, record: Record | None, nodes: int) -> None:
        programs = ensure_built(self._report)
        if record and network.is_network_complete(self.plan):
            self._report(f"cluster {self.name} is half-started: starting what is missing")
            registry.write_record(self.name, replace(record, programs=str(programs)))
            return
        if record or teardown.leftovers(self.name):
            self._report(f"remains of a cluster {self.name} are not usable: making it anew")
            teardown.remove_cluster(self.name, record)
        registry.new_record(self.name, nodes, programs)

    def down(self) -> None:
        """Remove the cluster and all its traces; nothing happens if there are none.

        Raises:
            DevclusterError: not root, or something does not go away.
        """
        check_rights()
        with registry.locked(self.name) as lock:
            record = registry.quiet_record(self.name)
            if record is None and not teardown.leftovers(self.name):
                self._report(f"cluster {self.name} is not there")
            else:
                teardown.remove_cluster(self.name, record)
                self._report(f"cluster {self.name} is gone")
            lock.unlink()
        registry.forget_if_empty()

    def status(self) -> Status:
        """Look at processes, API server and nodes."""
        plan = self.plan
        identities = self._startup().processes()
        complete = network.is_network_complete(plan)
        running = complete and identities["kube-apiserver"] is not None
        api = ApiClient(plan) if running else None
        ready = api is not None and api.is_ready()
        return Status(
            programs={name: identity.pid if identity else None for name, identity in identities.items()},
            network=complete,
            api_ready=ready,
            nodes_ready=frozenset(api.ready_nodes()) if api and ready else frozenset(),
            nodes_wanted=frozenset(node.name for node in plan.nodes),
        )

    def load(self, *archives: str | Path) -> list[str]:
        """Load docker or OCI archives into every node and return the image names."""
        names: list[str] = []
        for archive in archives:
            loaded = [import_image(node, Path(archive)) for node in self.plan.nodes]
            names += loaded[0]
        return names

    def stop_api(self) -> None:
        """End the API server alone, without warning; nothing happens if it does not run.

        An orderly end would withdraw the endpoint of Service `kubernetes`, and its return would wait for kube-proxy.
        """
        identity = self._startup().api_process()
        if identity:
            stop([identity], 0)

    def start_api(self) -> None:
        """Start the API server again and wait until it is ready."""
        self._startup().start_api()
