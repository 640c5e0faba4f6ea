//! When a streamed completion is whole (design section 3): every choice has its finish reason, and then `[DONE]`,
//! the end of the body or two seconds of silence. Everything else is cut, and never a success.
use std::time::Duration;

use super::ChatEvent;

/// How far a streamed completion has come.
#[derive(Clone, Debug)]
pub struct StreamProgress {
    expected_choices: u32,
    finished: Vec<u32>,
    annotations_seen: bool,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The answer is complete.
    Whole,
    /// It is not, and must not be passed off as complete.
    Cut,
}

impl StreamProgress {
    /// How long usage and `[DONE]` are waited for once every choice is finished. Azure may leave the connection
    /// open for ever (fault 22), and the answer is complete without them.
    pub const TAIL_PATIENCE: Duration = Duration::from_secs(2);

    /// For a request that asked for this many choices.
    pub fn new(expected_choices: u32) -> Self {
        Self { expected_choices, finished: Vec::new(), annotations_seen: false }
    }

    /// Takes note of an event.
    pub fn observe(&mut self, event: &ChatEvent) {
        match event {
            ChatEvent::Finish { choice, .. } => {
                // A choice that was not asked for must not stand in for one that was.
                if *choice < self.expected_choices && !self.finished.contains(choice) {
                    self.finished.push(*choice);
                }
            }
            ChatEvent::FilterAnnotation { .. } => self.annotations_seen = true,
            ChatEvent::Header(_) | ChatEvent::PromptFilter(_) | ChatEvent::Delta(_) | ChatEvent::Usage(_) => {}
        }
    }

    /// Every choice has its finish reason: from here on only the tail is waited for.
    pub fn all_finished(&self) -> bool {
        self.finished.len() >= self.expected_choices as usize
    }

    /// Whether the event speaks of a choice that was not asked for: no answer to this request.
    pub fn is_foreign(&self, event: &ChatEvent) -> bool {
        match event {
            ChatEvent::Delta(delta) => delta.choice >= self.expected_choices,
            ChatEvent::Finish { choice, .. } | ChatEvent::FilterAnnotation { choice, .. } => {
                *choice >= self.expected_choices
            }
            ChatEvent::Header(_) | ChatEvent::PromptFilter(_) | ChatEvent::Usage(_) => false,
        }
    }

    /// `[DONE]` arrived.
    pub fn at_done(&self) -> StreamEnd {
        if self.all_finished() { StreamEnd::Whole } else { StreamEnd::Cut }
    }

    /// The body ended, the connection broke or the tail stayed silent, without `[DONE]`. With the asynchronous
    /// filter a verdict may still be missing then, so `[DONE]` is required.
    pub fn at_silence(&self) -> StreamEnd {
        if self.all_finished() && !self.annotations_seen { StreamEnd::Whole } else { StreamEnd::Cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ContentFilterResults, Delta, FinishReason, Usage};

    fn finish(choice: u32) -> ChatEvent {
        ChatEvent::Finish { choice, reason: FinishReason::Stop, filter: ContentFilterResults::default() }
    }

    fn annotation() -> ChatEvent {
        ChatEvent::FilterAnnotation {
            choice: 0,
            filter: ContentFilterResults::default(),
            check_offset: 0,
            start_offset: 0,
            end_offset: 0,
        }
    }

    #[test]
    fn the_table_of_endings() {
        use StreamEnd::{Cut, Whole};
        let text = || ChatEvent::Delta(Delta { text: "a".into(), ..Delta::default() });
        let usage = || ChatEvent::Usage(Usage::default());
        for (name, choices, events, at_done, at_silence) in [
            ("nothing", 1, vec![], Cut, Cut),
            ("text only", 1, vec![text()], Cut, Cut),
            ("text and usage, no finish", 1, vec![text(), usage()], Cut, Cut),
            ("finished", 1, vec![text(), finish(0)], Whole, Whole),
            ("finished, usage", 1, vec![text(), finish(0), usage()], Whole, Whole),
            ("one of two choices", 2, vec![finish(0)], Cut, Cut),
            ("the same choice twice", 2, vec![finish(0), finish(0)], Cut, Cut),
            ("both choices", 2, vec![finish(1), finish(0)], Whole, Whole),
            ("a choice that was not asked for", 2, vec![finish(0), finish(7)], Cut, Cut),
            ("asynchronous filter", 1, vec![annotation(), finish(0)], Whole, Cut),
            ("asynchronous filter after the finish", 1, vec![finish(0), annotation()], Whole, Cut),
        ] {
            let mut progress = StreamProgress::new(choices);
            events.iter().for_each(|event| progress.observe(event));
            assert_eq!(progress.at_done(), at_done, "{name}: [DONE]");
            assert_eq!(progress.at_silence(), at_silence, "{name}: silence");
        }
    }

    #[test]
    fn a_choice_that_was_not_asked_for_is_foreign() {
        let progress = StreamProgress::new(2);
        for (choice, foreign) in [(0, false), (1, false), (2, true)] {
            let delta = ChatEvent::Delta(Delta { choice, ..Delta::default() });
            let ChatEvent::FilterAnnotation { filter, .. } = annotation() else { return };
            let annotation =
                ChatEvent::FilterAnnotation { choice, filter, check_offset: 0, start_offset: 0, end_offset: 0 };
            for event in [delta, finish(choice), annotation] {
                assert_eq!(progress.is_foreign(&event), foreign, "{event:?}");
            }
        }
        assert!(!progress.is_foreign(&ChatEvent::Usage(Usage::default())));
        let mut progress = StreamProgress::new(1);
        progress.observe(&finish(1));
        assert!(!progress.all_finished(), "nor does it finish the one that was");
    }
}
