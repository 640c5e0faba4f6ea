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
                }
                None => self.verdicts.push(verdict),
            }
        }
    }
}

/// One category's verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentFilterVerdict {
    /// Azure's name of it, such as `hate` or `jailbreak`.
    pub category: Cow<'static, str>,
    /// The text was withheld for it.
    pub filtered: bool,
    /// Found; detection categories only.
    pub detected: Option<bool>,
    /// Graded categories only.
    pub severity: Option<Severity>,
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
        ContentFilterVerdict { category: "hate".into(), filtered, detected, severity }
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
