//! The decision: may this address, may this URL be posted to.

use super::{blocks, embedded::embedded, ports};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use url::{Host, Url};

/// Longest URL: what other servers take (RFC 9110 4.1 asks for 8,000, browsers of old took 2,083).
const URL_LIMIT: usize = 2_048;

/// More networks than this are a slip, and each is looked at for each address.
const NETWORKS_LIMIT: usize = 256;

/// Which special addresses may be posted to all the same: by default, none.
///
/// As text: networks like `10.0.0.0/8` or single addresses, between commas or spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

/// Why nothing is posted there. Its text names addresses and ports, never a path or a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Nobody can read it as a URL.
    #[error("it is not a URL")]
    Unreadable,
    /// It is too long.
    #[error("it is longer than {URL_LIMIT} characters")]
    TooLong,
    /// It is of another scheme.
    #[error("it does not begin with http:// or https://")]
    Scheme,
    /// It holds a user's name or password, which would be stored and sent.
    #[error("it holds a user's name or password")]
    Credentials,
    /// Another protocol is spoken there: browsers refuse the port as well (Fetch, "Port blocking").
    #[error("port {0} is one of another protocol, which browsers refuse as well")]
    Port(u16),
    /// It leads to a special address.
    #[error("{}", special(.address, .holds, .what))]
    Address {
        /// The address.
        address: IpAddr,
        /// What is special about it, or about the one that it holds.
        what: &'static str,
        /// The IPv4 address within it, where that one is special.
        holds: Option<Ipv4Addr>,
    },
}

fn special(address: &IpAddr, holds: &Option<Ipv4Addr>, what: &str) -> String {
    match holds {
        Some(inner) => format!("{address} holds {inner}, which is {what}"),
        None => format!("{address} is {what}"),
    }
}

/// What is not a list of networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// No network and no address.
    #[error("{0:?} is neither an address nor a network like 10.0.0.0/8")]
    Unreadable(String),
    /// An address within a network, which may have been meant alone.
    #[error("{0} is within the network {1}; write that, or the address alone")]
    Within(IpNet, IpNet),
    /// Too many.
    #[error("more than {NETWORKS_LIMIT} networks")]
    TooMany,
}

impl FromStr for Guard {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let allowed = words.map(network).collect::<Result<Vec<_>, _>>()?;
        if allowed.len() > NETWORKS_LIMIT {
            return Err(BadNetwork::TooMany);
        }
        Ok(Self { allowed })
    }
}

fn network(word: &str) -> Result<IpNet, BadNetwork> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = word.parse().map_err(|_| BadNetwork::Unreadable(word.to_owned()))?;
    match network.trunc() {
        whole if whole == network => Ok(network),
        whole => Err(BadNetwork::Within(network, whole)),
    }
}

impl Guard {
    /// Whether this very address may be dialled: neither it, nor an IPv4 address that it holds,
    /// lies in a special block that is not allowed.
    pub fn allows(&self, ip: IpAddr) -> Result<(), Refused> {
        if let Some(what) = self.special(ip) {
            return Err(Refused::Address { address: ip, what, holds: None });
        }
        let IpAddr::V6(v6) = ip else { return Ok(()) };
        for inner in embedded(v6) {
            if let Some(what) = self.special(inner.into()) {
                return Err(Refused::Address { address: ip, what, holds: Some(inner) });
            }
        }
        Ok(())
    }

    /// Whether a URL could be posted to, as far as it can be told without a look-up of its name:
    /// an address in it is judged, whatever its spelling, and so is every spelling of `localhost`.
    pub fn check(&self, url: &str) -> Result<(), Refused> {
        self.read(url).map(|_| ())
    }

    /// The same; where the URL leads to, as `host:port`: what may be shown and stored of it.
    pub fn place(&self, url: &str) -> Result<String, Refused> {
        self.read(url).map(|url| place(&url))
    }

    /// The same, with the URL as it is understood.
    pub(super) fn read(&self, url: &str) -> Result<Url, Refused> {
        if url.len() > URL_LIMIT {
            return Err(Refused::TooLong);
        }
        // The parser drops these in silence: then two readers see two hosts.
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Refused::Unreadable);
        }
        let url = Url::parse(url).map_err(|_| Refused::Unreadable)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let port = url.port_or_known_default().ok_or(Refused::Unreadable)?;
        if ports::is_bad(port) {
            return Err(Refused::Port(port));
        }
        match url.host().ok_or(Refused::Unreadable)? {
            Host::Ipv4(ip) => self.allows(ip.into())?,
            Host::Ipv6(ip) => self.allows(ip.into())?,
            Host::Domain(name) if is_localhost(name) => self
                .allows(Ipv4Addr::LOCALHOST.into())
                .or_else(|refused| self.allows(Ipv6Addr::LOCALHOST.into()).map_err(|_| refused))?,
            Host::Domain(_) => {}
        }
        Ok(url)
    }

    fn special(&self, ip: IpAddr) -> Option<&'static str> {
        let what = match ip {
            IpAddr::V4(v4) => blocks::of_v4(v4),
            IpAddr::V6(v6) => blocks::of_v6(v6),
        }?;
        (!self.allowed.iter().any(|network| network.contains(&ip))).then_some(what)
    }
}

/// Host and port of a URL that was read, and so has both.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

/// The names that every machine keeps for itself (RFC 6761 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `address | allowed, or a part of the reason | which one it is`.
    const VECTORS: &str = include_str!("vectors.txt");

    fn guard(allowed: &str) -> Guard {
        allowed.parse().expect("networks")
    }

    #[test]
    fn every_special_address_is_refused_with_its_reason_and_no_other() {
        let mut seen = 0;
        for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
            let [address, verdict, which] = line.split(" | ").collect::<Vec<_>>()[..] else {
                panic!("{line:?} has not three fields");
            };
            let ip: IpAddr = address.parse().expect(address);
            match Guard::default().allows(ip) {
                Ok(()) => assert_eq!(verdict, "allowed", "{address}, {which}"),
                Err(refused) => {
                    let told = refused.to_string();
                    assert!(told.contains(verdict), "{address}, {which}: {told}, not {verdict}");
                }
            }
            seen += 1;
        }
        assert!(seen >= 300, "only {seen} vectors");
    }

    #[test]
    fn an_address_within_an_address_is_judged_too() {
        for (allowed, address, told) in [
            ("64:ff9b::/96", "64:ff9b::808:808", None),
            (
                "64:ff9b::/96",
                "64:ff9b::7f00:1",
                Some("64:ff9b::7f00:1 holds 127.0.0.1, which is loopback"),
            ),
            ("64:ff9b::/96 127.0.0.0/8", "64:ff9b::7f00:1", None),
            ("64:ff9b:1::/48", "64:ff9b:1::808:808", None),
            ("64:ff9b:1::/48", "64:ff9b:1::a00:1", Some("holds 10.0.0.1, which is private")),
            (
                "64:ff9b:1::/48",
                "64:ff9b:1:a9fe:a9:fe00::",
                Some("holds 169.254.169.254, which is a cloud"),
            ),
            ("64:ff9b:1::/48", "64:ff9b:1:808:8:800::", None),
            ("::ffff:0:0/96", "::ffff:8.8.8.8", None),
            ("::ffff:0:0/96", "::ffff:192.168.0.1", Some("holds 192.168.0.1, which is private")),
            ("::ffff:0:0:0/96", "::ffff:0:7f00:1", Some("holds 127.0.0.1")),
            ("::/96", "::10.0.0.1", Some("holds 10.0.0.1")),
            ("2002::/16", "2002:808:808::1", None),
            ("2002::/16", "2002:6440:1::1", Some("holds 100.64.0.1, which is shared")),
            ("2001::/32", "2001:0:808:808::f7f7:f7f7", None),
            ("2001::/32", "2001:0:a00:1::f7f7:f7f7", Some("holds 10.0.0.1")),
            ("2001::/32", "2001:0:808:808::80ff:fffe", Some("holds 127.0.0.1")),
            ("::1", "::1", None),
            ("::/0", "::ffff:127.0.0.1", Some("holds 127.0.0.1")),
        ] {
            let refused = guard(allowed).allows(address.parse().expect(address)).err();
            match (refused.map(|refused| refused.to_string()), told) {
                (None, None) => {}
                (Some(refused), Some(told)) => {
                    assert!(refused.contains(told), "{address}: {refused}")
                }
                (refused, _) => panic!("{address} with {allowed}: {refused:?}"),
            }
        }
    }

    #[test]
    fn what_is_allowed_is_that_network_alone() {
        let guard = guard("10.0.0.0/8, 127.0.0.1 fd00:1::/32");
        for allowed in ["10.0.0.0", "10.255.255.255", "127.0.0.1", "fd00:1::1", "1.1.1.1"] {
            assert_eq!(guard.allows(allowed.parse().expect(allowed)), Ok(()), "{allowed}");
        }
        for refused in
            ["127.0.0.2", "169.254.169.254", "192.168.0.1", "fd00:2::1", "::ffff:10.0.0.1"]
        {
            assert!(guard.allows(refused.parse().expect(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_is_no_network_is_not_taken_for_one() {
        for bad in
            ["10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0", "::1/129", "127.0.0.1:80", "*"]
        {
            assert!(bad.parse::<Guard>().is_err(), "{bad}");
        }
        let told = "10.0.0.1/8".parse::<Guard>().expect_err("within").to_string();
        assert_eq!(
            told,
            "10.0.0.1/8 is within the network 10.0.0.0/8; write that, or the address alone"
        );
        assert!("1.1.1.1 ".repeat(257).parse::<Guard>().is_err());
        assert_eq!("".parse(), Ok(Guard::default()));
    }

    /// Spellings of addresses, and a part of what is told of each; empty where nothing stands against it.
    const SPELLINGS: &[(&str, &str)] = &[
        ("http://example.com/done", ""),
        ("https://example.com:8443/done?a=b&c=%20#part", ""),
        ("HTTPS://EXAMPLE.COM", ""),
        ("http://xn--bcher-kva.example/", ""),
        ("http://b\u{fc}cher.example/", ""),
        ("http://93.184.215.14/", ""),
        ("http://[2606:4700:4700::1111]:8080/", ""),
        ("http://localhost.example.com/", ""),
        ("http://127.0.0.1.example.com/", ""),
        ("http://127.0.0.1/", "127.0.0.1 is loopback"),
        ("http://127.0.0.1:8080/x", "127.0.0.1 is loopback"),
        ("HTTP://127.0.0.1", "127.0.0.1 is loopback"),
        ("http:127.0.0.1", "127.0.0.1 is loopback"),
        ("http:/127.0.0.1", "127.0.0.1 is loopback"),
        ("http:\\\\127.0.0.1\\", "127.0.0.1 is loopback"),
        ("http://127.0.0.1\\@example.com/", "127.0.0.1 is loopback"),
        ("http://127.0.0.1#@example.com/", "127.0.0.1 is loopback"),
        ("http://127.0.0.1?@example.com/", "127.0.0.1 is loopback"),
        ("http://2130706433/", "127.0.0.1 is loopback"),
        ("http://017700000001/", "127.0.0.1 is loopback"),
        ("http://0x7f000001/", "127.0.0.1 is loopback"),
        ("http://0X7F.0.0.1/", "127.0.0.1 is loopback"),
        ("http://0x7f.1/", "127.0.0.1 is loopback"),
        ("http://0177.0.0.01/", "127.0.0.1 is loopback"),
        ("http://127.1/", "127.0.0.1 is loopback"),
        ("http://127.0.1/", "127.0.0.1 is loopback"),
        ("http://127.65530/", "127.0.255.250 is loopback"),
        ("http://127.0.0.1./", "127.0.0.1 is loopback"),
        ("http://%31%32%37.0.0.1/", "127.0.0.1 is loopback"),
        ("http://127%2e0%2e0%2e1/", "127.0.0.1 is loopback"),
        ("http://\u{ff11}\u{ff12}\u{ff17}.0.0.1/", "127.0.0.1 is loopback"),
        ("http://127\u{3002}0\u{3002}0\u{3002}1/", "127.0.0.1 is loopback"),
        ("http://\u{2460}\u{2461}\u{2466}.0.0.1/", "127.0.0.1 is loopback"),
        ("http://127.0.\u{ad}0.1/", "127.0.0.1 is loopback"),
        ("http://0/", "0.0.0.0 is of this network"),
        ("http://0.0.0.0/", "0.0.0.0 is of this network"),
        ("http://0x0/", "0.0.0.0 is of this network"),
        ("http://00000000000/", "0.0.0.0 is of this network"),
        ("http://1/", "0.0.0.1 is of this network"),
        ("http://10.1/", "10.0.0.1 is private"),
        ("http://012.1/", "10.0.0.1 is private"),
        ("http://3232235521/", "192.168.0.1 is private"),
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://2852039166/", "metadata"),
        ("http://0xA9FEA9FE/", "metadata"),
        ("http://0251.0376.0251.0376/", "metadata"),
        ("http://169.254.43518/", "metadata"),
        ("http://255.255.255.255/", "broadcast"),
        ("http://4294967295/", "broadcast"),
        ("http://4294967296/", "not a URL"),
        ("http://256.0.0.1/", "not a URL"),
        ("http://1.2.3.4.5/", "not a URL"),
        ("http://0x7f.0.0.0x/", "127.0.0.0 is loopback"),
        ("http://127.0.0.1.0x/", "not a URL"),
        ("http://[::]/", "unspecified"),
        ("http://[::1]/", "::1 is loopback"),
        ("http://[0:0:0:0:0:0:0:1]/", "::1 is loopback"),
        ("http://[0000::0001]:80/", "::1 is loopback"),
        ("http://[::ffff:127.0.0.1]/", "mapped"),
        ("http://[::FFFF:7F00:1]/", "mapped"),
        ("http://[0:0:0:0:0:ffff:a00:1]/", "mapped"),
        ("http://[::127.0.0.1]/", "compatible"),
        ("http://[64:ff9b::127.0.0.1]/", "NAT64"),
        ("http://[2002:7f00:1::]/", "6to4"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[fe80::1%25eth0]/", "not a URL"),
        ("http://[fe80::1%eth0]/", "not a URL"),
        ("http://[::1]example.com/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://::1/", "not a URL"),
        ("http://localhost/", "127.0.0.1 is loopback"),
        ("http://localhost./", "127.0.0.1 is loopback"),
        ("http://LOCALHOST:8402/res.php", "127.0.0.1 is loopback"),
        ("http://LocalHost", "127.0.0.1 is loopback"),
        ("http://lo\u{441}alhost/", ""),
        ("http://\u{24db}ocalhost/", "127.0.0.1 is loopback"),
        ("http://local%68ost/", "127.0.0.1 is loopback"),
        ("http://a.localhost/", "127.0.0.1 is loopback"),
        ("http://a.b.localhost./", "127.0.0.1 is loopback"),
        ("http://user@example.com/", "name or password"),
        ("http://user:word@example.com/", "name or password"),
        ("http://:word@example.com/", "name or password"),
        ("http://example.com@127.0.0.1/", "name or password"),
        ("http://127.0.0.1@example.com/", "name or password"),
        ("http://a:b@c:d@127.0.0.1/", "name or password"),
        ("http://example.com%40127.0.0.1/", "not a URL"),
        ("http://127.0.0.1%00.example.com/", "not a URL"),
        ("http://127.0.0.1%09/", "not a URL"),
        ("http://127.0.0.1%2f.example.com/", "not a URL"),
        ("http://exa\tmple.com/", "not a URL"),
        ("http://127.0.0\n.1/", "not a URL"),
        (" http://example.com/", "not a URL"),
        ("http://example.com/a b", "not a URL"),
        ("http://example.com/\r\nHost: x", "not a URL"),
        ("", "not a URL"),
        ("example.com/done", "not a URL"),
        ("//example.com/done", "not a URL"),
        ("http://", "not a URL"),
        ("http:///", "not a URL"),
        ("http://:80/", "not a URL"),
        ("http://example.com:65536/", "not a URL"),
        ("http://example.com:0/", "port 0"),
        ("http://example.com:22/", "port 22"),
        ("http://example.com:25/", "port 25"),
        ("https://example.com:6379/", ""),
        ("https://example.com:6667/", "port 6667"),
        ("http://127.0.0.1:25/", "port 25"),
        ("ftp://example.com/", "http://"),
        ("file:///etc/hostname", "http://"),
        ("gopher://127.0.0.1:6379/_x", "http://"),
        ("data:text/plain,x", "http://"),
        ("javascript:0", "http://"),
        ("unix:/run/x.sock", "http://"),
        ("ws://example.com/", "http://"),
    ];

    #[test]
    fn a_url_is_judged_by_what_it_leads_to_in_any_spelling() {
        for (url, told) in SPELLINGS {
            match Guard::default().check(url) {
                Ok(()) => assert_eq!(*told, "", "{url:?} is let through"),
                Err(refused) => {
                    let refused = refused.to_string();
                    assert!(!told.is_empty() && refused.contains(told), "{url:?}: {refused}");
                }
            }
        }
        let long = format!("http://example.com/{}", "a".repeat(2_048));
        assert_eq!(Guard::default().check(&long), Err(Refused::TooLong));
    }

    #[test]
    fn an_allowed_address_is_allowed_in_any_spelling() {
        let v4 = guard("127.0.0.1");
        for url in [
            "http://localhost:8402/",
            "http://0x7f.1/",
            "http://127.0.0.1/",
            "http://a.localhost./",
        ] {
            assert_eq!(v4.check(url), Ok(()), "{url}");
        }
        assert!(v4.check("http://[::1]/").is_err() && v4.check("http://127.0.0.2/").is_err());
        assert_eq!(guard("::1").check("http://localhost/"), Ok(()));
        assert_eq!(
            v4.check("http://127.0.0.1:22/"),
            Err(Refused::Port(22)),
            "a port is not an address"
        );
    }
}
