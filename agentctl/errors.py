"""Every way in which a command ends without success: one clear line each, with its exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes; 2 is a wrong command line, as everywhere."""

    DONE = 0
    ERROR = 1
    REFUSED = 3
    NOT_OBSERVED = 4


class AgentctlError(Exception):
    """A failure that a person can act on; its text is all that is printed."""

    exit_code = ExitCode.ERROR


class ApiError(AgentctlError):
    """The API server could not, or would not, do it."""


class MissingError(ApiError):
    """The object is not there, though its type is."""


class UnreachableError(ApiError):
    """No answer from the API server, or one that says to try again."""


class ManifestError(AgentctlError):
    """A file is not one that an agent can be run from."""


class ExtraMissingError(AgentctlError):
    """A package that only `agentctl run` needs is not installed."""

    def __init__(self, module: str) -> None:
        install = "pip install '.[local,cli]'"
        super().__init__(f"`agentctl run` needs the package {module}: {install} in a checkout of Greylag")


class RefusedError(AgentctlError):
    """The operator saw the command and did not run it."""

    exit_code = ExitCode.REFUSED


class NotObservedError(AgentctlError):
    """The operator did not answer the command in time."""

    exit_code = ExitCode.NOT_OBSERVED
