#!/usr/bin/env bash
# Checks deploy/prometheus and the dashboard's queries with promtool, and plays the alerts' unit tests.
# Takes promtool from PROMTOOL, from the PATH, or from target/lint-tools; builds it there with `--install`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# 3.x, whose module has v0.3xx; without service discovery it builds in a minute or two instead of ten.
version=v0.316.0
own="$PWD/target/promtool-$version/promtool"

if [[ ${1:-} == --install && -z ${PROMTOOL:-} && ! -x $own ]] && ! command -v promtool >/dev/null; then
  echo "building promtool $version into ${own#"$PWD"/}" >&2
  GOBIN="${own%/*}" GOFLAGS=-mod=mod go install -tags remove_all_sd \
    "github.com/prometheus/prometheus/cmd/promtool@$version"
fi
promtool=${PROMTOOL:-$(command -v promtool || true)}
[[ -n $promtool || ! -x $own ]] || promtool=$own
if [[ -z $promtool ]]; then
  cat >&2 <<'TEXT'
promtool is absent, so the alert rules were NOT checked. Any of these brings it:
  scripts/lint-alerts.sh --install     builds it with Go under target/
  apt-get install prometheus           Debian and Ubuntu
TEXT
  exit 1
fi

"$promtool" --version 2>&1 | head -n 1
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
