//! Bytes as text.

use std::fmt::Write as _;

/// Two hexadecimal digits of lower case for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a text takes what is written");
        hex
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(super::hex(&[0, 7, 0xAB, 255]), "0007abff");
        assert_eq!(super::hex(&[]), "");
    }
}
