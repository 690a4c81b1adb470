//! IPv4 addresses that an IPv6 address holds, and to which a network on the way may send.
//!
//! Sources: RFC 4291 2.5.5 (compatible, mapped), RFC 2765 (translated), RFC 6052 2.2 (NAT64), RFC 8215
//! (its local prefix), RFC 3056 (6to4), RFC 4380 4 (Teredo), RFC 5214 6.1 (ISATAP).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Each of them; none for most addresses.
pub(super) fn embedded(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    // `::` and `::1` have the form of compatible addresses and are none.
    if ip.is_unspecified() || ip.is_loopback() {
        return Vec::new();
    }
    let last = Ipv4Addr::from_bits((ip.to_bits() & 0xffff_ffff) as u32);
    let pair = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let mut found = Vec::new();
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => found.push(last),
        // How long the prefix is within its 48 bits is the network's choice. The two lengths that
        // are in use are judged: all 96, and 48 with the address around the byte that is left free.
        [0x64, 0xff9b, 1, high, around, beyond, ..] => {
            let low = (around << 8) | (beyond >> 8);
            let around_free = pair(high, low);
            found.extend([last, around_free].into_iter().filter(|v4| !v4.is_unspecified()));
        }
        [0x2002, high, low, ..] => found.push(pair(high, low)),
        [0x2001, 0, high, low, ..] => found.extend([pair(high, low), !last]),
        _ => {}
    }
    if let [_, _, _, _, 0 | 0x200, 0x5efe, ..] = ip.segments() {
        found.push(last);
    }
    found
}
