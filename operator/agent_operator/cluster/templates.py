"""Pod templates of what agents of a namespace share, as they are kept in the cluster."""

from __future__ import annotations

from agent_operator.cluster import kinds
from agent_operator.cluster.ownership import is_of_namespace
from agent_operator.cluster.store import Store
from agent_operator.cluster.writer import Writer
from agent_operator.core.plan import Delete
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.resources.recorded import RECORD_ANNOTATION, inherited_template, recorded_template


def kept_template(store: Store, namespace: str, name: str, version: str) -> Manifest | None:
    """Template of the live Deployment, if it is ours and was made for this chart value; None: make it anew."""
    live = store.get(kinds.DEPLOYMENT, namespace, name)
    if live is None or not is_of_namespace(live):
        return None
    if RECORD_ANNOTATION in live["metadata"].get("annotations", {}):
        return recorded_template(live, version)
    return inherited_template(store.get(kinds.CONFIG_MAP, namespace, name), live, version)


async def forget_old_record(store: Store, writer: Writer, namespace: str, name: str) -> None:
    """Delete the ConfigMap in which an earlier release kept a template, once the Deployment keeps it."""
    live, old = (store.get(kind, namespace, name) for kind in (kinds.DEPLOYMENT, kinds.CONFIG_MAP))
    kept = live is not None and RECORD_ANNOTATION in live["metadata"].get("annotations", {})
    if kept and old is not None and is_of_namespace(old):
        await writer.perform(Delete(old), None)
