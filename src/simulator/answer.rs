//! What a simulated model answers: a pure function of the request, so that a stream and a unary answer agree.
use std::borrow::Cow;

use serde_json::json;

use super::chance::Chance;
use super::fault::FilterMode;
use super::request::{AnswerFormat, ChatRequest};
use super::schema::conforming;
use super::words::WORDS;

/// In a prompt: it is blocked, 400 `content_filter`.
pub const PROMPT_BLOCK_WORD: &str = "simulate-prompt-block";
/// In a prompt: the output is blocked after three content events.
pub const OUTPUT_BLOCK_WORD: &str = "simulate-output-block";
/// In a prompt: the content filter is down, and the answer comes unfiltered.
pub const FILTER_OUTAGE_WORD: &str = "simulate-filter-outage";
/// In a prompt: the model declines, with `refusal` in place of content.
pub const REFUSAL_WORD: &str = "simulate-refusal";

/// In a prompt: the filter finds published code in the answer, and says where it is from.
pub const CODE_CITATION_WORD: &str = "simulate-code-citation";

/// Content events before the block that [`OUTPUT_BLOCK_WORD`] causes.
const OUTPUT_BLOCK_AT: usize = 3;

/// A piece of text that a stream carries in one event, and that counts as one token.
pub(super) type Piece = Cow<'static, str>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Usage,
    /// The filter finds published code in it.
    pub(super) cites_code: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    /// With the hidden reasoning tokens.
    pub(super) completion: u64,
    pub(super) reasoning: u64,
    /// Of a prediction: taken over into the answer.
    pub(super) accepted: u64,
    /// Of a prediction: in vain, and counted as if generated.
    pub(super) rejected: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) content: Content,
    pub(super) finish: Finish,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Text(Vec<Piece>),
    Refusal(Vec<Piece>),
    Calls(Vec<Call>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}

impl Finish {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

impl Content {
    pub(super) fn tokens(&self) -> usize {
        match self {
            Self::Text(pieces) | Self::Refusal(pieces) => pieces.len(),
            Self::Calls(calls) => calls.iter().map(|call| call.arguments.len()).sum(),
        }
    }

    /// Whether there is text for the filter to judge; it does not read tool calls.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text(pieces) | Self::Refusal(pieces) if !pieces.is_empty())
    }

    /// Keeps the first `most` pieces.
    fn truncate(&mut self, most: usize) {
        match self {
            Self::Text(pieces) | Self::Refusal(pieces) => pieces.truncate(most),
            Self::Calls(calls) => {
                let mut left = most;
                calls.retain_mut(|call| {
                    let any = left > 0;
                    call.arguments.truncate(left);
                    left -= call.arguments.len();
                    any
                });
            }
        }
    }
}

/// Answers `request` with `tokens` tokens a choice, unless something shortens it.
pub(super) fn answer(request: &ChatRequest, tokens: u32, filter: FilterMode, blocked_at: Option<usize>) -> Answer {
    let blocked_at = blocked_at.or_else(|| request.prompt.contains(OUTPUT_BLOCK_WORD).then_some(OUTPUT_BLOCK_AT));
    // What is off or down withholds nothing.
    let blocked_at = blocked_at.filter(|_| matches!(filter, FilterMode::On | FilterMode::Asynchronous));
    let reasoning = request.max_tokens.map_or(request.reasoning_tokens, |most| most.min(request.reasoning_tokens));
    let visible = request.max_tokens.map(|most| usize::try_from(most - reasoning).unwrap_or(usize::MAX));
    let choices: Vec<Choice> = (0..request.n as u64)
        .map(|index| {
            let mut chance = Chance::new(request.fingerprint ^ index.wrapping_mul(super::chance::STEP));
            let (mut content, mut finish) = full_content(request, tokens, &mut chance);
            if let Content::Text(pieces) = &mut content {
                stop_at(pieces, &request.stop);
            }
            if let Some(most) = visible.filter(|most| *most < content.tokens()) {
                content.truncate(most);
                finish = Finish::Length;
            }
            if let Some(at) = blocked_at {
                content.truncate(at);
                finish = Finish::ContentFilter;
            }
            Choice { content, finish }
        })
        .collect();
    let visible: usize = choices.iter().map(|choice| choice.content.tokens()).sum();
    let reasoning = reasoning * request.n as u64;
    let predicted = request.predicted_tokens.unwrap_or(0);
    // How much of a prediction comes true is a matter of taste; here it is half of what could.
    let accepted = predicted.min(visible as u64) / 2;
    let rejected = predicted - accepted;
    let completion = visible as u64 + reasoning + rejected;
    let usage = Usage { prompt: request.prompt_tokens, completion, reasoning, accepted, rejected };
    Answer { choices, usage, cites_code: request.prompt.contains(CODE_CITATION_WORD) }
}

fn full_content(request: &ChatRequest, tokens: u32, chance: &mut Chance) -> (Content, Finish) {
    if !request.calls.is_empty() {
        let calls = request.calls.iter().map(|tool| Call {
            id: format!("call_{:016x}{:08x}", chance.next(), chance.next() as u32),
            name: tool.name.clone(),
            arguments: fragments(&conforming(&tool.parameters, chance).to_string()),
        });
        return (Content::Calls(calls.collect()), Finish::ToolCalls);
    }
    if request.prompt.contains(REFUSAL_WORD) {
        return (Content::Refusal(words("I'm sorry, I can't assist with that request.")), Finish::Stop);
    }
    let content = match &request.format {
        AnswerFormat::Text => sentence(tokens, chance),
        AnswerFormat::JsonObject => {
            let answer: String = sentence(tokens.min(8), chance).concat();
            fragments(&json!({ "answer": answer }).to_string())
        }
        AnswerFormat::JsonSchema(schema) => fragments(&conforming(schema, chance).to_string()),
    };
    (Content::Text(content), Finish::Stop)
}

/// So many words, drawn at random; the first without its leading space.
fn sentence(tokens: u32, chance: &mut Chance) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(tokens as usize);
    for _ in 0..tokens {
        let word = WORDS[chance.below(WORDS.len() as u64) as usize];
        pieces.push(Cow::Borrowed(if pieces.is_empty() { word.trim_start() } else { word }));
    }
    pieces
}

fn words(text: &str) -> Vec<Piece> {
    text.split_inclusive(' ').map(|word| Cow::Owned(word.to_owned())).collect()
}

/// `text` in pieces of four characters.
fn fragments(text: &str) -> Vec<Piece> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(4).map(|piece| Cow::Owned(piece.iter().collect())).collect()
}

/// Ends the text before the first stop sequence in it; the sequence itself is not part of the answer.
fn stop_at(pieces: &mut Vec<Piece>, stops: &[String]) {
    if stops.is_empty() {
        return;
    }
    let text: String = pieces.concat();
    let Some(mut left) = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min() else {
        return;
    };
    pieces.retain_mut(|piece| {
        let keep = left.min(piece.len());
        if keep < piece.len() {
            *piece = Cow::Owned(piece.get(..keep).unwrap_or_default().to_owned());
        }
        left -= keep;
        keep > 0
    });
}
