//! In which order the addresses of two families are tried.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fiber::net::UdpSocket;

/// A port that is in every address a way is looked for to; nothing is sent there.
const ANY_PORT: u16 = 53;

/// Whether the host has a way to this address, as its routes say. Sends nothing, does not yield.
pub(super) fn has_way(to: IpAddr) -> bool {
    let here: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let found = UdpSocket::bind(SocketAddr::new(here, 0))
        .and_then(|socket| socket.connect(SocketAddr::new(to, ANY_PORT)));
    found.is_ok()
}

/// Takes turns between the families, IPv6 first (RFC 8305 section 4), so that one that leads nowhere
/// does not come before all of the other; where there is no way to IPv6, it comes last.
pub(super) fn merge(v4: &[IpAddr], v6: &[IpAddr], has_way_to_v6: bool) -> Vec<IpAddr> {
    if !has_way_to_v6 {
        return [v4, v6].concat();
    }
    let turns = v4.len().max(v6.len());
    (0..turns)
        .flat_map(|turn| [v6.get(turn), v4.get(turn)])
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_unless_one_leads_nowhere() {
        let v4: Vec<IpAddr> = (1..=3)
            .map(|n| Ipv4Addr::new(192, 0, 2, n).into())
            .collect();
        let v6: Vec<IpAddr> = vec![Ipv6Addr::LOCALHOST.into()];
        assert_eq!(merge(&v4, &v6, true), [v6[0], v4[0], v4[1], v4[2]]);
        assert_eq!(merge(&v4, &v6, false), [v4[0], v4[1], v4[2], v6[0]]);
        assert_eq!(merge(&[], &v6, true), v6);
        assert_eq!(merge(&v4, &[], true), v4);
    }

    #[test]
    fn there_is_a_way_to_oneself() {
        let has_way = fiber::run(|| has_way(Ipv4Addr::LOCALHOST.into()));
        assert!(has_way.expect("the runtime ran"));
    }
}
