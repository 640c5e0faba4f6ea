//! What is wrong with a request, field by field.

/// Every field of a request that cannot be used, with the path a caller would write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

/// One field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as `messages[2].content[0].text`.
    pub field: String,
    /// What it must be. Never quotes the caller's content.
    pub description: String,
}

impl Violations {
    /// None so far.
    pub fn none() -> Self {
        Self::default()
    }

    /// Notes one.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        // A request of a million bad parts needs no million lines to be mended.
        if self.0.len() < 32 {
            self.0.push(Violation { field: field.into(), description: description.into() });
        }
    }

    /// Notes one unless the condition holds.
    pub fn require(&mut self, holds: bool, field: impl Into<String>, description: impl Into<String>) {
        if !holds {
            self.add(field, description);
        }
    }

    /// The value, if nothing was noted.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }
}
