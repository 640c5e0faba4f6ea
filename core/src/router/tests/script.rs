//! A story in lines: `TIME CALL calls|serves|wakes|fails KIND`. After every line but `serves` the call chooses, and
//! the log says what. Times are whole seconds; a call's deadline is 30 s after it begins.
use std::collections::HashMap;

use super::*;

/// Plays a story on a route of `targets` targets; returns the log, one line per choice.
pub(super) fn play(targets: u16, story: &str) -> String {
    let mut router = plain(targets);
    let mut calls: HashMap<&str, (Call, Option<Ticket>)> = HashMap::new();
    let mut log = String::new();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [time, name, verb, rest @ ..] = words.as_slice() else { panic!("not a line: {line}") };
        let now = at(time.trim_end_matches('s').parse().unwrap());
        if *verb == "calls" {
            let call = Call::new(terms(&router, now + secs(30)), now);
            assert!(calls.insert(name, (call, None)).is_none(), "begun twice: {line}");
        }
        let (call, ticket) = calls.get_mut(name).unwrap();
        let ended = match *verb {
            "calls" | "wakes" => None,
            "serves" => Some(served()),
            "fails" => Some(failed(kind(rest))),
            _ => panic!("no such verb: {line}"),
        };
        if let Some(ended) = ended {
            router.observe(call, ticket.take().unwrap(), &ended, now);
        }
        if *verb != "serves" {
            let decision = router.choose(call, now);
            log += &format!("{time} {name} {}\n", tell(&decision, now));
            if let Decision::Try { ticket: new, .. } = decision {
                *ticket = Some(new);
            }
        }
    }
    log
}

fn kind(words: &[&str]) -> FailureKind {
    match words {
        ["throttled", hint] => throttled(hint.trim_end_matches('s').parse().unwrap()),
        ["500"] => FailureKind::ServerError,
        ["401"] => FailureKind::Unauthorized,
        ["400"] => FailureKind::Rejected(Rejection::ContextLength),
        ["garbage"] => FailureKind::BadResponse(BadResponse::Malformed),
        ["local"] => FailureKind::Local { cause: "no_credential" },
        _ => panic!("no such failure: {words:?}"),
    }
}

fn tell(decision: &Decision, now: Moment) -> String {
    match decision {
        Decision::Try { target, reason, limits, .. } => {
            format!("tries {} ({}), {:?}", target.target().region, reason.as_str(), limits.rescue_by)
        }
        Decision::Wait { until } if until.since(now) < secs(1) => "pauses".into(),
        Decision::Wait { until } => format!("waits {:?}", until.since(now)),
        Decision::GiveUp(why) => format!("gives up: {why:?}"),
    }
}
