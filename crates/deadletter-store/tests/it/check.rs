//! What must hold in any store after anything: conservation, and that rows, attempts, answers and
//! counts tell the same story.

use crate::harness::{CANARY, Harness, MANY};
use deadletter_core::{Attempt, DeliveryState, StateKind, Task, counts::Dim, invariants};
use deadletter_store::{DeliveryCounts, Totals};
use std::collections::BTreeMap;

impl Harness {
    /// Checks all of it.
    pub(crate) async fn check(&self) {
        let totals = self.store.totals().await.unwrap();
        assert_eq!(totals, self.store.recount().await.unwrap(), "counts and rows differ");
        assert!(totals.is_conserved(), "{totals:?}");
        self.check_census(&totals).await;

        let all = self.store.page(&self.everything()).await.unwrap();
        assert_eq!(all.next, None);
        assert_eq!(i64::try_from(all.tasks.len()), Ok(totals.standing()));
        let mut permits = BTreeMap::new();
        for task in &all.tasks {
            for attempt in self.check_task(task).await {
                let holds = attempt.holds_permit(self.now());
                *permits.entry(attempt.account).or_insert(0) += u32::from(holds);
            }
        }
        self.check_deliveries(&all.tasks).await;
        for (account, lent) in permits {
            let counted = self.store.permits(&account, self.now()).await.unwrap();
            assert_eq!(counted, lent, "permits of {account}");
        }
    }

    /// Deliveries are those of tasks that stand and tell somebody, and are counted.
    async fn check_deliveries(&self, tasks: &[Task]) {
        let mut found = DeliveryCounts::default();
        for task in tasks {
            for delivery in self.store.deliveries(task.id, MANY).await.unwrap() {
                assert_eq!(Some(&delivery.place), task.place.as_ref());
                assert!(delivery.version <= task.version && delivery.ended.is_terminal());
                let waits = delivery.state == DeliveryState::Waiting;
                assert_eq!(
                    (delivery.due_at.is_some(), delivery.settled_at.is_none()),
                    (waits, waits)
                );
                *found.of(delivery.state) += 1;
            }
        }
        assert_eq!(self.store.count_deliveries().await.unwrap(), found);
    }

    async fn check_census(&self, totals: &Totals) {
        let rows = self.store.census(&[], Dim::All, MANY).await.unwrap();
        assert!(rows.iter().all(|(_, n)| *n > 0), "{rows:?}");
        assert_eq!(rows.iter().map(|(_, n)| n).sum::<i64>(), totals.standing());
        // Every dead letter has a method and an account.
        let at_rest = [StateKind::Dead, StateKind::Buried];
        for dim in [Dim::All, Dim::Method, Dim::Account] {
            let rows = self.store.census(&at_rest, dim, MANY).await.unwrap();
            let sum = rows.iter().map(|(_, n)| n).sum::<i64>();
            assert_eq!(sum, totals.dead + totals.buried, "by {dim}");
        }
    }

    /// Checks one task, and answers its attempts.
    async fn check_task(&self, task: &Task) -> Vec<Attempt> {
        let history = self.store.history(task.id).await.unwrap();
        let violations = invariants::check(task, &history);
        assert!(violations.is_empty(), "{violations:#?}\n{task:#?}\n{history:#?}");
        assert!(history.is_sorted_by_key(|attempt| attempt.n));
        if let Some(token) = task.answered_by {
            assert_eq!(self.store.answer(task.id).await.unwrap().unwrap().token, token);
        }

        assert!(self.store.payload(task.id).await.unwrap().is_some());
        let shown = serde_json::to_string(&(task, &history)).unwrap();
        assert!(!shown.contains(CANARY), "a secret stands outside payload and answer: {shown}");
        history
    }
}
