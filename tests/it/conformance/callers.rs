//! The whole road: whatever callers put into a chat request, what reaches Azure is valid, and what is refused is
//! refused by the caller's own field, by the service or by the region.
use std::collections::BTreeMap;

use sealane::grpc::pb;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{corpus::Dice, requests::Style};
use crate::support::{
    service::{hi, user},
    world::World,
};

const CASES: u64 = 600;

/// Sets one field to something good or bad.
type Change = fn(&mut pb::CompleteRequest, &mut Dice);

const CHANGES: [Change; 22] = [
    |r, d| r.max_output_tokens = Some(d.between(-2, 200_000) as i32),
    |r, d| r.temperature = Some(d.between(-2, 6) as f32 / 2.0),
    |r, d| r.top_p = Some(d.between(-1, 3) as f32 / 2.0),
    |r, d| r.frequency_penalty = Some(d.between(-3, 3) as f32),
    |r, d| r.presence_penalty = Some(*d.pick(&[-2.5, 0.1, f32::NAN, 2.0])),
    |r, d| r.seed = Some(d.next() as i64),
    |r, d| r.stop_sequences = (0..d.below(6)).map(|_| d.pick(&["a", "\n", ""]).to_string()).collect(),
    |r, d| r.choice_count = Some(d.between(-1, 4) as i32 * 43),
    |r, d| r.logprobs = d.once_in(2),
    |r, d| r.top_logprobs = Some(d.between(-1, 22) as i32),
    |r, d| {
        r.logit_bias = (0..d.below(3)).map(|_| (d.between(-1, 9) as i32, d.between(-210, 210) as f32 / 2.0)).collect()
    },
    |r, d| r.metadata = (0..d.below(19)).map(|at| (format!("key{at}"), "v".repeat(d.below(600)))).collect(),
    |r, d| r.tools = (0..d.below(3)).map(|at| tool(d, at)).collect(),
    |r, d| r.tool_choice = Some(tool_choice(d)),
    |r, d| r.parallel_tool_calls = Some(d.once_in(2)),
    |r, d| r.response_format = Some(response_format(d)),
    |r, d| r.reasoning_effort = d.between(-1, 7) as i32,
    |r, d| r.verbosity = d.between(-1, 4) as i32,
    |r, d| r.prediction = d.text(),
    |r, d| r.user_security_context = Some(pb::UserSecurityContext { source_ip: d.text(), ..Default::default() }),
    |r, d| r.messages.extend((0..d.below(3)).map(|_| message(d))),
    |r, d| r.messages.retain(|_| d.once_in(2)),
];

fn tool(dice: &mut Dice, at: usize) -> pb::Tool {
    let function = pb::FunctionTool {
        name: dice.pick(&[format!("f{at}"), "has space".into(), String::new(), "same".into()]).clone(),
        parameters_json_schema: dice.pick(&["", "{\"type\":\"object\"}", "[1]", "{broken"]).to_string(),
        strict: dice.once_in(2),
        ..Default::default()
    };
    pb::Tool { tool: (!dice.once_in(8)).then_some(pb::tool::Tool::Function(function)) }
}

fn tool_choice(dice: &mut Dice) -> pb::ToolChoice {
    use pb::tool_choice::Choice::{FunctionName, Mode};
    let choice =
        dice.pick(&[Some(Mode(2)), Some(Mode(3)), Some(Mode(9)), Some(FunctionName("f0".into())), None]).clone();
    pb::ToolChoice { choice }
}

fn response_format(dice: &mut Dice) -> pb::ResponseFormat {
    use pb::response_format::Format;
    let schema = pb::JsonSchemaFormat {
        name: dice.pick(&["answer", "", "no good"]).to_string(),
        schema_json: dice.pick(&["{\"type\":\"object\"}", "", "7"]).to_string(),
        ..Default::default()
    };
    let formats = [
        Some(Format::Text(pb::TextFormat {})),
        Some(Format::JsonObject(pb::JsonObjectFormat {})),
        Some(Format::JsonSchema(schema)),
        None,
    ];
    pb::ResponseFormat { format: dice.pick(&formats).clone() }
}

fn message(dice: &mut Dice) -> pb::Message {
    use pb::content_part::Part;
    let picture = pb::ImagePart {
        mime_type: dice.pick(&["image/png", "image/bmp"]).to_string(),
        detail: dice.between(0, 5) as i32,
        source: Some(pb::image_part::Source::Inline(b"png".to_vec())),
    };
    let file = pb::FilePart { inline: b"%PDF".to_vec(), mime_type: "application/pdf".into(), name: "a.pdf".into() };
    let parts = [
        Some(Part::Text(dice.text())),
        Some(Part::Image(picture)),
        Some(Part::File(file)),
        Some(Part::Refusal("no".into())),
        None,
    ];
    let content = (0..dice.below(4)).map(|_| pb::ContentPart { part: dice.pick(&parts).clone() }).collect();
    let call = pb::ToolCall { id: "call_1".into(), name: "f0".into(), arguments_json: "{".into() };
    pb::Message {
        role: dice.between(0, 6) as i32,
        content,
        name: dice.pick(&[String::new(), "ann".into(), "n".repeat(65)]).clone(),
        tool_calls: if dice.once_in(4) { vec![call] } else { vec![] },
        tool_call_id: dice.pick(&["", "call_1"]).to_string(),
    }
}

#[tokio::test]
#[allow(clippy::print_stdout)] // what was met
async fn what_callers_ask_for_arrives_valid_or_is_refused_by_its_own_name() {
    let Some([dated, _]) = Style::both().await else { return };
    let world = World::start().await;
    let known: Vec<String> = fields_of_a_request();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let mut dice = Dice(3);
    for case in 0..CASES {
        let mut request = pb::CompleteRequest { messages: vec![user("say json f0")], ..hi() };
        for _ in 0..1 + dice.below(4) {
            dice.pick(&CHANGES)(&mut request, &mut dice);
        }
        let answer = world.inference().complete(request.clone()).await;
        let told = || format!("case {case}: {answer:?} to {request:#?}");
        let by_region = answer.as_ref().is_err_and(|status| {
            status.get_error_details().error_info().is_some_and(|info| info.metadata.contains_key("upstreamCode"))
        });
        if answer.is_ok() || by_region {
            // Nothing else reaches this region.
            let sent = world.primary.counters().captured().pop().unwrap();
            let body = serde_json::from_slice(&sent.body).unwrap();
            let objections = dated.objections(&body);
            assert!(objections.is_empty(), "{objections:?} in {body}; {}", told());
        }
        let Err(status) = &answer else {
            *met.entry("answered".into()).or_default() += 1;
            continue;
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{}", told());
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap_or_else(|| panic!("{}", told())).field_violations;
        for violation in violations {
            let field = violation.field.split(['.', '[']).next().unwrap().to_owned();
            assert!(known.contains(&field), "{field} is no field; {}", told());
            *met.entry(format!("{} refuses {field}", if by_region { "the region" } else { "the service" }))
                .or_default() += 1;
        }
    }
    println!("requests by what became of them: {met:#?}");
    assert!(met["answered"] > 100 && met.len() > 15, "{met:#?}");
    assert!(met.keys().any(|what| what.starts_with("the region")), "{met:#?}");
}

/// The names in the API's own description.
fn fields_of_a_request() -> Vec<String> {
    let text = include_str!("../../../proto/sealane/v1/inference.proto");
    let (_, rest) = text.split_once("message CompleteRequest {").unwrap();
    let body = rest.split("\n}").next().unwrap();
    let declared = body.lines().filter_map(|line| line.trim().split_once(" = ")).map(|(declared, _)| declared);
    declared.filter_map(|declared| Some(declared.rsplit(' ').next()?.to_owned())).collect()
}
