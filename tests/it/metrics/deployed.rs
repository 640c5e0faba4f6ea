//! Documentation, alert rules and dashboard: they name what the service exports, and nothing else.
use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use sealane::{
    config::Config,
    telemetry::{INSTRUMENTS, Instrument, Kind},
};
use serde_json::Value;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(row: &Instrument) -> Vec<String> {
    let name = row.prometheus_name();
    match row.kind {
        Kind::Histogram(_) => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
        Kind::Counter | Kind::Gauge => vec![name],
    }
}

/// The table of `docs/metrics.md`.
fn documented() -> String {
    let mut table = String::from("| at `/metrics` | over OTLP | kind | attributes | tells |\n|---|---|---|---|---|\n");
    for row in INSTRUMENTS {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
        let attributes: Vec<String> = row.attributes.iter().map(|name| format!("`{name}`")).collect();
        table.push_str(&format!(
            "| `{}` | `{}` | {kind}{unit} | {} | {} |\n",
            row.prometheus_name(),
            row.name,
            attributes.join(" "),
            row.description
        ));
    }
    table
}

/// `SEALANE_WRITE_DOCS=1 cargo test --test it metrics::` writes the table anew.
#[test]
fn the_documentation_has_the_table() {
    const MARKS: (&str, &str) = ("<!-- made from src/telemetry/metrics/table.rs -->\n", "<!-- end -->");
    let text = read("docs/metrics.md");
    let start = text.find(MARKS.0).expect("docs/metrics.md has the first mark") + MARKS.0.len();
    let end = text.find(MARKS.1).expect("docs/metrics.md has the last mark");
    if std::env::var_os("SEALANE_WRITE_DOCS").is_some() {
        let written = format!("{}{}{}", &text[..start], documented(), &text[end..]);
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"), written).unwrap();
    } else {
        assert_eq!(&text[start..end], documented(), "SEALANE_WRITE_DOCS=1 cargo test --test it metrics:: mends it");
    }
}

#[test]
fn names_and_descriptions_are_of_one_form() {
    let mut seen = BTreeSet::new();
    for row in INSTRUMENTS {
        assert!(seen.insert(row.prometheus_name()), "{} is there twice", row.name);
        assert!(row.description.ends_with('.'), "{}: {}", row.name, row.description);
        if let Kind::Histogram(bounds) = row.kind {
            assert!(bounds.is_sorted_by(|a, b| a < b), "the buckets of {}", row.name);
        }
    }
}

/// What is wrong with an expression of Prometheus' query language: names and labels that nothing exports.
fn unknown(expression: &str) -> Vec<String> {
    let metric = Regex::new(r"\b((?:sealane|rpc|gen_ai|process)_[a-z0-9_]+)\b(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r#"([a-zA-Z_]+)\s*(?:=~|!~|!=|=)\s*""#).unwrap();
    let selector = Regex::new(r"\{[^}]*\}").unwrap();
    // Labels that group or match are no metrics, whatever they are called.
    let grouping = Regex::new(r"\b(?:by|on|ignoring|group_left|group_right|without)\s*\(([^)]*)\)").unwrap();
    let mut wrong = Vec::new();
    let known: BTreeSet<String> =
        INSTRUMENTS.iter().flat_map(|row| row.attributes).map(|name| name.replace('.', "_")).collect();
    let free = ["le", "job", "instance"];
    for group in grouping.captures_iter(expression) {
        for name in group[1].split(',').map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('$')) {
            if !known.contains(name) && !free.contains(&name) {
                wrong.push(format!("groups by `{name}`"));
            }
        }
    }
    let ungrouped = grouping.replace_all(expression, "");
    for found in metric.captures_iter(&ungrouped) {
        let inside = selector.find_iter(&ungrouped).any(|one| one.range().contains(&found.get(1).unwrap().start()));
        if inside {
            continue;
        }
        let Some(row) = INSTRUMENTS.iter().find(|row| names(row).iter().any(|name| *name == found[1])) else {
            wrong.push(format!("`{}` is exported by nobody", &found[1]));
            continue;
        };
        for name in found.get(2).iter().flat_map(|labels| label.captures_iter(labels.as_str())) {
            let has = row.attributes.iter().any(|attribute| attribute.replace('.', "_") == name[1]);
            if !has && !free.contains(&&name[1]) {
                wrong.push(format!("`{}` has no label `{}`", &found[1], &name[1]));
            }
        }
    }
    wrong
}

#[test]
fn the_check_finds_what_is_wrong() {
    for (expression, expected) in [
        ("rate(sealane_attempts_total{region=\"a\"}[5m])", vec![]),
        ("sum by (le, cloud_region) (rate(gen_ai_client_operation_duration_seconds_bucket[5m]))", vec![]),
        ("sealane_attempts", vec!["`sealane_attempts` is exported by nobody"]),
        ("sealane_attempts_total{caller=~\"x\"}", vec!["`sealane_attempts_total` has no label `caller`"]),
        ("sum by (tenant) (sealane_alarms)", vec!["groups by `tenant`"]),
        ("sealane_alarms{alarm=\"sealane_nothing_total\"}", vec![]),
    ] {
        assert_eq!(unknown(expression), expected, "{expression}");
    }
}

#[test]
fn alert_rules_speak_of_metrics_that_exist() {
    let rules: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.yaml")).unwrap();
    let mut alerts = 0;
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let expression = rule["expr"].as_str().unwrap();
            assert_eq!(unknown(expression), Vec::<String>::new(), "{expression}");
            let Some(name) = rule["alert"].as_str() else { continue };
            alerts += 1;
            assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{name}");
            for note in ["summary", "description", "runbook_url"] {
                assert!(rule["annotations"][note].as_str().is_some_and(|text| !text.is_empty()), "{name}: {note}");
            }
            let anchor = rule["annotations"]["runbook_url"].as_str().unwrap().rsplit_once('#').unwrap().1.to_owned();
            let heading = format!("### {name}\n");
            assert!(read("docs/metrics.md").contains(&heading), "{name} has no runbook");
            assert_eq!(anchor, name.to_lowercase(), "the runbook's heading is the alert's name");
        }
    }
    assert!(alerts >= 8, "{alerts} alerts");
}

#[test]
fn the_dashboard_speaks_of_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/dashboards/sealane.json")).unwrap();
    assert_eq!((dashboard["uid"].as_str(), &dashboard["id"]), (Some("sealane"), &Value::Null));
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 41);
    let (mut expressions, mut ids) = (0, BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24 && place("h") > 0, "{title} does not fit");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(unknown(expression), Vec::<String>::new(), "{title}: {expression}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}: no source of its own");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
            expressions += 1;
        }
    }
    assert!(expressions >= 15, "{expressions} queries");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"].as_str() {
            assert_eq!(unknown(query), Vec::<String>::new());
        }
    }
}

/// There is no container engine here: what can be held without one is that the files are whole and fit each other.
#[test]
fn the_compose_file_mounts_what_exists_and_serves_a_good_configuration() {
    let compose: Value = serde_saphyr::from_str(&read("deploy/compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        let image = service["image"].as_str().unwrap_or_else(|| panic!("{name} has an image"));
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has a tag"));
        assert!(tag != "latest" || image == "sealane:latest", "{name} is pinned");
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let (here, _) = mount.as_str().unwrap().split_once(':').unwrap();
            let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(here);
            assert!(here.exists(), "{name} mounts {}, which is not there", here.display());
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is published on loopback only");
        }
        for other in service["depends_on"].as_array().into_iter().flatten() {
            assert!(services.contains_key(other.as_str().unwrap()), "{name} waits for {other}");
        }
    }
    let given = &services["sealane"]["environment"];
    let env = |name: &str| given[name].as_str().map(str::to_owned);
    let config = Config::from_yaml(&read("deploy/sealane/sealane.yaml"), "deploy/sealane/sealane.yaml", env);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    // True, and said in the file: all of it is on one machine's loopback.
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.contains("without `tls`"), "{warning}");
    for resource in &config.resources {
        let host = resource.endpoint.host_str().unwrap();
        let command = services[host]["command"].as_array().unwrap();
        let listens = format!("{host}=0.0.0.0:{}", resource.endpoint.port().unwrap());
        assert!(command.contains(&listens.clone().into()), "{host} is simulated at {listens}");
    }
    let prometheus: Value = serde_saphyr::from_str(&read("deploy/prometheus/prometheus.yaml")).unwrap();
    let scraped = prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str().unwrap();
    assert_eq!(scraped, format!("sealane:{}", config.ops.unwrap().port()));
    let sources: Value = serde_saphyr::from_str(&read("deploy/grafana/provisioning/datasources/sources.yaml")).unwrap();
    for source in sources["datasources"].as_array().unwrap() {
        let address = source["url"].as_str().unwrap().strip_prefix("http://").unwrap();
        assert!(services.contains_key(address.split_once(':').unwrap().0), "{address} is a service");
    }
}
