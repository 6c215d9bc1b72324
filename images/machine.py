"""What a build borrows from this machine: the way to the package index, and its CA certificates.

All of it is mounted into the builder stages only; no layer and no history entry of an image holds any of it.
"""

import os
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

from images.errors import ImagesError

_BORROWED = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_INSIDE_CERTIFICATES = "/etc/greylag-build-ca.crt"


def pip_settings() -> str:
    """Return what pip's files and environment say on this machine, as `pip config list` prints it.

    Raises:
        ImagesError: pip does not answer.
    """
    argv = [sys.executable, "-m", "pip", "config", "list"]
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    except (subprocess.SubprocessError, OSError) as error:
        message = f"`pip config list` failed: {error}"
        raise ImagesError(message) from error


def borrowed(settings: str) -> dict[str, str]:
    """Pick what a build needs out of `pip config list`; the environment (`:env:`) wins over the files."""
    values: dict[str, str] = {}
    for line in sorted(settings.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in (*_BORROWED, "cert"):
            values[option] = value.strip().strip("'\"").replace("\\n", "\n")
    return values


def certificates(settings: dict[str, str]) -> Path | None:
    """Return the CA bundle that this machine's pip trusts, if it is not the one that pip ships."""
    named = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    path = Path(named) if named else _CERTIFICATES
    return path.resolve() if path.is_file() else None


def mounts(folder: Path) -> list[str]:
    """Write the build's pip configuration into `folder` and return the mounts, as `buildah bud --volume` takes them."""
    settings = borrowed(pip_settings())
    bundle = certificates(settings)
    configuration = RawConfigParser()
    configuration["global"] = {key: value for key, value in settings.items() if key in _BORROWED}
    volumes = []
    if bundle:
        configuration["global"]["cert"] = _INSIDE_CERTIFICATES
        volumes.append(f"{bundle}:{_INSIDE_CERTIFICATES}:ro")
    file = folder / "pip.conf"
    with file.open("w", encoding="utf-8") as stream:
        configuration.write(stream)
    return [*volumes, f"{file}:/etc/pip.conf:ro"]
