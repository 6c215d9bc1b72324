"""What the machine must have: rights, Debian packages."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.nodeconfig import CNI_PLUGINS, has_capability
from devcluster.watched import Reporter, run_watched

_INSTALL_SECONDS = 900
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package and a program or file that shows it is there."""

    name: str
    proof: str

    @property
    def present(self) -> bool:
        """True if its program or file is there."""
        return Path(self.proof).exists() if "/" in self.proof else _which(self.proof)


def _which(program: str) -> bool:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(program, path=path) is not None


CLUSTER_PACKAGES = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", str(CNI_PLUGINS / "ptp")),
    Package("nftables", "nft"),
    Package("iproute2", "ip"),
    Package("conntrack", "conntrack"),
    Package("busybox-static", "/bin/busybox"),
    Package("openssl", "openssl"),
    Package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
    Package("python3-venv", "/usr/lib/python3.11/ensurepip/__init__.py"),
)
IMAGE_PACKAGES = (Package("buildah", "buildah"), Package("mmdebstrap", "mmdebstrap"))
TEST_PACKAGES = (Package("redis-server", "redis-server"),)


def missing_packages(packages: tuple[Package, ...]) -> list[str]:
    """Return the names of those that are not installed."""
    return [package.name for package in packages if not package.present]


def check_rights() -> None:
    """Check what no package gives.

    Raises:
        DevclusterError: not root, or a capability is missing; all of it named at once.
    """
    lacking = [name for name, number in _CAPABILITIES.items() if not has_capability(number)]
    if os.geteuid() != 0:
        lacking.insert(0, "root")
    if lacking:
        message = f"missing rights: {', '.join(lacking)}. Run it as root on the machine itself (sudo make ...)."
        raise DevclusterError(message)


def check_machine() -> None:
    """Check rights and packages before anything starts.

    Raises:
        DevclusterError: with the exact command that cures it.
    """
    check_rights()
    missing = missing_packages(CLUSTER_PACKAGES)
    if missing:
        raise DevclusterError(_advice(missing))


def install_packages(report: Reporter) -> None:
    """Install what is missing; nothing happens if all is there.

    Raises:
        DevclusterError: not root, or apt-get failed.
    """
    missing = missing_packages(CLUSTER_PACKAGES + IMAGE_PACKAGES + TEST_PACKAGES)
    if not missing:
        report("all Debian packages are installed")
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DevclusterError(_advice(missing))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    for argv, what in (
        (["apt-get", "update", "-q"], "reading the package lists"),
        (install, f"installing {' '.join(missing)}"),
    ):
        run_watched(argv, what, report, timeout=_INSTALL_SECONDS, environment=environment)


def _advice(missing: list[str]) -> str:
    names = " ".join(missing)
    return f"missing Debian packages: {names}. Install them: apt-get install -y --no-install-recommends {names}"
