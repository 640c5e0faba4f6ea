//! What Sealane claims of its failover, each as a row: what was simulated, what was measured, and whether it holds.
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sealane_core::{
    domain::{ModelKind, Moment},
    router::{Standing, Thresholds},
};

use crate::{
    chance::Chance,
    region::{Latency, Mood, Plan, SimTarget},
    world::{Deployment, Lie, Outcome, Traffic, World},
};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// First seed.
    pub first_seed: u64,
    /// Seeds of the mixed outages; the other rows take a part of them.
    pub seeds: u64,
    /// Simulated hours of each mixed outage.
    pub hours: f64,
    /// Calls a second in the mixed outages.
    pub rate: f64,
    /// Share of attempts that fail at a target that is well, in the row about false switches.
    pub background: f64,
    /// Simulated days of that row.
    pub days: f64,
    /// Latency of every target.
    pub latency: Latency,
    /// The router's numbers.
    pub thresholds: Thresholds,
    /// What the simulation lies about.
    pub lie: Lie,
    /// Threads.
    pub threads: usize,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is claimed.
    pub claim: String,
    /// The bound.
    pub bound: String,
    /// What came out.
    pub measured: String,
    /// Whether it holds; `None` is for information.
    pub holds: Option<bool>,
}

const P: &str = "swedencentral";
const S: &str = "francecentral";
const ONSET: f64 = 120.0;

fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value)
}

fn moment(value: f64) -> Moment {
    Moment::after_origin(seconds(value))
}

fn plan(steps: &[(f64, Mood)]) -> Plan {
    steps.iter().map(|(at, mood)| (seconds(*at), *mood)).collect()
}

impl Settings {
    fn chat(&self, region: &'static str, plan: Plan) -> Deployment {
        self.deployment("gpt-4o", ModelKind::Chat, region, plan)
    }

    fn deployment(&self, model: &'static str, kind: ModelKind, region: &'static str, plan: Plan) -> Deployment {
        Deployment { model, kind, region, target: SimTarget { plan, latency: self.latency, background: 0.0 } }
    }

    fn play(&self, deployments: &[Deployment], traffic: Traffic, seed: u64, length: f64) -> Outcome {
        let world = World::new(deployments, traffic, self.thresholds.clone(), seed, moment(0.0));
        world.lying(self.lie).play(moment(length)).0
    }

    /// Runs one story for each seed, on all threads; results in the order of seeds.
    fn each<T: Send>(&self, count: u64, story: impl Fn(u64) -> T + Sync) -> Vec<T> {
        let next = AtomicU64::new(0);
        let told: Mutex<Vec<(u64, T)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let result = story(self.first_seed + number);
                        told.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                    }
                });
            }
        });
        let mut told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        told.sort_by_key(|(number, _)| *number);
        told.into_iter().map(|(_, result)| result).collect()
    }
}

/// A random story of outages: the primary's, and the standby's at other times.
fn mixed_plan(chance: &mut Chance, length: f64, gap: f64) -> Plan {
    let mut plan = Plan::new();
    let mut at = chance.between(60.0, gap);
    while at < length {
        let mood = chance.pick(&[
            Mood::Down,
            Mood::Refusing,
            Mood::Silent,
            Mood::Slow(5.0),
            Mood::Slow(10.0),
            Mood::Flaky(0.5),
            Mood::Flaky(0.8),
            Mood::Throttling(2),
            Mood::Throttling(30),
        ]);
        let lasts = chance.pick(&[3.0, 20.0, 90.0, 400.0, 1500.0]) * chance.between(0.5, 1.5);
        plan.push((seconds(at), mood));
        plan.push((seconds(at + lasts), Mood::Well));
        at += lasts + chance.between(30.0, gap);
    }
    plan
}

/// The same, but never at a time at which the other one is not well.
fn beside(chance: &mut Chance, other: &Plan, length: f64, gap: f64) -> Plan {
    let margin = Duration::from_secs(90);
    let busy: Vec<(Duration, Duration)> = other.chunks(2).map(|two| (two[0].0, two[two.len() - 1].0)).collect();
    let free =
        |from: Duration, to: Duration| busy.iter().all(|(start, end)| to + margin < *start || from > *end + margin);
    let wanted = mixed_plan(chance, length, gap);
    wanted.chunks(2).filter(|two| two.len() == 2 && free(two[0].0, two[1].0)).flatten().cloned().collect()
}

/// Every row.
pub fn all(settings: &Settings) -> Vec<Row> {
    let mut rows = mixed(settings);
    rows.push(false_switches(settings));
    rows.extend(flapping(settings));
    rows.extend(onsets(settings));
    rows.extend(standing_still(settings));
    rows.extend(reach(settings));
    rows.extend(workflow(settings));
    rows.push(restart(settings));
    rows.push(same_seed(settings));
    rows
}

fn row(claim: impl Into<String>, bound: impl Into<String>, measured: impl Into<String>, holds: bool) -> Row {
    Row { claim: claim.into(), bound: bound.into(), measured: measured.into(), holds: Some(holds) }
}

fn mixed(settings: &Settings) -> Vec<Row> {
    let length = settings.hours * 3600.0;
    let stories = settings.each(settings.seeds, |seed| {
        let mut chance = Chance::new(seed ^ 0xA11);
        let primary = mixed_plan(&mut chance, length, 2400.0);
        let standby = beside(&mut chance, &primary, length, 4800.0);
        let deployments = [settings.chat(P, primary), settings.chat(S, standby)];
        let traffic = Traffic { rate: settings.rate, ..Traffic::default() };
        (seed, settings.play(&deployments, traffic, seed, length))
    });
    let calls: u64 = stories.iter().map(|(_, story)| story.calls).sum();
    let errors: u64 = stories.iter().map(|(_, story)| story.errors).sum();
    let worst = stories.iter().map(|(seed, story)| (story.worst_hour(), *seed)).max().unwrap_or_default();
    let dead: u64 = stories.iter().map(|(_, story)| story.into_the_dead).sum();
    let first =
        stories.iter().find_map(|(seed, story)| Some(format!("; seed {seed}: {}", story.first_error.as_ref()?)));
    let what = format!("{} seeds x {} h of mixed outages, {calls} calls", settings.seeds, settings.hours);
    vec![
        row(
            format!("{what}: errors while a target is fit (well for 10 s; after throttling, for 60 s)"),
            "0",
            format!("{errors}{}", first.unwrap_or_default()),
            errors == 0,
        ),
        row("  switches in the worst hour", "<= 6", format!("{} (seed {})", worst.0, worst.1), worst.0 <= 6),
        row("  calls that began at a target that was out, with a good one left", "0", dead.to_string(), dead == 0),
    ]
}

fn false_switches(settings: &Settings) -> Row {
    let parts = 40;
    let length = settings.days * 86_400.0 / parts as f64;
    let stories = settings.each(parts, |seed| {
        let mut deployments = [settings.chat(P, Plan::new()), settings.chat(S, Plan::new())];
        deployments.iter_mut().for_each(|one| one.target.background = settings.background);
        settings.play(&deployments, Traffic::default(), seed, length)
    });
    let switches: usize = stories.iter().map(|story| story.switches.len()).sum();
    let suspicions: usize =
        stories.iter().map(|story| story.transitions.iter().filter(|one| one.to == Standing::Suspected).count()).sum();
    row(
        format!("{} days at {} % of attempts failing: false switches", settings.days, settings.background * 100.0),
        "0",
        format!("{switches} ({suspicions} suspicions)"),
        switches == 0,
    )
}

fn flapping(settings: &Settings) -> Vec<Row> {
    let periods = [5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0];
    let repeats = (settings.seeds / 400).max(1);
    let length = 12.0 * 3600.0;
    let stories = settings.each(repeats * periods.len() as u64, |seed| {
        let period = periods[(seed - settings.first_seed) as usize % periods.len()];
        let mut primary = Plan::new();
        let mut at = 60.0;
        while at < length {
            primary.push((seconds(at), Mood::Down));
            primary.push((seconds(at + period / 2.0), Mood::Well));
            at += period;
        }
        let deployments = [settings.chat(P, primary), settings.chat(S, Plan::new())];
        (period, settings.play(&deployments, Traffic { rate: 2.0, ..Traffic::default() }, seed, length))
    });
    let worst = stories.iter().map(|(period, story)| (story.worst_hour(), *period as u64)).max().unwrap_or_default();
    let errors: u64 = stories.iter().map(|(_, story)| story.errors).sum();
    vec![
        row(
            "a primary that flaps, periods of 5 s to 1 h, 12 h each: switches in the worst hour",
            "<= 6",
            format!("{} (period {} s)", worst.0, worst.1),
            worst.0 <= 6,
        ),
        row("  errors", "0", errors.to_string(), errors == 0),
    ]
}

fn onsets(settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, mood, bound) in [
        ("503s", Mood::Down, 5.0),
        ("refused connections", Mood::Refusing, 5.0),
        ("a black hole", Mood::Silent, 9.0),
        ("10 x slow", Mood::Slow(10.0), 9.0),
        ("5 x slow", Mood::Slow(5.0), 60.0),
        ("half of the calls failing", Mood::Flaky(0.5), 60.0),
    ] {
        for rate in [10.0, 0.5, 2.0, 50.0] {
            rows.push(onset(settings, name, mood, rate, (rate == 10.0).then_some(bound)));
        }
        if mood == Mood::Down {
            rows.push(amplification(settings));
        }
    }
    rows
}

fn onset(settings: &Settings, name: &str, mood: Mood, rate: f64, bound: Option<f64>) -> Row {
    let count = (settings.seeds / 25).clamp(20, 400);
    let stories = settings.each(count, |seed| {
        // Where in the test calls' rhythm it strikes is chance, too.
        let onset = ONSET + Chance::new(seed ^ 0x0A5E7).between(0.0, 60.0);
        let deployments = [settings.chat(P, plan(&[(onset, mood)])), settings.chat(S, Plan::new())];
        let story = settings.play(&deployments, Traffic { rate, ..Traffic::default() }, seed, onset + 600.0);
        let took = story.first_out(P).map(|at| at.since(moment(onset)).as_secs_f64());
        (took, story.errors, story.into_the_dead)
    });
    let never = stories.iter().filter(|(took, ..)| took.is_none()).count();
    let mut took: Vec<f64> = stories.iter().map(|(took, ..)| took.unwrap_or(f64::INFINITY)).collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took.get((took.len() - 1) * percent / 100).copied().unwrap_or(f64::INFINITY);
    let errors: u64 = stories.iter().map(|(_, errors, _)| errors).sum();
    let dead: u64 = stories.iter().map(|(.., dead)| dead).sum();
    let measured = format!(
        "p50 {:.1} s, p99 {:.1} s, max {:.1} s, {never} never, {errors} errors, {dead} begun there after",
        at(50),
        at(99),
        at(100)
    );
    let holds = bound.map(|bound| at(99) <= bound && errors == 0 && dead == 0);
    Row {
        claim: format!("from the onset of {name} to the switch, {rate} calls a second, {count} seeds"),
        bound: bound.map_or("-".into(), |bound| format!("p99 <= {bound} s, 0 errors")),
        measured,
        holds,
    }
}

fn amplification(settings: &Settings) -> Row {
    // An answer of the standby's that is slower than any limit would be an attempt of its own.
    let mut settings = settings.clone();
    settings.latency.tail = 0.0;
    let deployments = [settings.chat(P, plan(&[(ONSET, Mood::Down)])), settings.chat(S, Plan::new())];
    let stories = settings.each(20, |seed| settings.play(&deployments, Traffic::default(), seed, ONSET + 55.0));
    let per_call = |which: usize| {
        let most = |story: &Outcome| story.attempts[which].1 as f64 / story.attempts[which].0.max(1) as f64;
        stories.iter().map(most).fold(0.0, f64::max)
    };
    let at_one = stories.iter().map(|story| story.most_at_one).max().unwrap_or(0);
    let (before, after) = (per_call(0), per_call(1));
    row(
        "  attempts for a call, before and after the switch; of one call at one target",
        "<= 2.0, 1.0; 1",
        format!("{before:.3}, {after:.3}; {at_one}"),
        before <= 2.0 && after <= 1.0 && at_one <= 1,
    )
}

/// What must not move anybody.
fn standing_still(settings: &Settings) -> Vec<Row> {
    let both = |plan: &Plan| [settings.chat(P, plan.clone()), settings.chat(S, plan.clone())];
    let calm = both(&Plan::new());
    let poison = Traffic { poison: 0.2, ..Traffic::default() };
    let poisoned = settings.each(20, |seed| settings.play(&calm, poison.clone(), seed, 3600.0));
    let moved: usize = poisoned.iter().map(|story| story.switches.len()).sum();
    let cut = plan(&[(ONSET, Mood::Unreachable), (ONSET + 30.0, Mood::Well)]);
    let both_cut = both(&cut);
    let stories = settings.each(40, |seed| settings.play(&both_cut, Traffic::default(), seed, ONSET + 300.0));
    let levels: usize = stories
        .iter()
        .map(|story| story.transitions.iter().filter(|one| matches!(one.to, Standing::Out { .. })).count())
        .sum();
    let silent = stories.iter().filter(|story| !story.alarms.contains_key("cut_off")).count();
    let healed = moment(ONSET + 30.0);
    let resumed = stories.iter().map(|story| {
        story.served_at.iter().find(|at| **at > healed).map_or(f64::INFINITY, |at| at.since(healed).as_secs_f64())
    });
    // The service resumes when the first call after the cut is served; its own length is not a delay of ours.
    let slowest = resumed.fold(0.0, f64::max);
    let throttled = [settings.chat(P, plan(&[(ONSET, Mood::Throttling(2))])), settings.chat(S, Plan::new())];
    let throttled = settings.each(20, |seed| settings.play(&throttled, Traffic::default(), seed, 900.0));
    let left: usize = throttled.iter().map(|story| story.switches.len()).sum();
    vec![
        row("a fifth of the prompts fails everywhere, for an hour: switches", "0", moved.to_string(), moved == 0),
        row(
            "the service's own network is cut for 30 s: targets out; stories without an alarm",
            "0; 0",
            format!("{levels}; {silent}"),
            levels == 0 && silent == 0,
        ),
        row(
            "  first answer after the network is back",
            "<= 2 s + an answer's length",
            format!("{slowest:.1} s at most"),
            slowest <= 2.0 + 4.0,
        ),
        row("a primary that answers 429 for 13 min: switches", "0", left.to_string(), left == 0),
    ]
}

/// How far a fault reaches.
fn reach(settings: &Settings) -> Vec<Row> {
    let chat = ModelKind::Chat;
    let models = ["gpt-4o", "gpt-4o-mini", "o-small"];
    let world = |sick: fn(&str) -> bool| -> Vec<Deployment> {
        let in_region = |region: &'static str| models.iter().map(move |model| (*model, region));
        let mut all: Vec<Deployment> = Vec::new();
        for model in models {
            for (_, region) in in_region(P).take(1).chain(in_region(S).take(1)) {
                let plan = if region == P && sick(model) { plan(&[(ONSET, Mood::Down)]) } else { Plan::new() };
                all.push(settings.deployment(model, chat, region, plan));
            }
        }
        all
    };
    let out_of = |story: &Outcome| -> Vec<(String, f64)> {
        let outs = story.transitions.iter().filter(|one| matches!(one.to, Standing::Out { .. }));
        outs.map(|one| (one.target.model.to_string(), one.at.since(moment(ONSET)).as_secs_f64())).collect()
    };
    // Only one of the models has traffic enough to notice by itself.
    let traffic = Traffic { models: models.to_vec(), ..Traffic::default() };
    let pool = world(|model| model == "gpt-4o");
    let pools = settings.each(20, |seed| out_of(&settings.play(&pool, traffic.clone(), seed, ONSET + 50.0)));
    let only_it = pools.iter().all(|outs| outs.len() == 1 && outs[0].0 == "gpt-4o");
    let endpoint = world(|_| true);
    let one_busy = Traffic { models: vec!["gpt-4o"], ..Traffic::default() };
    let ends = settings.each(20, |seed| out_of(&settings.play(&endpoint, one_busy.clone(), seed, ONSET + 50.0)));
    let together = ends.iter().all(|outs| outs.len() == 3 && outs.iter().all(|(_, at)| (at - outs[0].1).abs() < 0.001));
    let show = |outs: &[Vec<(String, f64)>]| {
        let counts: Vec<usize> = outs.iter().map(Vec::len).collect();
        let spread = |outs: &Vec<(String, f64)>| outs.iter().map(|(_, at)| at - outs[0].1).fold(0.0, f64::max);
        let widest = outs.iter().map(spread).fold(0.0, f64::max);
        format!(
            "{} to {} targets out, {widest:.1} s apart at most",
            counts.iter().min().unwrap_or(&0),
            counts.iter().max().unwrap_or(&0)
        )
    };
    vec![
        row("one model's pool is down, its siblings have traffic: who moves", "only it", show(&pools), only_it),
        row(
            "the endpoint is down, one model has traffic: who moves",
            "all 3, in one validation",
            show(&ends),
            together,
        ),
    ]
}

/// An ingestion run over an outage and the way back.
fn workflow(settings: &Settings) -> Vec<Row> {
    let primary = plan(&[(300.0, Mood::Silent), (700.0, Mood::Well)]);
    let deployments = [settings.chat(P, primary), settings.chat(S, Plan::new())];
    let run = |echo_pin| Traffic { workflow: Some("run-1".into()), echo_pin, ..Traffic::default() };
    let stories = settings.each(10, |seed| settings.play(&deployments, run(false), seed, 1000.0));
    let mut moved_early = 0;
    let mut calls = u64::MAX;
    for story in &stories {
        let Some(out) = story.first_out(P) else { continue };
        calls = calls.min(story.calls);
        // A call that ends just after the switch was chosen for just before it.
        let early = story.pins.iter().filter(|(at, region)| *at <= out && **region != *P).count();
        moved_early += early;
    }
    let off: u64 = stories.iter().flat_map(|story| story.off_pin.values()).sum();
    let causes: Vec<&str> = stories.iter().flat_map(|story| story.off_pin.keys().copied()).collect();
    let went_back = |story: &&Outcome| story.pins.last().is_some_and(|(_, region)| **region == *P);
    let back = stories.iter().filter(went_back).count();
    let echoed = settings.each(10, |seed| {
        // One replica lives through the outage. Another one, which saw nothing of it, then gets the run's calls, and
        // knows only what the client sends back.
        let first = settings.play(&deployments, run(true), seed, 1000.0);
        let moved_to = first.pins.last().map(|(_, region)| region.to_string());
        let calm = [settings.chat(P, Plan::new()), settings.chat(S, Plan::new())];
        let second = World::new(&calm, run(true), settings.thresholds.clone(), seed ^ 0xFFFF, moment(0.0));
        let (second, _) = second.lying(settings.lie).sending_back(moved_to.clone()).play(moment(100.0));
        moved_to.as_deref() == Some(S)
            && !second.pins.is_empty()
            && second.pins.iter().all(|(_, region)| **region == *S)
    });
    let mut causes = causes;
    causes.sort_unstable();
    causes.dedup();
    vec![
        row(
            format!("a run of {calls} calls over an outage and recovery: pins moved before its region was out"),
            "0",
            moved_early.to_string(),
            moved_early == 0 && calls < u64::MAX,
        ),
        row(
            "  stories in which it went back by itself; calls served elsewhere are counted",
            "0",
            format!("{back}; {off} calls, by {}", causes.join(", ")),
            back == 0 && off > 0,
        ),
        row(
            "two replicas that share nothing but the client's pinned_region agree",
            "10 of 10",
            format!("{} of 10", echoed.iter().filter(|agree| **agree).count()),
            echoed.iter().all(|agree| *agree),
        ),
    ]
}

/// Another process takes up the standings of the first in the middle of an outage.
fn restart(settings: &Settings) -> Row {
    let mut settings = settings.clone();
    settings.latency.tail = 0.0;
    let stayed = settings.each(20, |seed| {
        let deployments = [settings.chat(P, plan(&[(ONSET, Mood::Silent)])), settings.chat(S, Plan::new())];
        let (first, second) = (moment(ONSET + 60.0), moment(ONSET + 65.0));
        let world = World::new(&deployments, Traffic::default(), settings.thresholds.clone(), seed, moment(0.0));
        let (_, router) = world.lying(settings.lie).play(first);
        let saved = router.saved(first);
        let mut world = World::new(&deployments, Traffic::default(), settings.thresholds.clone(), seed + 1, second);
        world.restored(&saved, Duration::from_secs(5));
        let (story, _) = world.lying(settings.lie).play(moment(ONSET + 185.0));
        (
            story.errors,
            story.into_the_dead,
            story.attempts.iter().map(|sums| sums.1).sum::<u64>().saturating_sub(story.calls),
        )
    });
    let errors: u64 = stayed.iter().map(|(errors, ..)| errors).sum();
    let dead: u64 = stayed.iter().map(|(_, dead, _)| dead).sum();
    let extra: u64 = stayed.iter().map(|(.., extra)| extra).sum();
    row(
        "a restart in the outage: calls sent to the dead primary; errors; attempts beyond one for a call",
        "0; 0; 0",
        format!("{dead}; {errors}; {extra}"),
        dead == 0 && errors == 0 && extra == 0,
    )
}

fn same_seed(settings: &Settings) -> Row {
    let length = 3600.0;
    let trace = |seed: u64| {
        let mut chance = Chance::new(seed);
        let deployments = [settings.chat(P, mixed_plan(&mut chance, length, 600.0)), settings.chat(S, Plan::new())];
        settings.play(&deployments, Traffic::default(), seed, length).trace
    };
    let (first, again, other) =
        (trace(settings.first_seed), trace(settings.first_seed), trace(settings.first_seed + 1));
    row(
        "the same seed tells the same story",
        "same digest",
        format!("{first:016x} {again:016x}"),
        first == again && first != other,
    )
}
