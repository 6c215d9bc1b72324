"""`make demo CLUSTER=current` on a devcluster that it does not know as one, with images from a real registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.console import ROOT
from devcluster.cluster import Cluster

NAME = "foreign"
PORT = 5000
DEMO_SECONDS = 900


@pytest.fixture
def foreign() -> Iterator[Cluster]:
    cluster = Cluster(NAME)
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture
def registry(foreign: Cluster, tmp_path: Path) -> Iterator[str]:
    """Debian's registry on the machine's own end of the cluster's link, over plain HTTP."""
    if shutil.which("docker-registry") is None:
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "docker-registry"]
        subprocess.run(install, check=True, capture_output=True, timeout=300)
    address = f"{foreign.plan.host_address}:{PORT}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "images")}},
        "http": {"addr": address},
    }
    file = tmp_path / "registry.yml"
    file.write_text(json.dumps(settings))
    hosts = foreign.kubeconfig.parent / "certs.d" / address / "hosts.toml"
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(f'server = "http://{address}"\n[host."http://{address}"]\ncapabilities = ["pull", "resolve"]\n')
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(file)], stdout=log, stderr=log)
        try:
            _await_answer(f"http://{address}/v2/")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def _await_answer(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + 30
    while True:
        try:
            opener.open(url, timeout=2).close()
        except OSError:
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.2)
        else:
            return


@pytest.mark.timeout(1800)
def test_the_demo_runs_on_the_readers_own_cluster_with_images_from_a_registry(foreign: Cluster, registry: str) -> None:
    exempt = ",".join([*filter(None, [os.environ.get("NO_PROXY")]), *foreign.plan.addresses])
    environment = {
        **os.environ,
        "CLUSTER": "current",
        "KUBECONFIG": str(foreign.kubeconfig),
        "PATH": f"{foreign.bin_dir}:{os.environ['PATH']}",
        "IMAGE_REGISTRY": f"{registry}/greylag",
        "IMAGE_REGISTRY_INSECURE": "1",
        "NO_PROXY": exempt,
        "no_proxy": exempt,
    }
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        timeout=DEMO_SECONDS,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    report = json.loads((ROOT / "build" / "demo" / "report.json").read_text())
    assert report["failedByRollout"] == 0
    assert [release["outcome"] for release in report["releases"]][-1] == "RolledBack"
