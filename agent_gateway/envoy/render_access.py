"""Who is let in: tokens are checked as the agent's virtual host says, so that no listener changes with its keys.

Envoy refuses early and finds the user for the split; the runtime checks again, and alone knows the API keys.
"""

from __future__ import annotations

from agent_api.v1alpha1.route import JwtRule
from agent_gateway.envoy.resources import SUBJECT_HEADER, Resource, typed
from agent_gateway.watching.routes import Route

ACCESS_FILTER = "greylag.access"
PROTECTED_PATHS = ("/agent", "/v1")
_PROVIDER = "issuer"
_SCHEMES = ("Bearer ", "bearer ")
_MATCHING = "envoy.extensions.common.matching.v3"
_JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"


def access_filter() -> Resource:
    """The filter of a listener: it does nothing, unless the virtual host says what."""
    skip = typed("skip", "envoy.extensions.filters.common.matcher.action.v3.SkipFilter")
    return typed(
        ACCESS_FILTER,
        f"{_MATCHING}.ExtensionWithMatcher",
        extension_config=typed("composite", "envoy.extensions.filters.http.composite.v3.Composite"),
        xds_matcher={"on_no_match": {"action": skip}},
    )


def access_of(route: Route) -> Resource:
    """What the filter does for an agent, as the `typed_per_filter_config` of its virtual host.

    Beside API keys nothing is refused here, because a key may stand where a token would.
    """
    jwt = route.spec.jwt
    if jwt is None:
        return {}
    known: Resource = {"provider_name": _PROVIDER}
    either = {"requires_any": {"requirements": [known, {"allow_missing_or_failed": {}}]}}
    requires = either if route.spec.api_keys else known
    rules = [{"match": {"path_separated_prefix": path}, "requires": requires} for path in PROTECTED_PATHS]
    check = typed("tokens", _JWT, providers={_PROVIDER: _provider(jwt)}, rules=rules)
    action = typed("check", "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction", typed_config=check)
    matcher = {"on_no_match": {"action": action}}
    per_route = {"@type": f"type.googleapis.com/{_MATCHING}.ExtensionWithMatcherPerRoute", "xds_matcher": matcher}
    return {ACCESS_FILTER: per_route}


def _provider(jwt: JwtRule) -> Resource:
    return {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        "local_jwks": {"inline_string": jwt.jwks},
        "forward": True,
        "from_headers": [{"name": "authorization", "value_prefix": scheme} for scheme in _SCHEMES],
        "claim_to_headers": [{"header_name": SUBJECT_HEADER, "claim_name": "sub"}],
        "clear_route_cache": True,
    }
