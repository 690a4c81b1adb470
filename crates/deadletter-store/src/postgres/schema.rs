//! The tables of the PostgreSQL store, and the list of steps that leads to them.
//!
//! Everything of a store lies in one schema of a database, with `schema_version` beside the
//! tables. Whoever opens it brings it up to date, one at a time, all steps in one transaction.
//! Words (states, causes, verdicts) are stored as their labels, so that people can query them.

use super::{
    connect::Connection,
    failure::{Failure, Outcome, told},
    statement::Statement,
};
use crate::Error;
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

/// Each entry leads from its index to the next version; entries are never edited once released.
pub(super) const STEPS: &[&[&str]] =
    &[&[include_str!("schema/tasks.sql"), include_str!("schema/registry.sql")]];

/// Which lock is taken: ours, whatever else takes locks of this kind in the database. "dlq2" in
/// ASCII, as in the header of an SQLite store.
const LOCK: i32 = 0x646c_7132;

/// Asks the catalogue itself: `to_regclass` may answer from before the lock was taken.
const STANDS: &str = "SELECT 1 FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace \
     WHERE n.nspname = $1 AND relname = 'schema_version'";

/// Whose schema it is.
pub(super) struct Schema<'s> {
    /// A name that needs no quotes.
    pub(super) name: &'s str,
    /// The store's URL without secrets, for messages.
    pub(super) store: &'s str,
}

impl Schema<'_> {
    /// Brings the schema to the newest version; where nothing stands, it is made only if `create`.
    ///
    /// Errors: `Missing`; `TooNew` for a schema that a newer program wrote; `Refused` for one that
    /// holds something else. Nothing is written then.
    pub(super) async fn upgrade(
        &self,
        connection: &Connection,
        steps: &[&[&str]],
        create: bool,
    ) -> Outcome<()> {
        match self.version(connection, steps.len()).await? {
            Some(found) if found == steps.len() => return Ok(()),
            None if !create => return Err(Error::Missing(self.store.to_owned()).into()),
            _ => {}
        }
        // A lock of the transaction, so that it holds behind a pooler too.
        connection
            .run(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK}, {})", self.key()))
            .await?;
        let upgraded = self.apply(connection, steps).await;
        connection.run(if upgraded.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        upgraded
    }

    /// Two stores in one database may be brought up to date at the same time; that they are not is no harm.
    fn key(&self) -> i32 {
        self.name.bytes().fold(0, |key: i32, byte| key.wrapping_mul(31).wrapping_add(byte.into()))
    }

    async fn apply(&self, connection: &Connection, steps: &[&[&str]]) -> Outcome<()> {
        // Read again under the lock: another process may have been faster.
        let found = self.version(connection, steps.len()).await?;
        if found == Some(steps.len()) {
            return Ok(());
        }
        let Self { name, .. } = self;
        let stands = Statement::new("SELECT 1 FROM pg_namespace WHERE nspname = $1").text(name);
        if connection.ask(&stands).await?.is_empty() {
            connection
                .run(&format!("CREATE SCHEMA \"{name}\""))
                .await
                .map_err(|e| self.explain(e))?;
        }
        connection.run(&format!("SET LOCAL search_path = \"{name}\"")).await?;
        let missing: Vec<&str> =
            steps.iter().skip(found.unwrap_or(0)).copied().flatten().copied().collect();
        for sql in missing {
            connection.run(sql).await.map_err(|e| self.explain(e))?;
        }
        if found.is_none() {
            let sql = "CREATE TABLE schema_version (n integer NOT NULL)";
            connection.run(sql).await.map_err(|e| self.explain(e))?;
        }
        let known = steps.len();
        let sql =
            format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({known})");
        connection.run(&sql).await.map(drop)
    }

    /// Its version; none where there is no store.
    async fn version(&self, connection: &Connection, known: usize) -> Outcome<Option<usize>> {
        let table = format!("\"{}\".schema_version", self.name);
        if connection.ask(&Statement::new(STANDS).text(self.name)).await?.is_empty() {
            return Ok(None);
        }
        let rows = connection.run(&format!("SELECT n FROM {table}")).await?;
        let found = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok(),
            _ => None,
        });
        match found.and_then(|found| Some((found, usize::try_from(found).ok()?))) {
            Some((_, n)) if n <= known => Ok(Some(n)),
            Some((found, _)) => Err(Error::TooNew {
                store: self.store.to_owned(),
                found,
                known: i64::try_from(known).unwrap_or(i64::MAX),
            }
            .into()),
            None => Err(Error::Damaged {
                what: format!("{table} at {} holds no version", self.store),
                source: None,
            }
            .into()),
        }
    }

    /// What a person can do about a step that the server refuses.
    fn explain(&self, failure: Failure) -> Failure {
        let Failure::Sql(error) = &failure else { return failure };
        let name = self.name;
        match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                let what = format!(
                    "make the schema {name}: this role has no right to; let an administrator run \
                     CREATE SCHEMA {name} AUTHORIZATION, with the role's name behind it"
                );
                Error::ReadOnly { what, source: Some(told(error).into()) }.into()
            }
            Some(code) if *code == SqlState::DUPLICATE_TABLE => Error::Refused(format!(
                "the schema {name} holds tables of something else, and they were left alone"
            ))
            .into(),
            _ => failure,
        }
    }
}
