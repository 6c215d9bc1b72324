# One file for all images of Greylag.
#
#   tools             the base image, a pip of its own, and the name of user 65532; only the last reaches an image
#   <target>-venv     the locked dependencies of a target, verified by hash: changes with locks/ only
#   <target>-dependencies
#                     the base image with them; `python -m images` keeps these, so that a change of code need not look at them
#   <target>-code     the packages of a target, byte-compiled: changes with every edit, takes a second
#   store             Debian's Redis, for the trial stores that the operator makes
#   operator, gateway, runtime, modelserver
#                     the dependencies, the code, and how to start; no RUN here, so nothing that a build mounts leaves a trace
#
# BASE_IMAGE is any image with Python 3.11, its venv module, CA certificates and libstdc++ (of RE2), such as
# `docker.io/library/python:3.11-slim-bookworm`; `python -m images` makes one from Debian packages.
# STORE_BASE_IMAGE is any image with Redis 7 and `sh`, such as `docker.io/library/redis:7-bookworm`; likewise made from
# Debian packages.
# Builds with buildah 1.28 (no BuildKit-only syntax): buildah bud --target operator --build-arg BASE_IMAGE=... .

ARG BASE_IMAGE=localhost/greylag-base:latest
ARG STORE_BASE_IMAGE=localhost/greylag-store-base:latest

FROM ${BASE_IMAGE} AS tools
RUN python3 -m venv /tools \
    && echo 'greylag:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'greylag:x:65532:' >>/etc/group

FROM tools AS operator-venv
COPY locks/operator.txt /locks/
RUN python3 -m venv --without-pip /opt/greylag \
    && /tools/bin/pip --python /opt/greylag/bin/python install -q --no-compile --require-hashes -r /locks/operator.txt \
    && python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/greylag/lib

FROM tools AS gateway-venv
COPY locks/gateway.txt /locks/
RUN python3 -m venv --without-pip /opt/greylag \
    && /tools/bin/pip --python /opt/greylag/bin/python install -q --no-compile --require-hashes -r /locks/gateway.txt \
    && python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/greylag/lib

FROM tools AS runtime-venv
COPY locks/runtime.txt /locks/
RUN python3 -m venv --without-pip /opt/greylag \
    && /tools/bin/pip --python /opt/greylag/bin/python install -q --no-compile --require-hashes -r /locks/runtime.txt \
    && python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/greylag/lib

FROM ${BASE_IMAGE} AS operator-dependencies
ENV PATH=/opt/greylag/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=tools /etc/passwd /etc/group /etc/
COPY --from=operator-venv /opt/greylag /opt/greylag

FROM tools AS operator-code
COPY LICENSE /app/
COPY agent_api /app/agent_api
COPY operator/agent_operator /app/agent_operator
RUN chmod -R a+rX /app && python3 -m compileall -q --invalidation-mode unchecked-hash /app

FROM ${BASE_IMAGE} AS gateway-dependencies
ENV PATH=/opt/greylag/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=tools /etc/passwd /etc/group /etc/
COPY --from=gateway-venv /opt/greylag /opt/greylag

FROM tools AS gateway-code
COPY LICENSE /app/
COPY agent_api /app/agent_api
COPY agent_gateway /app/agent_gateway
RUN chmod -R a+rX /app && python3 -m compileall -q --invalidation-mode unchecked-hash /app

FROM ${BASE_IMAGE} AS runtime-dependencies
ENV PATH=/opt/greylag/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=tools /etc/passwd /etc/group /etc/
COPY --from=runtime-venv /opt/greylag /opt/greylag

FROM tools AS runtime-code
COPY LICENSE /app/
COPY agent_api /app/agent_api
COPY agent_runtime /app/agent_runtime
RUN chmod -R a+rX /app && python3 -m compileall -q --invalidation-mode unchecked-hash /app

FROM tools AS modelserver-code
COPY LICENSE /app/
COPY demo/model_server /app/demo/model_server
COPY demo/tool_server /app/demo/tool_server
COPY demo/traffic /app/demo/traffic
RUN chmod -R a+rX /app && python3 -m compileall -q --invalidation-mode unchecked-hash /app

FROM operator-dependencies AS operator
WORKDIR /app
USER 65532:65532
EXPOSE 8080
CMD ["python", "-m", "agent_operator"]
COPY --from=operator-code /app /app
# Another value makes another image of the same code: an upgrade to test with.
ARG EXTRA=
LABEL dev.greylag.extra=${EXTRA}

FROM gateway-dependencies AS gateway
WORKDIR /app
USER 65532:65532
CMD ["python", "-m", "agent_gateway"]
COPY --from=gateway-code /app /app
ARG EXTRA=
LABEL dev.greylag.extra=${EXTRA}

FROM runtime-dependencies AS runtime
WORKDIR /app
USER 65532:65532
EXPOSE 8080
CMD ["python", "-m", "agent_runtime"]
COPY --from=runtime-code /app /app
ARG EXTRA=
LABEL dev.greylag.extra=${EXTRA}

# The demo's and the tests' OpenAI-compatible provider, tools and client traffic; not part of an installation.
FROM runtime AS modelserver
COPY --from=modelserver-code /app /app
CMD ["python", "-m", "demo.model_server"]

# The operator says how to start it, with the password on standard input; by hand it starts like any Redis.
FROM ${STORE_BASE_IMAGE} AS store
WORKDIR /data
USER 65532:65532
EXPOSE 6379
CMD ["redis-server", "--save", "", "--appendonly", "yes"]
COPY LICENSE /app/
ARG EXTRA=
LABEL dev.greylag.extra=${EXTRA}
