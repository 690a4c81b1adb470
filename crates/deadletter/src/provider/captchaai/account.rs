//! Reads the account's state, and tells "no thread is free" from "there is no plan".
//!
//! Upstream says ERROR_ZERO_BALANCE for both. Its threads settle it: none at all, or all at work,
//! are clear. Some free is not: one may have come free between the refusal and the question. That
//! is taken for a lack of plan only when it is said twice, a pause apart, with no accepted submit
//! in between: stopping a healthy account costs minutes, one more refusal costs nothing.

use crate::provider::AccountState;
use deadletter_core::Class;
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// At most one question about threads in this time, however many submits are refused.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The state in a threadsinfo answer: integers at the top level, as numbers or as strings; or,
/// unseen but harmless, inside `request`.
pub(super) fn threads(body: &[u8]) -> Option<AccountState> {
    let body: Value = serde_json::from_slice(trimmed(body)).ok()?;
    let place = if body.get("threads").is_some() { &body } else { body.get("request")? };
    let threads = integer(place.get("threads")?)?;
    let working = place.get("working_threads").and_then(integer);
    Some(AccountState { threads: Some(threads), working, balance: None })
}

/// The balance in a getbalance answer: a bare number, or one in `request`.
pub(super) fn balance(body: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(trimmed(body)).ok()?.trim();
    let number = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => match fields.get("request")? {
            Value::String(text) => text.trim().parse().ok()?,
            value => value.as_f64()?,
        },
        _ => text.strip_prefix("OK|").unwrap_or(text).parse().ok()?,
    };
    f64::is_finite(number).then_some(number)
}

fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii()
}

fn integer(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64().and_then(|n| u32::try_from(n).ok()),
    }
}

/// What the threads say of a refusal for "zero balance".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// All threads are at work.
    Busy,
    /// There are no threads: no plan.
    NoPlan,
    /// Some are free by upstream's count.
    SomeFree,
    /// Upstream did not say.
    Silent,
}

/// What is remembered between refusals.
#[derive(Debug, Default)]
pub(super) struct ZeroBalance {
    /// Makes the question one at a time: a task that waits here finds the other's answer.
    asking: tokio::sync::Mutex<()>,
    /// Guards the last answer; never held over an await.
    last: Mutex<Option<Last>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    asked_at: Instant,
    sign: Sign,
    class: Class,
}

impl ZeroBalance {
    /// The class of a refusal: asks, unless it was asked a moment ago.
    ///
    /// `ask` gives the account's threads, or, where upstream says that the account itself is
    /// wrong, `Err(Class::Account)`; any other failure is `Err` with another class.
    pub(super) async fn class(
        &self,
        ask: impl Future<Output = Result<AccountState, Class>>,
    ) -> Class {
        let _one = self.asking.lock().await;
        let last = self.last();
        if let Some(last) = last.filter(|last| last.asked_at.elapsed() < ASK_EVERY) {
            return last.class;
        }
        let sign = match ask.await {
            Ok(state) => sign(state),
            Err(Class::Account) => Sign::NoPlan,
            Err(_) => Sign::Silent,
        };
        let was_free = last.is_some_and(|last| last.sign == Sign::SomeFree);
        let class = match sign {
            Sign::NoPlan => Class::Account,
            Sign::SomeFree if was_free => Class::Account,
            Sign::Busy | Sign::SomeFree | Sign::Silent => Class::Capacity,
        };
        self.remember(Some(Last { asked_at: Instant::now(), sign, class }));
        class
    }

    /// Upstream took a submit: so there is a plan.
    pub(super) fn accepted(&self) {
        self.remember(None);
    }

    fn last(&self) -> Option<Last> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, last: Option<Last>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

const fn sign(state: AccountState) -> Sign {
    match (state.threads, state.working) {
        (Some(0), _) => Sign::NoPlan,
        (Some(threads), Some(working)) if working >= threads => Sign::Busy,
        (Some(_), Some(_)) => Sign::SomeFree,
        _ => Sign::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn threads_of(text: &str) -> Option<(Option<u32>, Option<u32>)> {
        threads(text.as_bytes()).map(|state| (state.threads, state.working))
    }

    #[test]
    fn threads_are_numbers_or_strings_at_the_top() {
        let ten_four = Some((Some(10), Some(4)));
        assert_eq!(threads_of(r#"{"threads":10,"working_threads":4}"#), ten_four);
        assert_eq!(
            threads_of("\u{feff}{\"threads\":\"10\",\"working_threads\":\"4\"}\n"),
            ten_four
        );
        let nested = r#"{"status":1,"request":{"threads":10,"working_threads":4}}"#;
        assert_eq!(threads_of(nested), ten_four);
        assert_eq!(threads_of(r#"{"threads":10}"#), Some((Some(10), None)));
        for bad in ["", "10", "{}", r#"{"threads":-1}"#, r#"{"status":0,"request":"ERROR_X"}"#] {
            assert_eq!(threads_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_balance_is_a_bare_number_or_a_request() {
        for text in ["12.345\n", "OK|12.345", r#"{"status":1,"request":"12.345"}"#] {
            assert_eq!(balance(text.as_bytes()), Some(12.345), "{text}");
        }
        assert_eq!(balance(br#"{"status":1,"request":3}"#), Some(3.0));
        for bad in ["", "NaN", "ERROR_X", r#"{"status":0,"request":"ERROR_X"}"#] {
            assert_eq!(balance(bad.as_bytes()), None, "{bad}");
        }
    }

    fn state(threads: u32, working: u32) -> Result<AccountState, Class> {
        Ok(AccountState { threads: Some(threads), working: Some(working), balance: None })
    }

    #[tokio::test(start_paused = true)]
    async fn all_threads_at_work_is_capacity_and_none_at_all_is_the_account() {
        for (answer, class) in [
            (state(5, 5), Class::Capacity),
            (state(5, 7), Class::Capacity),
            (state(0, 0), Class::Account),
            (Err(Class::Account), Class::Account),
            (Err(Class::Transient), Class::Capacity),
        ] {
            assert_eq!(ZeroBalance::default().class(ready(answer)).await, class, "{answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn upstream_is_asked_once_in_five_seconds() {
        let zero = ZeroBalance::default();
        assert_eq!(zero.class(ready(state(5, 5))).await, Class::Capacity);
        // This question would hang if it were asked.
        assert_eq!(zero.class(pending()).await, Class::Capacity);
        tokio::time::advance(ASK_EVERY).await;
        assert_eq!(zero.class(ready(state(0, 0))).await, Class::Account);
    }

    #[tokio::test(start_paused = true)]
    async fn free_threads_mean_no_plan_only_when_said_twice_without_a_yes_between() {
        let zero = ZeroBalance::default();
        assert_eq!(zero.class(ready(state(5, 4))).await, Class::Capacity);
        tokio::time::advance(ASK_EVERY).await;
        zero.accepted();
        assert_eq!(zero.class(ready(state(5, 4))).await, Class::Capacity);
        tokio::time::advance(ASK_EVERY).await;
        assert_eq!(zero.class(ready(state(5, 4))).await, Class::Account);
    }

    #[tokio::test(start_paused = true)]
    async fn threads_that_are_all_at_work_stay_capacity_however_often_they_are_asked_for() {
        let zero = ZeroBalance::default();
        for _ in 0..3 {
            assert_eq!(zero.class(ready(state(5, 5))).await, Class::Capacity);
            tokio::time::advance(ASK_EVERY).await;
        }
    }
}
