"""Run a command on the devcluster with all images loaded; take the cluster down again only if it was started here.

    python scripts/with_cluster.py -- COMMAND [ARGUMENT...]

The command sees KUBECONFIG, and kubectl and helm on PATH.
"""

import os
import subprocess
import sys

PYTHON = sys.executable


def devcluster(*words: str) -> int:
    """Run a verb of the devcluster and return its exit code."""
    return subprocess.run([PYTHON, "-m", "devcluster", *words], check=False).returncode


def environment() -> dict[str, str]:
    """Return the environment that `devcluster env` describes."""
    script = f'eval "$("{PYTHON}" -m devcluster env)"; env -0'
    output = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    return dict(line.split("=", 1) for line in output.split("\0") if line)


def is_running() -> bool:
    """Tell whether the cluster was there before us."""
    status = [PYTHON, "-m", "devcluster", "status"]
    return subprocess.run(status, check=False, capture_output=True, timeout=60).returncode == 0


def run(command: list[str]) -> int:
    """Bring up what is missing, then run the command; the first failure ends it."""
    for words in (("packages",), ("build",), ("up",)):
        if code := devcluster(*words):
            return code
    if code := subprocess.run([PYTHON, "-m", "images", "load"], check=False, stdout=subprocess.DEVNULL).returncode:
        return code
    return subprocess.run(command, check=False, env=environment()).returncode


def main(words: list[str]) -> int:
    """Return the command's exit code."""
    if not words[1:] or words[0] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    keep = is_running() or bool(os.environ.get("KEEP_CLUSTER"))
    try:
        return run(words[1:])
    finally:
        if not keep:
            devcluster("down")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
