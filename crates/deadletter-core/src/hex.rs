//! Bytes as text.

/// Two hexadecimal digits of lower case for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(super::hex(&[0, 7, 0xAB, 255]), "0007abff");
        assert_eq!(super::hex(&[]), "");
    }
}
