"""Entry point: `python -m demo`."""

from __future__ import annotations

import sys

from demo.console import Console
from demo.errors import DemoError
from demo.settings import read_cluster_choice, read_provider
from demo.show import Show


def main() -> int:
    """Run the demo; 0 if every bar is met, 1 with the reason otherwise."""
    console = Console()
    try:
        choice, provider = read_cluster_choice(), read_provider()
        return Show(console, choice, provider).run()
    except DemoError as error:
        console.say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        console.say("interrupted; the cluster is left as it is")
        return 130


if __name__ == "__main__":
    sys.exit(main())
