//! SQLite's records: how a row lies in a page, from its bytes.
//!
//! After "Database File Format", sections 2.1 (variable-length integers) and 2.3 (record format) of
//! SQLite's documentation.

use rusqlite::types::Value;

/// A number of one to nine bytes, and how many they are.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for at in 0..8 {
        let byte = *bytes.get(at)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(8)?), 9))
}

/// The columns of a record; none where it cannot be one.
pub(super) fn read(record: &[u8]) -> Option<Vec<Value>> {
    let (header_len, mut at) = varint(record)?;
    let header = record.get(..usize::try_from(header_len).ok()?)?;
    let mut body = record.get(header.len()..)?;
    let mut columns = Vec::new();
    while at < header.len() {
        let (kind, length) = varint(header.get(at..)?)?;
        at += length;
        let (value, rest) = column(kind, body)?;
        columns.push(value);
        body = rest;
    }
    // A record fills its place to the last byte.
    body.is_empty().then_some(columns)
}

/// One value of a serial type, and what follows it.
fn column(kind: u64, body: &[u8]) -> Option<(Value, &[u8])> {
    let length = match kind {
        0 | 8 | 9 => 0,
        1..=4 => kind,
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return None,
        n => (n - 12) / 2,
    };
    let (bytes, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
    let value = match kind {
        0 => Value::Null,
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        7 => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        1..=6 => Value::Integer(integer(bytes)),
        n if n % 2 == 0 => Value::Blob(bytes.to_vec()),
        _ => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
    };
    Some((value, rest))
}

/// A big-endian number of one to eight bytes in two's complement.
fn integer(bytes: &[u8]) -> i64 {
    let sign = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if sign { -1_i64 } else { 0 };
    bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        assert_eq!(varint(&[0x7f]), Some((127, 1)));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, 2)));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, 9)));
        assert_eq!(varint(&[0x81]), None);
        assert_eq!(integer(&[0xff, 0xfe]), -2);
        assert_eq!(integer(&[0x00, 0x80]), 128);
    }

    #[test]
    fn a_record_is_read_and_half_of_one_is_not() {
        // NULL, 1, 300, "ab".
        let record = [5, 0, 9, 2, 17, 1, 44, b'a', b'b'];
        let columns = read(&record).expect("a record");
        let expected =
            [Value::Null, Value::Integer(1), Value::Integer(300), Value::Text("ab".to_owned())];
        assert_eq!(columns, expected);
        for length in 0..record.len() {
            assert_eq!(read(&record[..length]), None, "{length}");
        }
    }
}
