#!/usr/bin/env bash
# Checks deploy/prometheus and the dashboard's queries with promtool, and plays the alerts' unit tests.
# Takes promtool from PROMTOOL or the PATH; else brings one into target/promtool, from Debian's package `prometheus`
# in seconds where there is one, else built with Go in some minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Prometheus 3.7.3, as deploy/compose.yaml runs it.
version=v0.307.3
tools="$PWD/target/promtool"

from_debian() {
  command -v apt-get dpkg-deb >/dev/null || return 1
  (cd "$tools" && apt-get download prometheus) >/dev/null 2>&1 || return 1
  dpkg-deb --fsys-tarfile "$tools"/prometheus_*.deb | tar --extract --directory "$tools" --strip-components 3 ./usr/bin/promtool
  rm "$tools"/prometheus_*.deb
}

from_source() {
  command -v go >/dev/null || return 1
  echo "building promtool $version with Go; this takes some minutes, once" >&2
  # `go install` refuses modules with exclusions, so a module of our own asks for it. Service discovery is left out,
  # with most of the code.
  rm -rf "$tools/module" && mkdir "$tools/module"
  (
    cd "$tools/module"
    go mod init promtool.local
    go get -tool "github.com/prometheus/prometheus/cmd/promtool@$version"
    go build -tags remove_all_sd -o "$tools/promtool" github.com/prometheus/prometheus/cmd/promtool
  ) >/dev/null 2>&1
}

promtool=${PROMTOOL:-$(command -v promtool || true)}
if [[ -z $promtool ]]; then
  promtool="$tools/promtool"
  mkdir -p "$tools"
  [[ -x $promtool ]] || from_debian || from_source || {
    echo 'promtool is absent and cannot be had here, so the alert rules were NOT checked.' >&2
    echo 'Install it (Debian and Ubuntu: apt-get install prometheus) or name it in PROMTOOL.' >&2
    exit 1
  }
fi

"$promtool" --version 2>&1 | sed -n 1p
"$promtool" check rules deploy/prometheus/alerts.yaml
"$promtool" test rules deploy/prometheus/alerts_test.yaml
"$promtool" check config --syntax-only deploy/prometheus/prometheus.yaml

# The dashboard's queries, as rules, so that promtool parses them too.
queries=$(mktemp "${TMPDIR:-/tmp}/sealane-queries.XXXXXX")
trap 'rm -f "$queries"' EXIT
python3 - >"$queries" <<'PYTHON'
import json

dashboard = json.load(open("deploy/grafana/dashboards/sealane.json", encoding="utf-8"))
rules = []
for panel in dashboard["panels"]:
    for target in panel.get("targets", []):
        query = target["expr"].replace("$__rate_interval", "5m")
        rules.append({"record": f"panel{panel['id']}:{target['refId'].lower()}", "expr": query})
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
"$promtool" check rules "$queries"
