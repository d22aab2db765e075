//! Ports that stay a server's own.

use std::fs::read_to_string;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};

const LOWEST: u16 = 10_000;
/// Where Linux hands out ports to clients unless told otherwise.
const USUAL_EPHEMERAL_START: u16 = 32_768;
const ATTEMPTS: usize = 1_000;

/// A port nobody listens on, below the range from which the kernel serves clients: a client that keeps calling while
/// the server is down could else be given that very port, and would keep the server from coming back.
pub fn free_port() -> anyhow::Result<u16> {
    let [port] = free_ports()?;
    Ok(port)
}

/// As many different free ports as asked for.
pub fn free_ports<const COUNT: usize>() -> anyhow::Result<[u16; COUNT]> {
    let end = ephemeral_start();
    let mut random = std::fs::File::open("/dev/urandom")?;
    let mut held = Vec::with_capacity(COUNT);
    for _ in 0..ATTEMPTS {
        if held.len() == COUNT {
            break;
        }
        let mut bytes = [0; 2];
        random.read_exact(&mut bytes)?;
        let port = LOWEST + u16::from_ne_bytes(bytes) % (end - LOWEST);
        // Held until all are found, so that they differ.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            held.push((port, listener));
        }
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports
        .try_into()
        .map_err(|_| anyhow::anyhow!("found no {COUNT} free ports between {LOWEST} and {end}"))
}

fn ephemeral_start() -> u16 {
    read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|start| *start > LOWEST + 1_000)
        .unwrap_or(USUAL_EPHEMERAL_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_out_of_clients_reach() {
        let ports: [u16; 8] = free_ports().unwrap();
        for (index, port) in ports.iter().enumerate() {
            assert!((LOWEST..ephemeral_start()).contains(port));
            assert!(!ports[..index].contains(port));
        }
    }
}
