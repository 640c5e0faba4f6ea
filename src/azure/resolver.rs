//! Outgoing addresses (design section 4): a name that resolves to the machine's own metadata service, or to anything
//! else link-local, is never called. Private addresses are fine: that is how Private Link looks.
use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// An address that is never called.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0} is a link-local, metadata or multicast address, which is never called")]
pub struct ForbiddenAddress(IpAddr);

/// A name that leads nowhere.
#[derive(Debug, Error)]
#[error("the name does not resolve")]
pub(super) struct Unresolved(#[source] io::Error);

/// Refuses what no Azure endpoint can be.
pub(super) fn check_address(address: IpAddr) -> Result<(), ForbiddenAddress> {
    // 169.254.169.254 and fd00:ec2::254 are metadata services; 168.63.129.16 is Azure's own wire server.
    let metadata = ["168.63.129.16", "fd00:ec2::254"].iter().any(|known| known.parse() == Ok(address));
    let forbidden = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    };
    if metadata || forbidden { Err(ForbiddenAddress(address)) } else { Ok(()) }
}

/// The system's resolver, minus the addresses that are never called.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?.collect();
            let (allowed, refused): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| check_address(address.ip()).is_ok());
            match (allowed.is_empty(), refused.first()) {
                (true, Some(address)) => Err(ForbiddenAddress(address.ip()).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_are_called() {
        for (address, called) in [
            ("20.50.1.1", true),
            ("10.0.0.4", true),
            ("192.168.7.7", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("fd12::1", true),
            ("169.254.169.254", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("168.63.129.16", false),
            ("0.0.0.0", false),
            ("::", false),
            ("224.0.0.1", false),
        ] {
            assert_eq!(check_address(address.parse().unwrap()).is_ok(), called, "{address}");
        }
    }
}
