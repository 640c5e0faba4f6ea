//! Who may use a service that is not for everybody.

/// Who may use a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it does not exist.
    Nobody,
    /// Callers that may act on the router.
    Operators,
    /// Every caller.
    Callers,
    /// Whoever reaches the service.
    Anyone,
}
