//! How many second attempts the service may make: a share of its calls, so that an outage is not met with a storm.

/// A token bucket that calls fill and retries empty.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// Hundredths of a retry.
    balance: u32,
    percent: u32,
}

impl RetryBudget {
    /// Lets a quiet service retry at all, and bounds the burst after a long calm.
    const MOST: u32 = 10 * 100;

    pub(super) fn new(percent: u32) -> Self {
        Self { balance: if percent == 0 { 0 } else { Self::MOST }, percent }
    }

    /// Another share from now on; what is saved stays saved.
    pub(super) fn go_by(&mut self, percent: u32) {
        self.percent = percent;
    }

    /// A call was admitted.
    pub(super) fn deposit(&mut self) {
        self.balance = (self.balance + self.percent).min(Self::MOST);
    }

    /// Takes one retry out, if there is one.
    pub(super) fn withdraw(&mut self) -> bool {
        let enough = self.balance >= 100;
        if enough {
            self.balance -= 100;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_calls_earn_one_retry() {
        let mut budget = RetryBudget::new(10);
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10, "the opening balance");
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw());
        assert!(!budget.withdraw());
    }

    #[test]
    fn another_share_holds_from_now_on() {
        let mut budget = RetryBudget::new(10);
        while budget.withdraw() {}
        budget.go_by(50);
        budget.deposit();
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw());
    }

    #[test]
    fn no_percentage_means_no_retry() {
        let mut budget = RetryBudget::new(0);
        (0..1000).for_each(|_| budget.deposit());
        assert!(!budget.withdraw());
    }
}
