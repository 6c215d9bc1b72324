"""Keys, certificates and kubeconfigs, made with the openssl command."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.plan import Plan
from devcluster.process import run

_DAYS = "3650"
_CA = "ca"
_PROXY_CA = "front-proxy-ca"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One leaf certificate: who it is for, and for servers the names and addresses it answers to."""

    name: str
    common_name: str
    organization: str = ""
    sans: tuple[str, ...] = field(default=())
    authority: str = _CA

    @property
    def subject(self) -> str:
        """The subject as openssl writes it."""
        return (f"/O={self.organization}" if self.organization else "") + f"/CN={self.common_name}"


def certificates(plan: Plan) -> tuple[Certificate, ...]:
    """List the leaf certificates of a cluster."""
    nodes = tuple(
        Certificate(f"kubelet-{node.name}", f"system:node:{node.name}", "system:nodes") for node in plan.nodes
    )
    return (
        Certificate("apiserver", "kube-apiserver", sans=_server_names(plan)),
        Certificate("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Certificate("front-proxy-client", "front-proxy-client", authority=_PROXY_CA),
        Certificate("admin", "admin", "system:masters"),
        Certificate("controller-manager", "system:kube-controller-manager"),
        Certificate("scheduler", "system:kube-scheduler"),
        Certificate("kube-proxy", "system:kube-proxy"),
        Certificate("coredns", "system:coredns"),
        *nodes,
    )


def _server_names(plan: Plan) -> tuple[str, ...]:
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local")
    addresses = ("127.0.0.1", plan.nodes[0].address, plan.link_address, plan.api_service_address)
    return tuple(f"DNS:{name}" for name in names) + tuple(f"IP:{address}" for address in addresses)


def ensure_certificates(plan: Plan) -> None:
    """Make what is missing: two authorities, the leaf certificates and the service accounts' key."""
    plan.certs.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (_CA, _PROXY_CA):
        if not (plan.certs / f"{name}.crt").exists():
            _make_authority(plan.certs, name)
    if not (plan.certs / "sa.key").exists():
        _make_account_key(plan.certs)
    missing = [item for item in certificates(plan) if not (plan.certs / f"{item.name}.crt").exists()]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda item: _make_leaf(plan.certs, item), missing))


def _make_authority(folder: Path, name: str) -> None:
    usage = "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"
    _request(folder, name, f"/CN=greylag-devcluster-{name}", "-addext", usage)


def _make_leaf(folder: Path, item: Certificate) -> None:
    usage = "serverAuth" if item.sans else "clientAuth"
    extra = ["-CA", str(folder / f"{item.authority}.crt"), "-CAkey", str(folder / f"{item.authority}.key")]
    extra += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"extendedKeyUsage={usage}"]
    if item.sans:
        extra += ["-addext", f"subjectAltName={','.join(item.sans)}"]
    _request(folder, item.name, item.subject, *extra)


def _request(folder: Path, name: str, subject: str, *extra: str) -> None:
    certificate = folder / f"{name}.crt"
    temporary = folder / f"{name}.crt.new"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(temporary)]
    run(["openssl", "req", "-x509", "-sha256", "-days", _DAYS, *key, *files, "-subj", subject, *extra])
    temporary.replace(certificate)


def _make_account_key(folder: Path) -> None:
    temporary = folder / "sa.key.new"
    run(["openssl", "genrsa", "-out", str(temporary), "2048"])
    run(["openssl", "rsa", "-in", str(temporary), "-pubout", "-out", str(folder / "sa.pub")])
    temporary.replace(folder / "sa.key")


def ensure_kubeconfigs(plan: Plan) -> None:
    """Write the administrator's kubeconfig and one for each component."""
    for item in certificates(plan):
        if item.authority == _CA and not item.sans:
            target = plan.kubeconfig if item.name == "admin" else plan.certs / f"{item.name}.kubeconfig"
            temporary = target.with_suffix(".new")
            temporary.touch(mode=0o600)
            temporary.write_text(kubeconfig(plan, item.name), encoding="utf-8")
            temporary.replace(target)


def kubeconfig(plan: Plan, certificate: str) -> str:
    """Return a self-contained kubeconfig (JSON, which is YAML too) for one client certificate."""
    cluster = {"server": plan.server, "certificate-authority-data": _encoded(plan.certs / "ca.crt")}
    user = {
        "client-certificate-data": _encoded(plan.certs / f"{certificate}.crt"),
        "client-key-data": _encoded(plan.certs / f"{certificate}.key"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": plan.name, "cluster": cluster}],
        "users": [{"name": certificate, "user": user}],
        "contexts": [{"name": plan.name, "context": {"cluster": plan.name, "user": certificate}}],
        "current-context": plan.name,
    }
    return json.dumps(document, indent=2) + "\n"


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
