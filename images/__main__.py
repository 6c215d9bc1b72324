"""Command line: ``python -m images VERB``; prints the result as one JSON object, progress goes to the error stream."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

from images.build import Order, build, references
from images.deliver import archives, load, push
from images.errors import ImagesError
from images.targets import TARGETS

_VERBS = {
    "refs": "print the references that the present inputs have; build nothing",
    "build": "build what is not there yet",
    "archives": "save docker-archives and print their paths (for `kind load image-archive`)",
    "load": "load into the devcluster, or push if a registry is given",
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="images", description="Greylag's container images, built with buildah.")
    verbs = top.add_subparsers(dest="verb", required=True)
    for verb, text in _VERBS.items():
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--target", action="append", choices=tuple(TARGETS), help="default: all")
        command.add_argument("--tag", default="", help="instead of the hash of the inputs; always builds")
        command.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
        if verb == "load":
            registry = os.environ.get("IMAGE_REGISTRY") or ""
            command.add_argument("--push", default=registry, metavar="REGISTRY", help="default: $IMAGE_REGISTRY")
    return top


def order_of(options: argparse.Namespace) -> Order:
    """Turn the options into an order.

    Raises:
        ImagesError: a build argument without `=`.
    """
    pairs = [tuple(argument.split("=", 1)) for argument in options.build_arg]
    arguments = tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2)  # noqa: PLR2004 - a name and a value
    if len(arguments) != len(pairs):
        message = "--build-arg wants NAME=VALUE"
        raise ImagesError(message)
    return Order(tuple(dict.fromkeys(options.target or TARGETS)), options.tag, arguments)


def run(options: argparse.Namespace) -> Mapping[str, object]:
    """Do what the verb says.

    Raises:
        ImagesError: it did not work.
    """
    order = order_of(options)
    if options.verb == "refs":
        return references(order)
    if options.verb == "build":
        return build(order)
    if options.verb == "archives":
        return {name: str(path) for name, path in archives(order).items()}
    return push(order, options.push) if options.push else load(order)


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    try:
        result = run(parser().parse_args(words))
    except ImagesError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{json.dumps(result, indent=2)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
