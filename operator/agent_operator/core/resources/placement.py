"""Where the pods that agents share run, and as whom they pull images: what the chart says of gateways and stores."""

from __future__ import annotations

from agent_operator.core.resources.metadata import Manifest

_SPREAD = "topologySpreadConstraints"


def place(template: Manifest, pod: Manifest) -> Manifest:
    """Pod template with a placement; the arguments stay as they are.

    What the placement names takes the place of what the template had. A spread that names no pods is over those of the
    template: nobody outside needs to know their labels.
    """
    placement = dict(pod)
    if _SPREAD in placement:
        ours = {"labelSelector": {"matchLabels": template["metadata"]["labels"]}}
        placement[_SPREAD] = [ours | constraint for constraint in placement[_SPREAD]]
    return {**template, "spec": template["spec"] | placement}
