"""Image archives: a tiny one written by hand from the static busybox, and loading any into the nodes."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.nodeconfig import PAUSE_IMAGE
from devcluster.plan import Node
from devcluster.process import run

BUSYBOX = Path("/bin/busybox")
_LOAD_SECONDS = 300
_APPLETS = ("sh", "sleep", "wget", "nslookup", "nc", "httpd", "cat", "echo", "ls", "id", "ip", "ps", "true")


def write_pause_image(path: Path) -> None:
    """Write the image of the process that holds a pod's namespaces."""
    write_busybox_image(path, PAUSE_IMAGE, ("/bin/busybox", "sleep", "2147483647"))


def write_busybox_image(path: Path, name: str, command: Sequence[str]) -> None:
    """Write a docker-archive of one layer: busybox with a few of its programs, and a `/tmp`.

    Raises:
        DevclusterError: the static busybox is not installed.
    """
    if not BUSYBOX.exists():
        message = f"{BUSYBOX} is missing: run `python -m devcluster packages`"
        raise DevclusterError(message)
    layer = _layer(BUSYBOX.read_bytes())
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"], "User": "65532:65532", "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "devcluster"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    files = {
        f"{digest}.tar": layer,
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    _write_archive(path, files)


def _write_archive(path: Path, files: dict[str, bytes]) -> None:
    temporary = path.with_suffix(".new")
    with tarfile.open(temporary, "w") as archive:
        for name, content in files.items():
            _add_file(archive, name, content, 0o644)
    temporary.replace(path)


def _layer(busybox: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777), ("etc", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        _add_file(archive, "bin/busybox", busybox, 0o755)
        for applet in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return buffer.getvalue()


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def import_image(node: Node, archive: Path) -> list[str]:
    """Load a docker or OCI archive into a node and return the names that it holds.

    Raises:
        DevclusterError: no such file, or containerd refused it.
    """
    if not archive.is_file():
        message = f"{archive} is no file"
        raise DevclusterError(message)
    output = run([*_ctr(node), "images", "import", str(archive)], timeout=_LOAD_SECONDS)
    return [line.split()[1] for line in output.splitlines() if line.startswith("unpacking ")]


def image_names(node: Node) -> set[str]:
    """Return the names of the images that the node holds."""
    return set(run([*_ctr(node), "images", "list", "-q"]).split())


def _ctr(node: Node) -> list[str]:
    return ["ctr", "--address", str(node.containerd_socket), "--namespace", "k8s.io"]
