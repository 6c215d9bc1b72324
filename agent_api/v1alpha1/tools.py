"""Tools of an agent, and which of their calls are allowed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from agent_api.meta import ApiModel, KeyReference
from agent_api.quantities import Duration, positive_durations
from agent_api.v1alpha1.model import BaseUrl, absolute_urls

ToolSourceName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
ToolGlob = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.*?-]+$")]
HeaderName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
ArgumentName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
_SEGMENT = r"([^/.\x00][^/\x00]*|\.[^/.\x00][^/\x00]*|\.\.[^/\x00]+)"
FolderPath = Annotated[str, Field(min_length=1, max_length=512, pattern=rf"^/({_SEGMENT}(/{_SEGMENT})*/?)?$")]
"""An absolute folder with no `.`, `..` or empty part."""
_MAP_BY_NAME: dict[str, JsonValue] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class HeaderFrom(ApiModel):
    """One header whose value is a secret."""

    name: HeaderName = Field(description="Name of the header, such as Authorization.")
    secret_key_ref: KeyReference = Field(description="Secret key that holds the whole value.")


Headers = Annotated[list[HeaderFrom], Field(max_length=8, json_schema_extra=_MAP_BY_NAME)]


class McpServer(ApiModel):
    """An MCP server, spoken to by streamable HTTP."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": absolute_urls("url")}}

    url: BaseUrl = Field(description="URL of its endpoint, such as http://kb-mcp:8000/mcp.")
    headers_from: Headers = Field(default=[], description="Headers of every call.")


class OpenApiSource(ApiModel):
    """Where an OpenAPI description is read from."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.url) != has(self.configMapKeyRef)",
                    "message": "exactly one of url and configMapKeyRef is required",
                },
                *absolute_urls("url"),
            ]
        }
    }

    url: BaseUrl | None = Field(default=None, description="URL of the description; read when a pod starts.")
    config_map_key_ref: KeyReference | None = Field(
        default=None, description="Key of a ConfigMap in the same namespace; its content is part of the revision."
    )


class HttpApi(ApiModel):
    """An HTTP API whose operations are the tools."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": absolute_urls("baseURL")}}

    open_api: OpenApiSource = Field(alias="openAPI", description="Its OpenAPI 3 description, JSON or YAML.")
    base_url: BaseUrl | None = Field(
        default=None, alias="baseURL", description="Where it is called. Unset: the first server of the description."
    )
    headers_from: Headers = Field(default=[], description="Headers of every call.")


class ToolSource(ApiModel):
    """One source of tools; the model sees each of them as <name>.<tool>."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": "has(self.mcp) != has(self.http)", "message": "exactly one of mcp and http is required"}
            ]
        }
    }

    name: ToolSourceName = Field(description="Prefix of its tools.")
    mcp: McpServer | None = Field(default=None, description="An MCP server.")
    http: HttpApi | None = Field(default=None, description="An HTTP API.")
    idempotent: Annotated[list[ToolGlob], Field(max_length=64)] = Field(
        default=[],
        description="Its tools (globs, without the prefix) that may run again after a pod died in the middle of one.",
    )


class ToolAction(StrEnum):
    """What a rule does with a call."""

    ALLOW = "Allow"
    DENY = "Deny"
    REQUIRE_APPROVAL = "RequireApproval"


class SqlDialect(StrEnum):
    """Whose grammar a statement is read by."""

    POSTGRES = "Postgres"
    MYSQL = "MySQL"
    SQLITE = "SQLite"
    BIGQUERY = "BigQuery"
    SNOWFLAKE = "Snowflake"
    T_SQL = "TSQL"


class PathCondition(ApiModel):
    """Holds if an argument is a path below an allowed one, after it was normalised."""

    argument: ArgumentName = Field(description="Name of the argument; a list is checked item by item.")
    allowed_prefixes: Annotated[list[FolderPath], Field(min_length=1, max_length=32)] = Field(
        description="Absolute folders, such as /workspace."
    )


class ShellCondition(ApiModel):
    """Holds if an argument is one plain command, with no operator, expansion or redirection, of an allowed program."""

    argument: ArgumentName = Field(description="Name of the argument.")
    allowed_programs: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_./+-]+$")]],
        Field(min_length=1, max_length=64),
    ] = Field(description="Programs, such as ls; one with a folder must be named with it.")


class SqlCondition(ApiModel):
    """Holds if an argument is one SQL statement that does no more than is allowed."""

    argument: ArgumentName = Field(description="Name of the argument.")
    dialect: SqlDialect = Field(default=SqlDialect.POSTGRES, description="Grammar. Default Postgres.")
    read_only: bool = Field(default=True, description="Whether only SELECT is allowed. Default true.")
    allowed_tables: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=256)]],
            Field(min_length=1, max_length=128),
        ]
        | None
    ) = Field(default=None, description="Tables that it may name, with or without schema. Unset: any.")


class ToolRule(ApiModel):
    """One rule about calls of tools."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "self.action != 'Deny' || !(has(self.paths) || has(self.shell) || has(self.sql)"
                    " || has(self.maxCallsPerRun))",
                    "message": "paths, shell, sql and maxCallsPerRun say what is allowed: action must not be Deny",
                }
            ]
        }
    }

    tools: Annotated[list[ToolGlob], Field(min_length=1, max_length=64)] = Field(
        description='Names of tools with their prefix; globs, such as "kb.search*".'
    )
    action: ToolAction = Field(description="Allow, Deny or RequireApproval.")
    when: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="CEL over `args` and `tool`; the rule holds for calls for which it is true."
    )
    paths: PathCondition | None = Field(default=None, description="Holds only for safe paths.")
    shell: ShellCondition | None = Field(default=None, description="Holds only for safe commands.")
    sql: SqlCondition | None = Field(default=None, description="Holds only for safe statements.")
    max_calls_per_run: int | None = Field(
        default=None, ge=1, le=10_000, description="Most calls of these tools in one run that the rule holds for."
    )


class ToolPolicy(ApiModel):
    """Which calls of tools are allowed: Deny wins, else the first rule that holds, else the default."""

    model_config = {
        "json_schema_extra": {"x-kubernetes-validations": positive_durations("timeout", longest="1h")},
    }

    default: ToolAction = Field(default=ToolAction.DENY, description="What no rule speaks of. Default Deny.")
    rules: Annotated[
        tuple[ToolRule, ...], Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=(), description="Rules in order.")
    timeout: Duration = Field(default="30s", description="Longest call of a tool. Default 30s.")
    max_output_bytes: int = Field(
        default=10_000, ge=100, le=1_000_000, description="Most bytes of a result that the model sees. Default 10000."
    )
    max_calls_per_run: int = Field(default=50, ge=1, le=10_000, description="Most calls in one run. Default 50.")
    max_concurrent: int = Field(
        default=8, ge=1, le=64, description="Most calls of one source at the same time, in each pod. Default 8."
    )
