"""The base images: Debian 12 with Python, or with Redis, put together from Debian packages with mmdebstrap."""

import hashlib
from dataclasses import dataclass

SUITE = "bookworm"
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")


@dataclass(frozen=True, slots=True)
class Base:
    """A base image: its name, the Dockerfile's argument that takes it, and the Debian packages in it."""

    stem: str
    argument: str
    packages: tuple[str, ...]

    @property
    def recipe(self) -> tuple[str, ...]:
        """The command that puts its file tree together, but for the file to write."""
        return (
            "mmdebstrap",
            "--quiet",
            "--variant=essential",
            f"--include={','.join(self.packages)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
            SUITE,
        )

    @property
    def key(self) -> str:
        """Hash of the recipe."""
        return hashlib.sha256("\0".join(self.recipe).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Full reference of the image."""
        return f"localhost/{self.stem}:{self.key}"


PYTHON = Base("greylag-base", "BASE_IMAGE", ("python3", "python3-venv", "ca-certificates", "libstdc++6"))
REDIS = Base("greylag-store-base", "STORE_BASE_IMAGE", ("redis-server",))
