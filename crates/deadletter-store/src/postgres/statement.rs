//! A statement with its parameters, each under the type that it goes out with.
//!
//! Values are encoded where they are put in: what cannot be sent is known before anything is.

use super::failure::Outcome;
use crate::Error;
use bytes::BytesMut;
use std::{borrow::Cow, error::Error as StdError};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// PostgreSQL hangs up on whoever sends a longer message than 1 GiB. Some of it is left to the
/// statement's text and what frames the values.
const LONGEST: usize = (1 << 30) - (1 << 20);

/// A value that a statement may carry.
///
/// The server is told the type with the value, so a statement costs no question before it: it is
/// read, bound and run in one message, and leaves nothing behind in the session.
pub(super) trait Typed: ToSql {
    const TYPE: Type;
}

macro_rules! typed {
    ($($value:ty: $one:ident, $many:ident;)+) => { $(
        impl Typed for $value { const TYPE: Type = Type::$one; }
        impl Typed for Option<$value> { const TYPE: Type = Type::$one; }
        impl Typed for Vec<$value> { const TYPE: Type = Type::$many; }
        impl Typed for Vec<Option<$value>> { const TYPE: Type = Type::$many; }
    )+ };
}

typed! {
    i64: INT8, INT8_ARRAY;
    i32: INT4, INT4_ARRAY;
    i16: INT2, INT2_ARRAY;
    bool: BOOL, BOOL_ARRAY;
    String: TEXT, TEXT_ARRAY;
    Vec<u8>: BYTEA, BYTEA_ARRAY;
}

/// A value as it goes out; none for NULL.
#[derive(Debug)]
struct Encoded(Option<BytesMut>);

impl ToSql for Encoded {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(bytes) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// SQL that stands in the program, and what it is run with.
pub(super) struct Statement {
    pub(super) sql: Cow<'static, str>,
    params: Vec<(Encoded, Type)>,
    /// Of all its values.
    bytes: usize,
    /// Why a value of it cannot be encoded.
    flaw: Option<String>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), params: Vec::new(), bytes: 0, flaw: None }
    }

    /// Adds the next parameter: `$1`, `$2`, ...
    #[must_use]
    pub(super) fn put<T: Typed>(mut self, value: T) -> Self {
        let mut bytes = BytesMut::new();
        let encoded = match value.to_sql(&T::TYPE, &mut bytes) {
            Ok(IsNull::No) => Encoded(Some(bytes)),
            Ok(IsNull::Yes) => Encoded(None),
            Err(error) => {
                self.flaw = Some(error.to_string());
                Encoded(None)
            }
        };
        self.bytes += encoded.0.as_ref().map_or(0, BytesMut::len);
        self.params.push((encoded, T::TYPE));
        self
    }

    /// The same for text that is not ours.
    #[must_use]
    pub(super) fn text(self, value: &str) -> Self {
        self.put(value.to_owned())
    }

    /// The parameters as the driver takes them.
    pub(super) fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.params.iter().map(|(value, kind)| (value as _, kind.clone())).collect()
    }

    /// Errors: `Refused` where it holds what cannot be sent.
    pub(super) fn refuse_unsendable(&self) -> Outcome<()> {
        let why = match &self.flaw {
            Some(flaw) => flaw.clone(),
            None if self.bytes > LONGEST => format!("{} bytes are too many at once", self.bytes),
            None => return Ok(()),
        };
        Err(Error::Refused(format!("PostgreSQL cannot be sent this: {why}")).into())
    }
}
