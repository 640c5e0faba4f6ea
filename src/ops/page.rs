//! The status page: one table of targets, what is the matter, what changed last. No scripts; it loads itself again.
use std::{
    fmt::{self, Display, Write as _},
    time::Duration,
};

use sealane_core::{
    domain::Moment,
    router::{Alarm, Overlay, Snapshot, Standing, TargetView, Transition},
};

use crate::clock::Clock;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
table{border-collapse:collapse;margin:.5em 0 1.5em}th,td{padding:.25em .8em;text-align:left;\
border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right}.good{color:#176d2e}.warn{color:#8a5a00}\
.bad{color:#b3261e}h2{font-size:1.1em;margin:1em 0 0}.dim{color:#666}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}th,td{border-color:#444}.good{color:#6ecb85}\
.warn{color:#e0b050}.bad{color:#ff8a80}.dim{color:#999}}";

/// Changes shown; RegionStatus has more.
const CHANGES: usize = 10;

/// Text that is safe inside an element or a quoted attribute.
struct Safe<T>(T);

impl<T: Display> Display for Safe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '&' => self.0.write_str("&amp;"),
                    '<' => self.0.write_str("&lt;"),
                    '>' => self.0.write_str("&gt;"),
                    '"' => self.0.write_str("&quot;"),
                    '\'' => self.0.write_str("&#39;"),
                    c => self.0.write_char(c),
                })
            }
        }
        write!(Escape(f), "{}", self.0)
    }
}

/// The page for one moment.
pub(super) fn render(snapshot: &Snapshot, clock: Clock, ready: bool, config_revision: &str) -> String {
    let mut page = String::with_capacity(8 << 10);
    // Writing to a string does not fail.
    let _ = write(&mut page, snapshot, clock, ready, config_revision);
    page
}

fn write(page: &mut String, snapshot: &Snapshot, clock: Clock, ready: bool, config_revision: &str) -> fmt::Result {
    let ready = if ready { "takes calls" } else { "draining" };
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>Sealane</title><style>{STYLE}</style></head><body><h1>Sealane</h1>\
         <p>This process {ready}. <span class=\"dim\">{}, configuration {}. <a href=\"/metrics\">metrics</a></span></p>",
        httpdate::fmt_http_date(clock.calendar(snapshot.at)),
        Safe(config_revision),
    )?;
    for model in &snapshot.models {
        write!(page, "<h2>{}</h2><p>", Safe(&model.route.model))?;
        match &model.active {
            Some(active) => write!(page, "goes to {} ({})", Safe(&active.region), Safe(&active.resource))?,
            None => page.push_str("<b class=\"bad\">nobody can serve it</b>"),
        }
        write!(page, " · standbys ready: {} · workflows pinned: {}</p>", model.ready_standbys, model.pinned_workflows)?;
        page.push_str(
            "<table><tr><th>Region<th>Resource<th>Deployment<th>State<th>Since<th>Why<th>Next<th>Share<th>Busy\
             <th>Good/bad, 60 s<th>p50/p95</tr>",
        );
        let of_model = snapshot.targets.iter().filter(|view| view.target.model == model.route.model);
        let mut targets: Vec<&TargetView> = of_model.collect();
        targets.sort_by_key(|view| view.priority);
        targets.into_iter().try_for_each(|target| row(page, target, snapshot.at))?;
        page.push_str("</table>");
    }
    matter(page, &snapshot.alarms)?;
    changes(page, &snapshot.transitions, snapshot.at)?;
    page.push_str("</body></html>\n");
    Ok(())
}

fn row(page: &mut String, view: &TargetView, now: Moment) -> fmt::Result {
    let (class, state) = state(view);
    write!(
        page,
        "<tr><td>{}<td>{}<td>{}<td class=\"{class}\">{state}<td class=\"n\">{}<td>",
        Safe(&view.target.region),
        Safe(&view.target.resource),
        Safe(&view.target.deployment),
        Span(now.since(view.since)),
    )?;
    why(page, view)?;
    page.push_str("<td>");
    if let Some((next, at)) = &view.next {
        write!(page, "in {}: {}", Span(at.since(now)), Safe(next))?;
    }
    let (good, bad) = view.recent;
    write!(
        page,
        "<td class=\"n\">{:.0} %<td class=\"n\">{}<td class=\"n\">{good}/{bad}",
        view.share * 100.0,
        view.in_flight
    )?;
    match view.latency {
        Some((p50, p95)) => {
            write!(page, "<td class=\"n\">{:.2}/{:.2} s</tr>", p50.as_secs_f64(), p95.as_secs_f64())
        }
        None => page.write_str("<td class=\"n\">-</tr>"),
    }
}

fn state(view: &TargetView) -> (&'static str, &'static str) {
    match (&view.overlay, view.standing) {
        (Some(Overlay::Drained { .. }), _) => ("warn", "drained"),
        (Some(Overlay::Drifted { .. }), _) => ("bad", "drifted"),
        (Some(Overlay::Quarantined { .. }), _) => ("bad", "quarantined"),
        (_, Standing::Out { .. }) => ("bad", "out"),
        (_, Standing::Suspected) => ("warn", "suspected"),
        (_, Standing::Returning { .. }) => ("warn", "returning"),
        (Some(Overlay::Misconfigured { .. }), Standing::Serving) => ("bad", "misconfigured"),
        (Some(Overlay::Cooling { .. }), Standing::Serving) => ("warn", "cooling"),
        (None, Standing::Serving) => ("good", "serving"),
    }
}

fn why(page: &mut String, view: &TargetView) -> fmt::Result {
    match (&view.overlay, view.standing, &view.cause) {
        (Some(Overlay::Drained { reason, .. }), _, _) => write!(page, "drained: {}", Safe(reason)),
        (Some(Overlay::Drifted { drift, .. }), _, _) => write!(page, "{}", Safe(&drift.to_string())),
        (_, Standing::Serving, _) | (_, _, None) => Ok(()),
        (_, _, Some(cause)) => write!(page, "{}", Safe(cause)),
    }
}

fn matter(page: &mut String, alarms: &[Alarm]) -> fmt::Result {
    if alarms.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Alarms</h2><ul>");
    for alarm in alarms {
        write!(page, "<li><b class=\"bad\">{}</b> ", alarm.as_str())?;
        match (alarm.target(), alarm) {
            (Some(target), _) => {
                write!(page, "{} {} {}", Safe(&target.model), Safe(&target.region), Safe(&target.resource))?
            }
            (None, Alarm::NoGoodTarget { model, .. }) => write!(page, "{}", Safe(model))?,
            (None, _) => {}
        }
        write!(page, ": {}</li>", Safe(&alarm.message()))?;
    }
    page.write_str("</ul>")
}

fn changes(page: &mut String, transitions: &[Transition], now: Moment) -> fmt::Result {
    if transitions.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Last changes</h2><table>");
    for change in transitions.iter().take(CHANGES) {
        let Transition { at, target, from, to, cause } = change;
        let (from, to) = (from.as_str(), to.as_str());
        let (model, region) = (Safe(&target.model), Safe(&target.region));
        let ago = Span(now.since(*at));
        write!(page, "<tr><td class=\"n\">{ago} ago<td>{model}<td>{region}<td>{from} → {to}<td>{}</tr>", Safe(cause))?;
    }
    page.write_str("</table>")
}

/// `12 s`, `3 min`, `5 h`, `2 d`.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_wrote_is_text_and_never_markup() {
        let drain_reason = "<script>alert(\"a&b\")</script>'";
        let shown = Safe(drain_reason).to_string();
        assert_eq!(shown, "&lt;script&gt;alert(&quot;a&amp;b&quot;)&lt;/script&gt;&#39;");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, shown) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), shown);
        }
    }
}
