//! A streamed completion put together again: the reply that the unary call would have given, field for field.
use super::{
    ChatEvent, ChatReply, Choice, ContentFilterResults, Delta, FinishReason, LogProbs, Part, ToolCall, UrlCitation,
};

/// Collects the events of one stream.
#[derive(Debug, Default)]
pub struct ReplyAssembly {
    reply: ChatReply,
    drafts: Vec<Draft>,
}

#[derive(Debug, Default)]
struct Draft {
    index: u32,
    text: String,
    refusal: String,
    tool_calls: Vec<(u32, ToolCall)>,
    finish_reason: Option<FinishReason>,
    filter: ContentFilterResults,
    logprobs: Option<LogProbs>,
    url_citations: Vec<UrlCitation>,
}

impl ReplyAssembly {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event.
    pub fn push(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Header(header) => self.reply.header = header,
            ChatEvent::PromptFilter(results) => self.reply.prompt_filter = results,
            ChatEvent::Delta(delta) => self.draft(delta.choice).extend(delta),
            ChatEvent::Finish { choice, reason, filter } => {
                let draft = self.draft(choice);
                draft.finish_reason = Some(reason);
                draft.filter.merge(filter);
            }
            ChatEvent::FilterAnnotation { choice, filter, .. } => self.draft(choice).filter.merge(filter),
            ChatEvent::Usage(usage) => self.reply.usage = Some(usage),
        }
    }

    /// The reply, choices by index. Choices without a finish reason are left out: the caller has checked with
    /// [`StreamProgress`](super::StreamProgress) that there are none.
    pub fn finish(mut self) -> ChatReply {
        self.drafts.sort_by_key(|draft| draft.index);
        self.reply.choices = self.drafts.into_iter().filter_map(Draft::into_choice).collect();
        self.reply
    }

    fn draft(&mut self, index: u32) -> &mut Draft {
        let at = self.drafts.iter().position(|draft| draft.index == index).unwrap_or_else(|| {
            self.drafts.push(Draft { index, ..Draft::default() });
            self.drafts.len() - 1
        });
        &mut self.drafts[at]
    }
}

impl Draft {
    fn extend(&mut self, delta: Delta) {
        append(&mut self.text, delta.text);
        append(&mut self.refusal, delta.refusal);
        for piece in delta.tool_calls {
            let at = self.tool_calls.iter().position(|(index, _)| *index == piece.index).unwrap_or_else(|| {
                self.tool_calls.push((piece.index, ToolCall::default()));
                self.tool_calls.len() - 1
            });
            let call = &mut self.tool_calls[at].1;
            // Only the first piece carries id and name; a repeated one says the same.
            if let Some(id) = piece.id {
                call.id = id;
            }
            if let Some(name) = piece.name {
                call.name = name;
            }
            append(&mut call.arguments_json, piece.arguments_fragment);
        }
        if let Some(logprobs) = delta.logprobs {
            let all = self.logprobs.get_or_insert_default();
            all.content.extend(logprobs.content);
            all.refusal.extend(logprobs.refusal);
        }
        self.filter.merge(delta.filter);
        self.url_citations.extend(delta.url_citations);
    }

    fn into_choice(mut self) -> Option<Choice> {
        let finish_reason = self.finish_reason?;
        let mut content = Vec::new();
        let mut tool_calls = Vec::new();
        let mut logprobs = None;
        let mut url_citations = Vec::new();
        // Azure's unary form withholds a filtered answer whole; what was streamed before the verdict must not
        // slip through here.
        if finish_reason != FinishReason::ContentFilter {
            if !self.text.is_empty() {
                content.push(Part::Text(self.text));
            }
            if !self.refusal.is_empty() {
                content.push(Part::Refusal(self.refusal));
            }
            self.tool_calls.sort_by_key(|(index, _)| *index);
            tool_calls = self.tool_calls.into_iter().map(|(_, call)| call).collect();
            logprobs = self.logprobs;
            url_citations = self.url_citations;
        }
        self.filter.verdicts.sort_by(|a, b| a.category.cmp(&b.category));
        let (index, filter) = (self.index, self.filter);
        Some(Choice { index, content, tool_calls, finish_reason, filter, logprobs, url_citations })
    }
}

/// Takes the first piece as it is: most calls come in one allocation then.
fn append(text: &mut String, piece: String) {
    if text.is_empty() {
        *text = piece;
    } else {
        text.push_str(&piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ContentFilterVerdict, Severity, ToolCallDelta};

    fn text(choice: u32, text: &str) -> ChatEvent {
        ChatEvent::Delta(Delta { choice, text: text.into(), ..Delta::default() })
    }

    fn finish(choice: u32, reason: FinishReason) -> ChatEvent {
        ChatEvent::Finish { choice, reason, filter: ContentFilterResults::default() }
    }

    fn assemble(events: impl IntoIterator<Item = ChatEvent>) -> ChatReply {
        let mut assembly = ReplyAssembly::new();
        events.into_iter().for_each(|event| assembly.push(event));
        assembly.finish()
    }

    fn graded(category: &str, severity: Severity) -> ContentFilterResults {
        let verdict = ContentFilterVerdict {
            category: category.to_owned().into(),
            filtered: false,
            detected: None,
            severity: Some(severity),
            grounds: None,
        };
        ContentFilterResults { verdicts: vec![verdict], unfiltered: false }
    }

    #[test]
    fn interleaved_choices_come_out_by_index() {
        let reply = assemble([
            text(1, "b"),
            text(0, "a"),
            text(1, "B"),
            text(0, "A"),
            finish(1, FinishReason::Stop),
            finish(0, FinishReason::Length),
        ]);
        let told: Vec<_> = reply.choices.iter().map(|c| (c.index, c.content.clone(), c.finish_reason)).collect();
        assert_eq!(
            told,
            [
                (0, vec![Part::Text("aA".into())], FinishReason::Length),
                (1, vec![Part::Text("bB".into())], FinishReason::Stop)
            ]
        );
    }

    #[test]
    fn tool_calls_are_joined_by_their_index() {
        let piece = |index, id: Option<&str>, name: Option<&str>, fragment: &str| {
            let call = ToolCallDelta {
                index,
                id: id.map(Into::into),
                name: name.map(Into::into),
                arguments_fragment: fragment.into(),
            };
            ChatEvent::Delta(Delta { tool_calls: vec![call], ..Delta::default() })
        };
        let reply = assemble([
            piece(1, Some("call_b"), Some("g"), ""),
            piece(0, Some("call_a"), Some("f"), "{\"x\""),
            piece(0, None, None, ":1}"),
            piece(1, None, None, "{}"),
            finish(0, FinishReason::ToolCalls),
        ]);
        let call = |id: &str, name: &str, arguments: &str| ToolCall {
            id: id.into(),
            name: name.into(),
            arguments_json: arguments.into(),
        };
        assert_eq!(reply.choices[0].tool_calls, [call("call_a", "f", "{\"x\":1}"), call("call_b", "g", "{}")]);
        assert!(reply.choices[0].content.is_empty());
    }

    #[test]
    fn a_filtered_choice_carries_no_partial_content() {
        let reply = assemble([text(0, "half a sen"), finish(0, FinishReason::ContentFilter)]);
        assert!(reply.choices[0].content.is_empty());
        assert_eq!(reply.choices[0].finish_reason, FinishReason::ContentFilter);
    }

    #[test]
    fn verdicts_of_all_pieces_become_the_worst_one() {
        let with = |filter| ChatEvent::Delta(Delta { text: "x".into(), filter, ..Delta::default() });
        let reply = assemble([
            with(graded("violence", Severity::Safe)),
            with(graded("hate", Severity::Low)),
            with(graded("hate", Severity::Safe)),
            finish(0, FinishReason::Stop),
        ]);
        let told: Vec<_> = reply.choices[0].filter.verdicts.iter().map(|v| (&*v.category, v.severity)).collect();
        assert_eq!(told, [("hate", Some(Severity::Low)), ("violence", Some(Severity::Safe))]);
    }
}
