//! Who the client is: the peer, or whom trusted proxies speak for.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};

/// The addresses a request came through, as each proxy adds them.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// The text is not a list of addresses and networks.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address and no network: expected such as 10.1.2.3, 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(String);

impl TrustedProxies {
    /// Whether this is the address of one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The client of a request that came from `peer`, as at most so many proxies in a row tell: with one, the last
    /// address of `X-Forwarded-For`.
    ///
    /// A proxy adds the address it was asked from at the right, and what stands left of that is whatever the client
    /// wrote. So the list is read from the right, for as long as trusted proxies answer for it, and anything that is no
    /// address ends it. No further than there are proxies: a client whose own address lies in a trusted network is no
    /// proxy, and whatever stands left of it is its invention.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap, most_hops: NonZeroU8) -> IpAddr {
        let mut client = peer.to_canonical();
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(most_hops.get().into()) {
            if !self.contains(client) {
                break;
            }
            let Some(address) = std::str::from_utf8(hop).ok().and_then(hop_address) else {
                break;
            };
            client = address.to_canonical();
        }
        client
    }
}

/// An address as proxies write it: bare, or with a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.parse().ok();
    bare.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| Network::parse(entry).ok_or_else(|| InvalidNetwork(entry.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width_bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Some(width_bits), |prefix| prefix.parse().ok())?;
        (prefix_bits <= width_bits).then_some(Self { address, prefix_bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let prefix_bits = u32::from(self.prefix_bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - prefix_bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_trusted_by_address_or_network() {
        let proxies: TrustedProxies = "10.0.0.0/8, 192.0.2.7,fd00::/8,".parse().unwrap();
        let contains = |address: &str| proxies.contains(address.parse().unwrap());
        for inside in ["10.255.0.1", "192.0.2.7", "fd12::1", "::ffff:10.1.1.1"] {
            assert!(contains(inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "fe80::1", "::1"] {
            assert!(!contains(outside), "{outside}");
        }
        let everyone: TrustedProxies = "0.0.0.0/0".parse().unwrap();
        assert!(everyone.contains("203.0.113.9".parse().unwrap()));
        assert!(!everyone.contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["localhost", "10.0.0.0/33", "10.0.0.0/", "fd00::/129"] {
            let refused = text.parse::<TrustedProxies>().unwrap_err();
            assert!(refused.to_string().contains(text));
        }
    }

    #[test]
    fn who_is_in_a_trusted_network_does_not_choose_the_address_it_counts_as() {
        let private = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16".parse().unwrap();
        for (forwarded, most_hops, client) in [
            ("10.7.7.7", 1, "10.7.7.7"),
            ("198.51.100.1, 10.7.7.7", 1, "10.7.7.7"),
            ("192.168.0.1, 10.7.7.7, 198.51.100.1", 1, "198.51.100.1"),
            // One proxy before another, which says whom it was asked by.
            ("203.0.113.66, 10.7.7.7, 172.16.0.1", 2, "10.7.7.7"),
            ("203.0.113.66, 198.51.100.1, 172.16.0.1", 2, "198.51.100.1"),
        ] {
            let found = found(&private, "10.0.0.1", &[forwarded], most_hops);
            assert_eq!(found, client, "{forwarded} {most_hops}");
        }
    }

    fn found(proxies: &TrustedProxies, peer: &str, forwarded: &[&str], most_hops: u8) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let most_hops = most_hops.try_into().unwrap();
        proxies.client(peer.parse().unwrap(), &headers, most_hops).to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_answers_for() {
        let proxies: TrustedProxies = "10.0.0.0/8, fd00::/8".parse().unwrap();
        for (peer, forwarded, client) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            // Not from a proxy: nobody has to believe it.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            // What the client wrote stands left of what the proxy added.
            ("10.0.0.1", &["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["192.0.2.66", "198.51.100.1"], "198.51.100.1"),
            (
                "10.0.0.1",
                &["192.0.2.66, 198.51.100.1, 10.0.0.2,fd00::7"],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            // Behind what is no address nothing is believed.
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ] {
            let found = found(&proxies, peer, forwarded, 3);
            assert_eq!(found, client, "{peer} {forwarded:?}");
        }
    }
}
