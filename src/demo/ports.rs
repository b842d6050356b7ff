//! Loopback ports for processes that are about to start.
//!
//! A port that the operating system gives belongs to the range from which it also gives outgoing connections theirs, and one
//! of these may have taken it before the process listens. So they come from below that range.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below the ports of outgoing connections, and those of a cluster's Services.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;
const ATTEMPTS: usize = 200;

/// Whoever is to listen on a port may need seconds to begin, and nothing but a socket keeps others on this machine from
/// drawing it meanwhile: one of UDP, whose ports are others, until this process ends.
static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Ports on which nobody listened a moment ago, all different, and that no other process draws while this one lives.
///
/// # Errors
/// There is no randomness, or whatever was drawn is taken.
pub fn free<const N: usize>() -> io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    for _ in 0..ATTEMPTS {
        if held.len() == N {
            break;
        }
        let mut drawn = [0; 2];
        getrandom::fill(&mut drawn).map_err(|error| io::Error::other(error.to_string()))?;
        let port = FIRST + u16::from_ne_bytes(drawn) % COUNT;
        let address = (Ipv4Addr::LOCALHOST, port);
        if let (Ok(claim), Ok(_)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
            held.push((port, claim));
        }
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).extend(held.into_iter().map(|(_, claim)| claim));
    ports.try_into().map_err(|_| io::Error::new(io::ErrorKind::AddrInUse, "no free port was found on loopback"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_differ_and_can_be_listened_on() {
        let mut ports = free::<50>().unwrap();
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] != pair[1]), "{ports:?}");
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)), "{ports:?}");
        TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
        // Nobody draws them again, also while nobody listens on them yet.
        assert!(ports.iter().all(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_err()), "{ports:?}");
    }
}
