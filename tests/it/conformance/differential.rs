//! A streamed answer that was put together again is the unary answer, field for field.
use std::collections::BTreeMap;

use sealane::{
    azure::PathStyle,
    simulator::{Fault, FilterMode, RegionSettings, SimulatedRegion},
    upstream::Upstream as _,
};
use sealane_core::domain::{ChatReply, FinishReason, Part};

use super::corpus::{Dice, chat_request};
use crate::support::attempt::{assemble, azure, dated, order, patient};

/// Requests for each way the filter works, on each path style.
const CASES: u64 = 80;

/// What two calls cannot have in common.
fn alike(mut reply: ChatReply) -> ChatReply {
    assert!(!reply.header.response_id.is_empty() && reply.header.created > 0);
    reply.header.response_id.clear();
    reply.header.created = 0;
    reply
}

/// What the corpus met, so that nobody takes an idle test for a passed one.
fn note(met: &mut BTreeMap<&'static str, usize>, reply: &ChatReply) {
    let mut count = |what, holds: bool| *met.entry(what).or_default() += usize::from(holds);
    let usage = reply.usage.unwrap_or_default();
    count("replies", true);
    count("with several choices", reply.choices.len() > 1);
    count("with a service tier", reply.header.service_tier.is_some());
    count("with reasoning tokens", usage.reasoning_output_tokens > 0);
    count("with predicted tokens", usage.accepted_prediction_tokens + usage.rejected_prediction_tokens > 0);
    let any = |holds: fn(&sealane_core::domain::Choice) -> bool| reply.choices.iter().any(holds);
    count("with tool calls", any(|choice| !choice.tool_calls.is_empty()));
    count("with parallel tool calls", any(|choice| choice.tool_calls.len() > 1));
    count("with log probabilities", any(|choice| choice.logprobs.is_some()));
    count("refused", any(|choice| choice.content.iter().any(|part| matches!(part, Part::Refusal(_)))));
    count("withheld", any(|choice| choice.finish_reason == FinishReason::ContentFilter));
    count("out of tokens", any(|choice| choice.finish_reason == FinishReason::Length));
    count("unfiltered", any(|choice| choice.filter.unfiltered));
    count("without verdicts", any(|choice| choice.filter.is_empty()));
    count("with cited code", any(|choice| choice.filter.verdicts.iter().any(|verdict| verdict.grounds.is_some())));
}

#[tokio::test]
#[allow(clippy::print_stdout)] // what was met
async fn an_assembled_answer_is_the_unary_one() {
    let region = SimulatedRegion::start(RegionSettings::default(), ([127, 0, 0, 1], 0).into()).unwrap();
    let modes: [&[Fault]; 5] = [
        &[],
        &[Fault::ContentFilter { mode: FilterMode::Off }],
        &[Fault::ContentFilter { mode: FilterMode::Asynchronous }],
        &[Fault::ContentFilter { mode: FilterMode::Outage }],
        &[Fault::StreamBlocked { at: 2 }],
    ];
    let mut met = BTreeMap::new();
    let mut dice = Dice(1);
    for faults in modes {
        region.faults().set(faults.iter().cloned().map(Into::into).collect());
        for style in [dated(), PathStyle::V1] {
            let azure = azure(region.address(), style);
            for case in 0..CASES {
                let reasoning = dice.once_in(4);
                let order = order(if reasoning { "gpt-5-nano" } else { "gpt-4o" }, patient());
                let request = chat_request(&mut dice, reasoning);
                let told = || format!("case {case} of {faults:?}: {request:#?}");
                let unary = azure.complete_chat(&order, &request).await;
                let (unary, _) = unary.unwrap_or_else(|failure| panic!("{failure:?} for {}", told()));
                let streamed = assemble(&azure, &order, &request).await;
                let (streamed, _) = streamed.unwrap_or_else(|failure| panic!("{failure:?} for {}", told()));
                note(&mut met, &unary);
                assert_eq!(alike(streamed), alike(unary), "{}", told());
            }
        }
    }
    println!("assembled replies equal to unary ones: {met:#?}");
    assert!(met.values().all(|count| *count > 5), "{met:#?}");
}
