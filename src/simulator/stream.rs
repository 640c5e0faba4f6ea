//! A streamed chat answer: first the plan, a list of events in which faults are events too; then the bytes of each.
use std::collections::VecDeque;

use super::answer::{Answer, Content, Finish, Piece};
use super::chance::Chance;
use super::chat::{
    Identity, output_annotation, prompt_annotation, push, push_fingerprint, push_logprobs, push_number, push_string,
    push_usage,
};
use super::fault::FilterMode;
use super::faults::{StreamFault, Verdict};

/// One thing a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Azure's first event: prompt annotations, no choices, no id.
    Prompt,
    Role {
        choice: usize,
    },
    /// A piece of text; waits for its token's time.
    Text {
        choice: usize,
        piece: usize,
    },
    /// A tool call's first fragment: id and name.
    CallStart {
        choice: usize,
        call: usize,
    },
    /// A piece of a tool call's arguments; waits for its token's time.
    CallPiece {
        choice: usize,
        call: usize,
        piece: usize,
    },
    /// The asynchronous filter's verdict on the content up to here.
    Annotation {
        choice: usize,
        pieces: usize,
    },
    Finish {
        choice: usize,
    },
    Usage,
    Done,
    Error,
    Malformed,
    Oversized {
        bytes: usize,
    },
    /// The connection is reset.
    Reset,
    /// Nothing more, and no end.
    Stall,
}

impl Event {
    pub(super) const fn is_content(self) -> bool {
        matches!(self, Self::Text { .. } | Self::CallPiece { .. })
    }
}

/// Lays out a whole stream. The body ends after the last event.
pub(super) fn plan(answer: &Answer, include_usage: bool, filter: FilterMode, verdict: &Verdict) -> VecDeque<Event> {
    let mut events = VecDeque::with_capacity(answer.usage.completion as usize + 8);
    if filter != FilterMode::Off {
        events.push_back(Event::Prompt);
    }
    events.extend((0..answer.choices.len()).map(|choice| Event::Role { choice }));
    let contents: Vec<Vec<Event>> = answer.choices.iter().enumerate().map(content_events).collect();
    let longest = contents.iter().map(Vec::len).max().unwrap_or(0);
    for position in 0..longest {
        for (choice, (content, said)) in contents.iter().zip(&answer.choices).enumerate() {
            events.extend(content.get(position));
            let is_checkpoint = position % 8 == 7 || position + 1 == content.len();
            let is_judged = filter == FilterMode::Asynchronous && said.content.is_text();
            if is_judged && is_checkpoint && position + 1 < content.len() {
                events.push_back(Event::Annotation { choice, pieces: position + 1 });
            }
        }
    }
    events.extend((0..answer.choices.len()).map(|choice| Event::Finish { choice }));
    if filter == FilterMode::Asynchronous {
        // The last verdict may follow the finish reason.
        let judged = answer.choices.iter().enumerate().filter(|(_, choice)| choice.content.is_text());
        events.extend(judged.map(|(choice, answer)| Event::Annotation { choice, pieces: answer.content.tokens() }));
    }
    if verdict.never_closes {
        events.push_back(Event::Stall);
    } else {
        events.extend(include_usage.then_some(Event::Usage));
        events.extend((!verdict.no_done).then_some(Event::Done));
    }
    if let Some((at, fault)) = verdict.stream {
        strike(&mut events, at, fault);
    }
    events
}

fn content_events((choice, answer): (usize, &super::answer::Choice)) -> Vec<Event> {
    match &answer.content {
        Content::Text(pieces) | Content::Refusal(pieces) => {
            (0..pieces.len()).map(|piece| Event::Text { choice, piece }).collect()
        }
        Content::Calls(calls) => {
            let call_events =
                calls.iter().enumerate().flat_map(|(call, fragments)| {
                    let pieces = 0..fragments.arguments.len();
                    std::iter::once(Event::CallStart { choice, call })
                        .chain(pieces.map(move |piece| Event::CallPiece { choice, call, piece }))
                });
            call_events.collect()
        }
    }
}

/// Puts a fault before content event number `at`, or, in a shorter answer, before the first finish reason.
fn strike(events: &mut VecDeque<Event>, at: usize, fault: StreamFault) {
    let content = events.iter().enumerate().filter(|(_, event)| event.is_content()).map(|(index, _)| index).nth(at);
    let finish = || events.iter().position(|event| matches!(event, Event::Finish { .. }));
    let index = content.or_else(finish).unwrap_or(events.len());
    let event = match fault {
        StreamFault::End => {
            events.truncate(index);
            return;
        }
        StreamFault::Malformed => return events.insert(index, Event::Malformed),
        StreamFault::Oversized { bytes } => return events.insert(index, Event::Oversized { bytes }),
        StreamFault::Error => Event::Error,
        StreamFault::Reset => Event::Reset,
        StreamFault::Stall => Event::Stall,
    };
    events.truncate(index);
    events.push_back(event);
}

/// Everything needed to write any event of one stream.
#[derive(Debug)]
pub(super) struct Rendering {
    pub(super) answer: Answer,
    pub(super) identity: Identity,
    pub(super) filter: FilterMode,
    pub(super) include_usage: bool,
    pub(super) logprobs: Option<usize>,
    /// Draws the lengths of `obfuscation`; `None`: left out.
    pub(super) obfuscation: Option<Chance>,
    pub(super) crlf: bool,
}

impl Rendering {
    /// Appends the event as a server-sent event. [`Event::Reset`] and [`Event::Stall`] have no bytes.
    pub(super) fn render(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Reset | Event::Stall => return,
            Event::Done => push(out, "data: [DONE]"),
            Event::Malformed => push(out, r#"data: {"choices":[{"delta":{"content":"#),
            Event::Error => push(
                out,
                r#"data: {"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","code":null,"param":null}}"#,
            ),
            Event::Prompt => {
                push(
                    out,
                    r#"data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":"#,
                );
                push(out, prompt_annotation(self.filter));
                push(out, "}]}");
            }
            Event::Annotation { choice, pieces } => self.annotation(choice, pieces, out),
            Event::Usage => {
                push(out, r#"data: {"choices":[]"#);
                self.tail(out, true);
            }
            Event::Oversized { bytes } => {
                push(out, r#"data: {"choices":[],"filler":""#);
                out.resize(out.len() + bytes, b'x');
                push(out, r#"""#);
                self.tail(out, false);
            }
            Event::Role { .. }
            | Event::Text { .. }
            | Event::CallStart { .. }
            | Event::CallPiece { .. }
            | Event::Finish { .. } => {
                self.chunk(event, out);
            }
        }
        push(out, if self.crlf { "\r\n\r\n" } else { "\n\n" });
    }

    fn chunk(&mut self, event: Event, out: &mut Vec<u8>) {
        push(out, r#"data: {"choices":[{"content_filter_results":"#);
        let (index, finish) = match event {
            Event::Finish { choice } => (choice, self.answer.choices.get(choice).map(|choice| choice.finish)),
            Event::Role { choice }
            | Event::Text { choice, .. }
            | Event::CallStart { choice, .. }
            | Event::CallPiece { choice, .. } => (choice, None),
            _ => (0, None),
        };
        push(out, self.chunk_annotation(event, finish));
        push(out, r#","delta":{"#);
        let text = self.push_delta(event, out);
        push(out, r#"},"finish_reason":"#);
        match finish {
            Some(finish) => {
                push(out, "\"");
                push(out, finish.name());
                push(out, "\"");
            }
            None => push(out, "null"),
        }
        push(out, r#","index":"#);
        push_number(out, index as u64);
        push(out, r#","logprobs":"#);
        match (self.logprobs, text) {
            (Some(most), Some((piece, is_refusal))) => push_logprobs(out, &[piece], most, is_refusal),
            _ => push(out, "null"),
        }
        push(out, "}]");
        self.tail(out, false);
    }

    /// Annotations stand beside text; beside role and finish they are empty, unless the finish is a block.
    fn chunk_annotation(&self, event: Event, finish: Option<Finish>) -> &'static str {
        match (event, finish) {
            (_, Some(Finish::ContentFilter)) => {
                output_annotation(self.filter, Finish::ContentFilter, self.answer.cites_code)
            }
            (Event::Text { .. }, _) if self.filter != FilterMode::Asynchronous => {
                output_annotation(self.filter, Finish::Stop, self.answer.cites_code)
            }
            _ => "{}",
        }
    }

    /// Writes the members of `delta`; gives back the text for log probabilities, and whether it is a refusal.
    fn push_delta(&self, event: Event, out: &mut Vec<u8>) -> Option<(Piece, bool)> {
        let content = |choice: usize| self.answer.choices.get(choice).map(|choice| &choice.content);
        match event {
            Event::Role { choice } => {
                let is_text = matches!(content(choice), Some(Content::Text(_)));
                push(
                    out,
                    if is_text {
                        r#""content":"","refusal":null,"role":"assistant""#
                    } else {
                        r#""content":null,"refusal":null,"role":"assistant""#
                    },
                );
                None
            }
            Event::Text { choice, piece } => {
                let (pieces, is_refusal) = match content(choice)? {
                    Content::Text(pieces) => (pieces, false),
                    Content::Refusal(pieces) => (pieces, true),
                    Content::Calls(_) => return None,
                };
                let piece = pieces.get(piece)?;
                push(out, if is_refusal { r#""refusal":"# } else { r#""content":"# });
                push_string(out, piece);
                self.logprobs.map(|_| (piece.clone(), is_refusal))
            }
            Event::CallStart { choice, call } => {
                let Some(Content::Calls(calls)) = content(choice) else { return None };
                let fragments = calls.get(call)?;
                push(out, r#""tool_calls":[{"function":{"arguments":"","name":"#);
                push_string(out, &fragments.name);
                push(out, r#"},"id":"#);
                push_string(out, &fragments.id);
                push(out, r#","index":"#);
                push_number(out, call as u64);
                push(out, r#","type":"function"}]"#);
                None
            }
            Event::CallPiece { choice, call, piece } => {
                let Some(Content::Calls(calls)) = content(choice) else { return None };
                let fragment = calls.get(call)?.arguments.get(piece)?;
                push(out, r#""tool_calls":[{"function":{"arguments":"#);
                push_string(out, fragment);
                push(out, r#"},"index":"#);
                push_number(out, call as u64);
                push(out, "}]");
                None
            }
            _ => None,
        }
    }

    /// Everything behind `choices`, up to the closing brace.
    fn tail(&mut self, out: &mut Vec<u8>, with_usage: bool) {
        push(out, r#","created":"#);
        push_number(out, self.identity.created);
        push(out, r#","id":""#);
        push(out, &self.identity.id);
        push(out, r#"","model":"#);
        push_string(out, &self.identity.model);
        if let Some(chance) = &mut self.obfuscation {
            const FILLER: &str = "46DpEpSEv5wHAI64OHt8FHuehWI";
            push(out, r#","obfuscation":""#);
            let (start, length) = (chance.below(10) as usize, 9 + chance.below(8) as usize);
            push(out, FILLER.get(start..start + length).unwrap_or(FILLER));
            push(out, "\"");
        }
        push(out, r#","object":"chat.completion.chunk""#);
        push_fingerprint(out, &self.identity);
        if with_usage {
            push(out, r#","usage":"#);
            push_usage(out, self.answer.usage);
        } else if self.include_usage {
            push(out, r#","usage":null"#);
        }
        push(out, "}");
    }

    /// An event of the asynchronous filter, as documented: empty id, offsets in characters, and no `delta`.
    fn annotation(&self, choice: usize, pieces: usize, out: &mut Vec<u8>) {
        let characters = match self.answer.choices.get(choice).map(|choice| &choice.content) {
            Some(Content::Text(text) | Content::Refusal(text)) => {
                text.iter().take(pieces).map(|piece| piece.chars().count()).sum()
            }
            _ => 0,
        };
        push(out, r#"data: {"choices":[{"content_filter_offsets":{"check_offset":"#);
        push_number(out, characters as u64);
        push(out, r#","end_offset":"#);
        push_number(out, characters as u64);
        push(out, r#","start_offset":0},"content_filter_results":"#);
        push(out, output_annotation(self.filter, Finish::Stop, self.answer.cites_code));
        push(out, r#","finish_reason":null,"index":"#);
        push_number(out, choice as u64);
        push(out, r#"}],"created":0,"id":"","model":"","object":""}"#);
    }
}
