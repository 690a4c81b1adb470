//! The async shell of [`Deliveries`].

use super::SqliteStore;
use crate::{Among, Deliveries, DeliveryCounts, Due, NextDelivery, Result, sqlite::deliveries};
use async_trait::async_trait;
use deadletter_core::{Delivery, Settlement, TaskId};

#[async_trait]
impl Deliveries for SqliteStore {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        let due = due.clone();
        self.write("take deliveries", move |session| deliveries::take(session, &due)).await
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        let settled = settled.to_vec();
        self.write("settle deliveries", move |session| deliveries::settle(session, &settled)).await
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        let among = among.clone();
        self.read("find the next delivery", move |conn| deliveries::next_due(conn, &among)).await
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        self.read("get deliveries", move |conn| deliveries::of(conn, task, limit)).await
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        self.read("count deliveries", deliveries::count).await
    }
}
