//! What Azure's content filter says; an unfiltered or withheld answer is a compliance fact, so it is kept.
use std::borrow::Cow;

/// Verdicts on one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContentFilterResults {
    /// One for each category the deployment's filter looks at, in Azure's order.
    pub verdicts: Vec<ContentFilterVerdict>,
    /// The filter itself failed and the text came unfiltered.
    pub unfiltered: bool,
}

impl ContentFilterResults {
    /// The filter said nothing: it is off, or had nothing to say of this piece.
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty() && !self.unfiltered
    }

    /// The filter found something, or failed: more than "safe" in every category.
    pub fn is_remarkable(&self) -> bool {
        self.unfiltered || self.verdicts.iter().any(ContentFilterVerdict::is_remarkable)
    }

    /// Adds the verdicts on a further piece of the same text: one for each category, the worst of all pieces.
    pub fn merge(&mut self, piece: Self) {
        self.unfiltered |= piece.unfiltered;
        // The usual case, since most pieces say "safe" of the same categories.
        if self.verdicts == piece.verdicts {
            return;
        }
        for verdict in piece.verdicts {
            match self.verdicts.iter_mut().find(|known| known.category == verdict.category) {
                Some(known) => {
                    known.filtered |= verdict.filtered;
                    known.detected = known.detected.max(verdict.detected);
                    known.severity = known.severity.max(verdict.severity);
                    match (&mut known.grounds, verdict.grounds) {
                        (Some(known), Some(piece)) => known.merge(*piece),
                        (known @ None, piece) => *known = piece,
                        (Some(_), None) => {}
                    }
                }
                None => self.verdicts.push(verdict),
            }
        }
    }
}

/// One category's verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContentFilterVerdict {
    /// Azure's name of it, such as `hate` or `jailbreak`.
    pub category: Cow<'static, str>,
    /// The text was withheld for it.
    pub filtered: bool,
    /// Found; detection categories only.
    pub detected: Option<bool>,
    /// Graded categories only.
    pub severity: Option<Severity>,
    /// What it rests on, where Azure says so.
    pub grounds: Option<Box<FilterGrounds>>,
}

/// What a verdict rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterGrounds {
    /// Where code of the answer is published.
    pub citation: Option<CodeCitation>,
    /// Blocklists, topics, sub-categories or passages, in Azure's order.
    pub details: Vec<FilterDetail>,
}

impl FilterGrounds {
    /// Adds those of a further piece of the same text: what is found again is found once.
    fn merge(&mut self, piece: Self) {
        self.citation = self.citation.take().or(piece.citation);
        for detail in piece.details {
            match self.details.iter_mut().find(|known| known.is_about(&detail)) {
                Some(known) => {
                    known.filtered |= detail.filtered;
                    known.detected |= detail.detected;
                    known.redacted |= detail.redacted;
                }
                None => self.details.push(detail),
            }
        }
    }
}

/// Where code of an answer is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeCitation {
    /// Address of the repository.
    pub uri: String,
    /// Its licence as Azure names it.
    pub license: String,
}

/// One ground of a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterDetail {
    /// Name of the blocklist, topic or sub-category; empty for a passage.
    pub id: String,
    /// The text was withheld for it.
    pub filtered: bool,
    /// Found.
    pub detected: bool,
    /// Replaced in the text.
    pub redacted: bool,
    /// Passages only: the first character.
    pub start_offset: i32,
    /// Passages only: one past the last character.
    pub end_offset: i32,
}

impl FilterDetail {
    fn is_about(&self, other: &Self) -> bool {
        (&self.id, self.start_offset, self.end_offset) == (&other.id, other.start_offset, other.end_offset)
    }
}

impl ContentFilterVerdict {
    /// The filter found something: more than "safe".
    pub fn is_remarkable(&self) -> bool {
        self.filtered || self.detected == Some(true) || self.severity.is_some_and(|severity| severity > Severity::Safe)
    }
}

/// Severity of a graded category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Azure's own words
pub enum Severity {
    Safe,
    Low,
    Medium,
    High,
}

/// Verdicts on one prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptFilterResult {
    /// 0-based index of the prompt.
    pub prompt_index: u32,
    /// The verdicts.
    pub results: ContentFilterResults,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(filtered: bool, detected: Option<bool>, severity: Option<Severity>) -> ContentFilterVerdict {
        ContentFilterVerdict { category: "hate".into(), filtered, detected, severity, grounds: None }
    }

    #[test]
    fn grounds_of_all_pieces_are_kept_once() {
        let detail = |id: &str, found| FilterDetail {
            id: id.into(),
            filtered: found,
            detected: found,
            redacted: found,
            ..FilterDetail::default()
        };
        let passage = |start_offset| FilterDetail { start_offset, end_offset: 9, ..FilterDetail::default() };
        let results = |uri: Option<&str>, details: &[FilterDetail]| {
            let citation = uri.map(|uri| CodeCitation { uri: uri.into(), license: "MIT".into() });
            let grounds = Some(Box::new(FilterGrounds { citation, details: details.to_vec() }));
            let verdicts = vec![ContentFilterVerdict { grounds, ..verdict(false, None, None) }];
            ContentFilterResults { verdicts, unfiltered: false }
        };
        let mut whole = ContentFilterResults { verdicts: vec![verdict(false, None, None)], unfiltered: false };
        whole.merge(results(None, &[detail("list", false), passage(1)]));
        whole.merge(results(Some("first"), &[detail("list", true), passage(2)]));
        whole.merge(results(Some("second"), &[passage(1), detail("list", true)]));
        whole.merge(results(None, &[detail("list", false)]));
        whole.merge(ContentFilterResults { verdicts: vec![verdict(false, None, None)], unfiltered: false });
        assert_eq!(whole, results(Some("first"), &[detail("list", true), passage(1), passage(2)]));
    }

    #[test]
    fn what_is_remarkable() {
        for (verdict, remarkable) in [
            (verdict(false, None, None), false),
            (verdict(false, Some(false), Some(Severity::Safe)), false),
            (verdict(true, None, Some(Severity::Safe)), true),
            (verdict(false, Some(true), None), true),
            (verdict(false, None, Some(Severity::Low)), true),
            (verdict(false, None, Some(Severity::High)), true),
        ] {
            let results = ContentFilterResults { verdicts: vec![verdict.clone()], unfiltered: false };
            assert_eq!(results.is_remarkable(), remarkable, "{verdict:?}");
            assert!(!results.is_empty());
        }
        let unfiltered = ContentFilterResults { unfiltered: true, ..ContentFilterResults::default() };
        assert!(unfiltered.is_remarkable() && !unfiltered.is_empty());
        assert!(ContentFilterResults::default().is_empty() && !ContentFilterResults::default().is_remarkable());
    }

    #[test]
    fn the_worst_of_all_pieces_is_kept() {
        let results = |verdict| ContentFilterResults { verdicts: vec![verdict], unfiltered: false };
        let mut whole = results(verdict(false, Some(false), Some(Severity::Low)));
        whole.merge(results(verdict(true, Some(true), Some(Severity::Safe))));
        assert_eq!(whole, results(verdict(true, Some(true), Some(Severity::Low))));
        whole.merge(results(verdict(false, None, Some(Severity::High))));
        assert_eq!(whole, results(verdict(true, Some(true), Some(Severity::High))), "nothing is taken back");
        let other = ContentFilterVerdict { category: "violence".into(), ..verdict(false, None, None) };
        whole.merge(ContentFilterResults { verdicts: vec![other.clone()], unfiltered: true });
        assert_eq!(whole.verdicts, [verdict(true, Some(true), Some(Severity::High)), other]);
        whole.merge(ContentFilterResults::default());
        assert!(whole.unfiltered);
    }
}
