//! What a script says, line by line. Names of targets are `region` (all of its targets) or `region/model`.
//!
//! ```text
//! target swc gpt-4o                            declares one; the order is the route's
//! traffic 10/s from 0s to 60s                  calls; `of embed` another model, `workflow run-1` a pinned one,
//!                                              `caller team-b`, `1/10s` one every ten seconds
//! at 3s swc answers 429 retry-after=2s         or 500, 503, 401, 404, 400
//! at 3s swc refuses connections                or `is silent`, `takes 6s`, `recovers`
//! at 3s swc/gpt-4o fails every 2nd call        live calls only: test calls pass
//! at 3s swc refuses test calls                 live calls pass: the test call itself is wrong
//! at 3s the network is cut                     or `is back`
//! at 3s the service restarts                   having saved its standings, and having been away for 10 s
//! at 3s the operator drains swc until 60s      or `releases swc`, `validates swc`
//! at 3s status                                 what RegionStatus would say
//! until 300s
//! ```
use super::*;

pub(super) struct Script {
    pub(super) targets: Vec<(String, String)>,
    pub(super) traffic: Vec<Traffic>,
    pub(super) actions: Vec<(Moment, Action)>,
    pub(super) until: Moment,
}

pub(super) struct Traffic {
    pub(super) every: Duration,
    pub(super) from: Moment,
    pub(super) to: Moment,
    pub(super) model: String,
    pub(super) workflow: Option<String>,
    pub(super) caller: String,
}

#[derive(Clone)]
pub(super) enum Action {
    Becomes(String, Behaviour),
    Network { cut: bool },
    Restart,
    Drain(Selector, Moment),
    Release(Selector),
    Validate(Selector),
    Status,
}

/// How a target answers.
#[derive(Clone, PartialEq)]
pub(super) enum Behaviour {
    Serves,
    Takes(Duration),
    Fails(FailureKind),
    Silent,
    /// Live calls fail, every so many; test calls pass.
    FailsEvery(u32),
    /// Live calls pass; the test call is refused as invalid.
    RefusesTests,
}

pub(super) fn parse(text: &str) -> Script {
    let mut script = Script { targets: vec![], traffic: vec![], actions: vec![], until: Moment::ZERO };
    let lines = text.lines().map(|line| line.split('#').next().unwrap().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["target", region, model] => script.targets.push(((*region).into(), (*model).into())),
            ["traffic", rate, "from", from, "to", to, rest @ ..] => {
                script.traffic.push(traffic(rate, moment(from), moment(to), rest));
            }
            ["at", when, rest @ ..] => script.actions.push((moment(when), action(rest))),
            ["until", until] => script.until = moment(until),
            _ => panic!("not a line: {line}"),
        }
    }
    script
}

fn span(word: &str) -> Duration {
    Duration::from_secs_f64(word.strip_suffix('s').and_then(|number| number.parse().ok()).unwrap_or_else(|| {
        panic!("not a number of seconds: {word}");
    }))
}

fn moment(word: &str) -> Moment {
    Moment::after_origin(span(word))
}

fn traffic(rate: &str, from: Moment, to: Moment, rest: &[&str]) -> Traffic {
    let (calls, per) = rate.split_once('/').unwrap();
    let per = if per == "s" { secs(1) } else { span(per) };
    let every = per / calls.parse().unwrap();
    let mut traffic = Traffic { every, from, to, model: "gpt-4o".into(), workflow: None, caller: "team-a".into() };
    for two in rest.chunks(2) {
        match two {
            ["of", model] => traffic.model = (*model).into(),
            ["workflow", id] => traffic.workflow = Some((*id).into()),
            ["caller", name] => traffic.caller = (*name).into(),
            other => panic!("no such traffic: {other:?}"),
        }
    }
    traffic
}

fn action(words: &[&str]) -> Action {
    let region = |name: &str| Selector { region: Some(name.into()), ..Selector::default() };
    match words {
        ["the", "network", "is", "cut"] => Action::Network { cut: true },
        ["the", "network", "is", "back"] => Action::Network { cut: false },
        ["the", "service", "restarts"] => Action::Restart,
        ["the", "operator", "drains", name, "until", until] => Action::Drain(region(name), moment(until)),
        ["the", "operator", "releases", name] => Action::Release(region(name)),
        ["the", "operator", "validates", name] => Action::Validate(region(name)),
        ["status"] => Action::Status,
        [name, rest @ ..] => Action::Becomes((*name).into(), behaviour(rest)),
        [] => panic!("nothing happens"),
    }
}

fn behaviour(words: &[&str]) -> Behaviour {
    let fails = Behaviour::Fails;
    match words {
        ["recovers"] => Behaviour::Serves,
        ["takes", time] => Behaviour::Takes(span(time)),
        ["is", "silent"] => Behaviour::Silent,
        ["refuses", "connections"] => fails(FailureKind::Connect(ConnectFailure::Refused)),
        ["refuses", "test", "calls"] => Behaviour::RefusesTests,
        ["fails", "every", nth, "call"] => Behaviour::FailsEvery(nth[..nth.len() - 2].parse().unwrap()),
        ["answers", "429", hint] => {
            fails(FailureKind::Throttled { retry_after: span(hint.strip_prefix("retry-after=").unwrap()) })
        }
        ["answers", "500"] => fails(FailureKind::ServerError),
        ["answers", "503"] => fails(FailureKind::Unavailable),
        ["answers", "401"] => fails(FailureKind::Unauthorized),
        ["answers", "404"] => fails(FailureKind::DeploymentNotFound),
        ["answers", "400"] => fails(FailureKind::Rejected(Rejection::ContextLength)),
        other => panic!("no target behaves like that: {other:?}"),
    }
}
