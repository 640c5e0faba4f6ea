//! A status as lines of text: when it was seen; models, each with its targets in order of preference; then what is the matter.
use console::{measure_text_width, style};
use prost_types::Timestamp;

use crate::{
    cli::{routing::word, table::Table},
    grpc::pb,
};

/// Changes shown; `--output json` has more.
const CHANGES: usize = 8;

/// Failures older than this are history.
const FRESH_SECONDS: i64 = 60;

/// Every line. Where `width` is too small for every column, the one that says least is left out.
pub(super) fn lines(status: &pb::RegionStatusResponse, width: usize) -> Vec<String> {
    let full = targets(status, true);
    let fits = full.iter().filter(|line| line.is_row).all(|line| measure_text_width(&line.text) <= width);
    let shown = if fits { full } else { targets(status, false) };
    let mut lines = vec![style(summary(status)).dim().to_string()];
    lines.extend(shown.into_iter().map(|line| line.text));
    lines.extend(section("alarms", status.alarms.iter().map(alarm)));
    let now = status.observe_time.as_ref();
    lines.extend(section("last changes", status.transitions.iter().take(CHANGES).map(|one| change(one, now))));
    lines
}

/// What a status says that is worth a new block where nobody watches numbers move: no ages, no counters, no latencies.
pub(super) fn lasting(status: &pb::RegionStatusResponse) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for region in &status.regions {
        for target in &region.targets {
            let active = is_active(status, &region.region, target);
            let name =
                [&target.model, &region.region, &target.resource, &target.deployment].map(String::as_str).join(" ");
            let why = if target.standing() == pb::Standing::Serving { "" } else { &target.standing_reason };
            let failing = target.last_test_call_failure.as_str();
            let (state, share) = (state(target), share(target, active));
            said.push(format!("{name} {active} {state} {share} {why} {} {failing}", target.drain_reason));
        }
    }
    said.extend(status.models.iter().map(|one| format!("{} {} {}", one.model, one.active_region, one.ready_standbys)));
    said.extend(status.alarms.iter().map(alarm));
    let news =
        |one: &pb::Transition| format!("{:?} {}", one.transition_time, change(one, one.transition_time.as_ref()));
    said.extend(status.transitions.iter().take(CHANGES).map(news));
    said
}

/// A line, and whether it is one of the table, whose width counts.
struct Line {
    text: String,
    is_row: bool,
}

/// Models and their targets: one row for each target, and below it what a person would ask next.
fn targets(status: &pb::RegionStatusResponse, with_resource: bool) -> Vec<Line> {
    let mut heading = vec!["  region", "resource", "state", "since", "share", "busy", "ok 60 s", "p50/p95", "test"];
    if !with_resource {
        heading.remove(1);
    }
    let first_number = heading.len() - 6;
    let mut table = Table::new(&heading).right(&(first_number..heading.len()).collect::<Vec<_>>());
    let mut targets: Vec<_> = status
        .regions
        .iter()
        .flat_map(|region| region.targets.iter().map(move |target| (region.region.as_str(), target)))
        .collect();
    targets.sort_by_key(|(_, target)| (target.model.as_str(), target.priority));
    let now = status.observe_time.as_ref();
    for (region, target) in &targets {
        let mut cells = row(region, target, is_active(status, region, target), now);
        if !with_resource {
            cells.remove(1);
        }
        table.row(cells);
    }
    let mut rows = table.lines().into_iter();
    let mut lines: Vec<Line> = rows.next().map(|text| Line { text, is_row: true }).into_iter().collect();
    let mut model = None;
    for ((_, target), text) in targets.into_iter().zip(rows) {
        if model.replace(target.model.as_str()) != Some(target.model.as_str()) {
            lines.push(Line { text: heading_of(status, &target.model), is_row: false });
        }
        lines.push(Line { text, is_row: true });
        lines.extend(details(target, now).into_iter().map(|text| Line { text, is_row: false }));
    }
    lines
}

fn is_active(status: &pb::RegionStatusResponse, region: &str, target: &pb::TargetState) -> bool {
    status.models.iter().any(|state| {
        let here = (state.active_region.as_str(), &state.active_resource, &state.active_deployment);
        state.model == target.model && here == (region, &target.resource, &target.deployment)
    })
}

fn heading_of(status: &pb::RegionStatusResponse, model: &str) -> String {
    let Some(state) = status.models.iter().find(|state| state.model == model) else { return model.to_owned() };
    let served = match state.active_region.as_str() {
        "" => style("nobody can serve it".to_owned()).red().to_string(),
        region => format!("goes to {region}"),
    };
    let standbys = match state.ready_standbys {
        0 => style("no standby is ready".to_owned()).yellow().to_string(),
        1 => "1 standby ready".to_owned(),
        more => format!("{more} standbys ready"),
    };
    let pins = match state.pinned_workflows {
        0 => String::new(),
        count => {
            let regions = status.regions.iter().filter(|region| {
                region.pinned_workflows > 0 && region.targets.iter().any(|target| target.model == model)
            });
            let named: Vec<_> =
                regions.map(|region| format!("{} to {}", region.pinned_workflows, region.region)).collect();
            let workflows = if count == 1 { "workflow" } else { "workflows" };
            // Pins are a region's, whatever the model; where the request excluded regions not all can be named.
            if named.is_empty() {
                format!(" · {count} {workflows} pinned")
            } else {
                format!(" · {workflows} pinned: {}", named.join(", "))
            }
        }
    };
    format!("{} · {served} · {standbys}{pins}", style(model).bold())
}

fn row(region: &str, target: &pb::TargetState, active: bool, now: Option<&Timestamp>) -> Vec<String> {
    let marker = if active { style("▸").cyan().to_string() } else { " ".to_owned() };
    vec![
        format!("{marker} {region}"),
        target.resource.clone(),
        state(target),
        age(since(target), now),
        share(target, active),
        target.in_flight_calls.to_string(),
        recent(target),
        latency(target),
        test(target, now),
    ]
}

/// Since when it is in the state that the row shows.
fn since(target: &pb::TargetState) -> Option<&Timestamp> {
    match target.overlay() {
        pb::Overlay::Drained => target.drained_since_time.as_ref(),
        _ => target.standing_since_time.as_ref(),
    }
}

/// Share of the unpinned work that may go there. A standby that serves may take all of it, and gets none as long as
/// another target is preferred: a number would mislead.
fn share(target: &pb::TargetState, active: bool) -> String {
    if !active && target.traffic_share >= 1.0 {
        return "-".to_owned();
    }
    format!("{:.0}%", target.traffic_share * 100.0)
}

/// How long ago the last test call ended, and that it failed if it did.
fn test(target: &pb::TargetState, now: Option<&Timestamp>) -> String {
    let age = age(target.last_test_call_time.as_ref(), now);
    if target.last_test_call_failure.is_empty() { age } else { format!("✕ {age}") }
}

/// What keeps it from serving comes first; else what is wrong beside that.
fn state(target: &pb::TargetState) -> String {
    let level = match target.out_level {
        0 => String::new(),
        level => format!(" L{level}"),
    };
    match (target.overlay(), target.standing()) {
        (pb::Overlay::Drained, _) => style(format!("◌ drained{level}")).yellow(),
        (pb::Overlay::Drifted, _) => style(format!("✕ drifted{level}")).red(),
        (pb::Overlay::Quarantined, _) => style(format!("✕ quarantined{level}")).red(),
        (_, pb::Standing::Out) => style(format!("✕ out{level}")).red(),
        (_, standing @ (pb::Standing::Suspected | pb::Standing::Returning)) => {
            style(format!("◐ {}{level}", word(standing.as_str_name(), "STANDING_"))).yellow()
        }
        (pb::Overlay::Misconfigured, _) => style(format!("✕ misconfigured{level}")).red(),
        (pb::Overlay::Cooling, _) => style(format!("◐ cooling{level}")).yellow(),
        (pb::Overlay::Unspecified, pb::Standing::Serving) => style(format!("● serving{level}")).green(),
        (_, standing) => style(format!("? {}{level}", word(standing.as_str_name(), "STANDING_"))).yellow(),
    }
    .to_string()
}

/// Why it does not simply serve, what happens next, and what failed just now.
fn details(target: &pb::TargetState, now: Option<&Timestamp>) -> Vec<String> {
    let mut told: Vec<(&str, String)> = Vec::new();
    if target.overlay() == pb::Overlay::Drained {
        told.push(("why", format!("drained: {}", target.drain_reason)));
    }
    if target.overlay() == pb::Overlay::Quarantined {
        let since = age(target.quarantined_since_time.as_ref(), now);
        told.push(("why", format!("Azure's answers contradict the configuration, for {since}; see the alarms")));
    }
    if target.overlay() == pb::Overlay::Drifted {
        let since = age(target.drifted_since_time.as_ref(), now);
        told.push(("why", format!("{}, for {since}", target.drift_reason)));
    }
    if target.overlay() == pb::Overlay::Misconfigured {
        let since = age(target.misconfigured_since_time.as_ref(), now);
        told.push(("why", format!("Azure refuses key or deployment name, for {since}")));
    }
    if target.standing() != pb::Standing::Serving && !target.standing_reason.is_empty() {
        told.push(("why", target.standing_reason.clone()));
    }
    if !target.next_step.is_empty() {
        let wait = seconds_between(now, target.next_step_time.as_ref());
        // A verdict comes as soon as it is clear; the others come when they are due.
        let when = if target.standing() == pb::Standing::Suspected { "within" } else { "in" };
        told.push(("next", format!("{when} {}: {}", span(wait), target.next_step)));
    }
    let failed = seconds_between(target.last_failure_time.as_ref(), now);
    if target.last_failure_time.is_some() && failed <= FRESH_SECONDS {
        let status = match target.last_failure_http_status {
            0 => String::new(),
            status => format!(" (HTTP {status})"),
        };
        told.push(("failed", format!("{} ago: {}{status}", span(failed), target.last_failure)));
    }
    told.into_iter().map(|(word, text)| format!("    {} {text}", style(format!("{word:<6}")).dim())).collect()
}

fn recent(target: &pb::TargetState) -> String {
    match target.recent_success_ratio {
        Some(ratio) => format!("{:.0}% of {}", (ratio * 100.0).floor(), target.recent_attempts),
        None => "-".to_owned(),
    }
}

fn latency(target: &pb::TargetState) -> String {
    let seconds = |duration: &prost_types::Duration| duration.seconds as f64 + f64::from(duration.nanos) / 1e9;
    match (&target.latency_p50, &target.latency_p95) {
        // Two decimals of a second say nothing of what answers within 10 ms.
        (Some(p50), Some(p95)) if seconds(p50) < 0.01 => {
            format!("{:.1}/{:.1} ms", seconds(p50) * 1000.0, seconds(p95) * 1000.0)
        }
        (Some(p50), Some(p95)) => format!("{:.2}/{:.2} s", seconds(p50), seconds(p95)),
        _ => "-".to_owned(),
    }
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut section: Vec<String> = lines.map(|line| format!("  {line}")).collect();
    if !section.is_empty() {
        section.splice(0..0, [String::new(), style(title).bold().to_string()]);
    }
    section
}

fn alarm(alarm: &pb::Alarm) -> String {
    let place = [&alarm.model, &alarm.region, &alarm.resource];
    let place: Vec<_> = place.into_iter().filter(|name| !name.is_empty()).map(String::as_str).collect();
    let place = if place.is_empty() { String::new() } else { format!(" {}", place.join(" ")) };
    format!("{}{place}: {}", style(format!("! {}", alarm.kind)).red(), alarm.message)
}

fn change(change: &pb::Transition, now: Option<&Timestamp>) -> String {
    let name = |standing: pb::Standing| word(standing.as_str_name(), "STANDING_");
    // A drain leaves the standing as it is; a step of a return does too, and is worth its word.
    let step = match (change.from_standing(), change.to_standing()) {
        (from, to) if from != to => format!(" {from_word} → {to_word}", from_word = name(from), to_word = name(to)),
        (_, to @ pb::Standing::Returning) => format!(" {}", name(to)),
        _ => String::new(),
    };
    let ago = format!("{:>4} ago", age(change.transition_time.as_ref(), now));
    format!("{}  {} {}{step}: {}", style(ago).dim(), change.model, change.region, change.reason)
}

/// When this was seen, and what is counted for the service as a whole.
fn summary(status: &pb::RegionStatusResponse) -> String {
    let seen = status.observe_time.as_ref().map(|time| Timestamp { nanos: 0, ..*time }.to_string());
    let mut causes: Vec<_> = status.off_pin_calls.iter().collect();
    causes.sort();
    let causes: Vec<_> = causes.into_iter().map(|(cause, calls)| format!("{cause} {calls}")).collect();
    let off_pin = if causes.is_empty() { String::new() } else { format!(" · served off pin: {}", causes.join(", ")) };
    let tests: i64 = status.regions.iter().flat_map(|region| &region.targets).map(|it| it.test_call_tokens).sum();
    let left = status.test_call_tokens_left;
    let budget = format!(
        "test calls: {tests} tokens so far; {left} left of the day's budget for routine ones, which refills steadily"
    );
    format!("{} · {budget}{off_pin}", seen.unwrap_or_default())
}

fn age(since: Option<&Timestamp>, now: Option<&Timestamp>) -> String {
    since.map_or_else(|| "-".to_owned(), |since| span(seconds_between(Some(since), now)))
}

/// Whole seconds, rounded; 0 where either is missing or they are the wrong way round.
fn seconds_between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> i64 {
    let (Some(from), Some(to)) = (from, to) else { return 0 };
    let nanos = i64::from(to.nanos) - i64::from(from.nanos);
    (to.seconds.saturating_sub(from.seconds)).saturating_add((nanos + 500_000_000).div_euclid(1_000_000_000)).max(0)
}

/// Short enough for a column, exact enough for a decision.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn target(resource: &str, priority: i32, standing: pb::Standing) -> pb::TargetState {
        pb::TargetState {
            model: "gpt-4o".into(),
            resource: resource.into(),
            deployment: "chat".into(),
            priority,
            standing: standing.into(),
            standing_since_time: at(1000),
            traffic_share: 1.0,
            ..Default::default()
        }
    }

    /// 42 s after the primary went out.
    fn outage() -> pb::RegionStatusResponse {
        let primary = pb::TargetState {
            standing_reason: "all 3 test calls failed, the last: unavailable (HTTP 503)".into(),
            next_step: "hold ends; 4 of 6 test calls in a row passed".into(),
            next_step_time: at(1060),
            out_level: 2,
            traffic_share: 0.0,
            last_failure: "unavailable".into(),
            last_failure_time: at(1040),
            last_failure_http_status: 503,
            last_proven_time: at(1000),
            last_test_call_time: at(1038),
            last_test_call_failure: "unavailable".into(),
            test_call_tokens: 80,
            ..target("swc", 1, pb::Standing::Out)
        };
        let standby = pb::TargetState {
            standing_since_time: at(-7000),
            in_flight_calls: 3,
            recent_attempts: 250,
            recent_success_ratio: Some(0.996),
            latency_p50: Some(prost_types::Duration { seconds: 0, nanos: 610_000_000 }),
            latency_p95: Some(prost_types::Duration { seconds: 1, nanos: 400_000_000 }),
            last_test_call_time: at(1012),
            ..target("frc", 2, pb::Standing::Serving)
        };
        let spare = pb::TargetState {
            overlay: pb::Overlay::Drained.into(),
            drain_reason: "being replaced".into(),
            drained_since_time: at(1030),
            next_step: "the drain ends by itself".into(),
            next_step_time: at(1642),
            traffic_share: 0.0,
            ..target("weu", 3, pb::Standing::Serving)
        };
        let region = |region: &str, target| pb::RegionState {
            region: region.into(),
            targets: vec![target],
            pinned_workflows: if region == "westeurope" { 2 } else { 0 },
            ..Default::default()
        };
        pb::RegionStatusResponse {
            regions: vec![
                region("francecentral", standby),
                region("swedencentral", primary),
                region("westeurope", spare),
            ],
            models: vec![pb::ModelState {
                model: "gpt-4o".into(),
                active_region: "francecentral".into(),
                active_resource: "frc".into(),
                active_deployment: "chat".into(),
                pinned_workflows: 2,
                ..Default::default()
            }],
            observe_time: at(1042),
            transitions: vec![pb::Transition {
                transition_time: at(1000),
                model: "gpt-4o".into(),
                region: "swedencentral".into(),
                from_standing: pb::Standing::Suspected.into(),
                to_standing: pb::Standing::Out.into(),
                reason: "all 3 test calls failed, the last: unavailable".into(),
                ..Default::default()
            }],
            alarms: vec![pb::Alarm {
                kind: "standby_unproven".into(),
                message: "nothing has proven it".into(),
                model: "gpt-4o".into(),
                region: "francecentral".into(),
                resource: "frc".into(),
                ..Default::default()
            }],
            off_pin_calls: [("rescue".to_owned(), 3), ("pin".to_owned(), 1)].into(),
            test_call_tokens_left: 199_920,
            ..Default::default()
        }
    }

    #[test]
    fn an_outage_as_the_engineer_on_call_sees_it() {
        console::set_colors_enabled(false);
        let expected = "\
1970-01-01T00:17:22Z · test calls: 80 tokens so far; 199920 left of the day's budget for routine ones, which refills steadily · served off pin: pin 1, rescue 3
  region         resource  state      since  share  busy     ok 60 s      p50/p95  test
gpt-4o · goes to francecentral · no standby is ready · workflows pinned: 2 to westeurope
  swedencentral  swc       ✕ out L2     42s     0%     0           -            -  ✕ 4s
    why    all 3 test calls failed, the last: unavailable (HTTP 503)
    next   in 18s: hold ends; 4 of 6 test calls in a row passed
    failed 2s ago: unavailable (HTTP 503)
▸ francecentral  frc       ● serving     2h   100%     3  99% of 250  0.61/1.40 s   30s
  westeurope     weu       ◌ drained    12s     0%     0           -            -     -
    why    drained: being replaced
    next   in 10m: the drain ends by itself

alarms
  ! standby_unproven gpt-4o francecentral frc: nothing has proven it

last changes
   42s ago  gpt-4o swedencentral suspected → out: all 3 test calls failed, the last: unavailable";
        let shown = lines(&outage(), 120);
        assert_eq!(shown.join("\n"), expected);
    }

    #[test]
    fn ages_and_counters_are_no_news() {
        let before = outage();
        let mut later = before.clone();
        later.observe_time = at(1052);
        later.test_call_tokens_left -= 20;
        later.off_pin_calls.insert("rescue".into(), 4);
        for target in later.regions.iter_mut().flat_map(|region| &mut region.targets) {
            target.in_flight_calls += 1;
            target.recent_attempts += 7;
            target.last_test_call_time = at(1050);
            target.next_step_time = at(1070);
        }
        assert_eq!(lasting(&before), lasting(&later));
        let changes: [fn(&mut pb::RegionStatusResponse); 5] = [
            |status| status.regions[0].targets[0].standing = pb::Standing::Suspected.into(),
            |status| status.regions[0].targets[0].overlay = pb::Overlay::Cooling.into(),
            |status| status.models[0].active_region = "westeurope".into(),
            |status| status.alarms.clear(),
            |status| status.transitions[0].transition_time = at(1049),
        ];
        for (at, make) in changes.iter().enumerate() {
            let mut changed = later.clone();
            make(&mut changed);
            assert_ne!(lasting(&before), lasting(&changed), "change {at}");
        }
    }

    #[test]
    fn a_narrow_terminal_still_shows_every_number() {
        console::set_colors_enabled(false);
        let shown = lines(&outage(), 80);
        let rows: Vec<_> = shown.iter().filter(|line| line.contains("central  ")).collect();
        assert_eq!(rows.len(), 2, "{shown:?}");
        assert!(rows.iter().all(|row| measure_text_width(row) <= 80 && !row.contains("swc")), "{rows:?}");
        assert!(rows[1].ends_with("99% of 250  0.61/1.40 s   30s"), "{rows:?}");
    }

    #[test]
    fn what_keeps_a_target_from_serving_comes_first() {
        console::set_colors_enabled(false);
        use pb::{
            Overlay::{self, Cooling, Drained, Misconfigured, Quarantined},
            Standing::{self, Out, Returning, Serving, Suspected},
        };
        for (standing, overlay, expected) in [
            (Serving, Overlay::Unspecified, "● serving"),
            (Serving, Cooling, "◐ cooling"),
            (Serving, Misconfigured, "✕ misconfigured"),
            (Suspected, Misconfigured, "◐ suspected"),
            (Returning, Cooling, "◐ returning"),
            (Out, Cooling, "✕ out"),
            (Out, Drained, "◌ drained"),
            (Serving, Quarantined, "✕ quarantined"),
            (Out, Quarantined, "✕ quarantined"),
            (Standing::Unspecified, Overlay::Unspecified, "? unspecified"),
        ] {
            let target = pb::TargetState { overlay: overlay.into(), ..target("swc", 1, standing) };
            assert_eq!(state(&target), expected, "{standing:?} {overlay:?}");
        }
    }

    #[test]
    fn a_cell_says_no_more_than_is_true() {
        console::set_colors_enabled(false);
        let serving = target("swc", 1, pb::Standing::Serving);
        assert_eq!((share(&serving, true), share(&serving, false)), ("100%".to_owned(), "-".to_owned()));
        let returning =
            pb::TargetState { traffic_share: 0.05, out_level: 1, ..target("swc", 1, pb::Standing::Returning) };
        assert_eq!((share(&returning, false), state(&returning)), ("5%".to_owned(), "◐ returning L1".to_owned()));
        let settled = pb::TargetState { out_level: 1, ..serving.clone() };
        assert_eq!(state(&settled), "● serving L1", "a level outlasts the return");
        let quick = |p50, p95| {
            let span = |nanos| Some(prost_types::Duration { seconds: 0, nanos });
            latency(&pb::TargetState { latency_p50: span(p50), latency_p95: span(p95), ..serving.clone() })
        };
        assert_eq!(quick(1_840_000, 12_000_000), "1.8/12.0 ms");
        assert_eq!(quick(10_000_000, 2_000_000), "0.01/0.00 s");
        let suspected = pb::TargetState {
            next_step: "verdict; 1 of 3 test calls failed".into(),
            next_step_time: at(6),
            ..target("swc", 1, pb::Standing::Suspected)
        };
        let next = details(&suspected, at(0).as_ref()).remove(0);
        assert_eq!(next, "    next   within 6s: verdict; 1 of 3 test calls failed");
    }

    #[test]
    fn a_change_tells_of_a_standing_or_of_a_drain() {
        console::set_colors_enabled(false);
        use pb::Standing::{Returning, Serving, Suspected};
        for (from, to, expected) in [
            (Serving, Suspected, "  5s ago  m r serving → suspected: because"),
            (Returning, Returning, "  5s ago  m r returning: because"),
            (Serving, Serving, "  5s ago  m r: because"),
        ] {
            let one = pb::Transition {
                transition_time: at(5),
                model: "m".into(),
                region: "r".into(),
                from_standing: from.into(),
                to_standing: to.into(),
                reason: "because".into(),
                ..Default::default()
            };
            assert_eq!(change(&one, at(10).as_ref()), expected);
        }
    }

    #[test]
    fn spans_fit_a_column() {
        for (seconds, expected) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d"), (9_000_000, "104d")]
        {
            assert_eq!(span(seconds), expected);
        }
        let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
        assert_eq!(seconds_between(time(1, 900_000_000).as_ref(), time(3, 0).as_ref()), 1);
        assert_eq!(seconds_between(time(1, 400_000_000).as_ref(), time(3, 0).as_ref()), 2);
        assert_eq!(seconds_between(time(3, 0).as_ref(), time(1, 0).as_ref()), 0);
        assert_eq!(seconds_between(None, time(1, 0).as_ref()), 0);
    }
}
