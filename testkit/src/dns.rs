//! in → out: what to say → a DNS server on loopback that says it.
//! owns: its port; the count of questions.
//! may not touch: caches. Records are good for a minute, so a test that changes them asks its proxy for shorter refreshes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::net::UdpSocket;

use crate::eventually::eventually;

/// What the DNS server says.
#[derive(Debug, Clone)]
pub enum Says {
    /// These A records, for a minute.
    Addresses(Vec<Ipv4Addr>),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
}

/// A DNS server on loopback that gives every name the same answer.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Where it listens.
    pub address: SocketAddr,
    /// With the number of questions so far.
    says: Arc<Mutex<(Says, u32)>>,
}

impl Dns {
    /// Starts one on a task of the current runtime.
    ///
    /// # Panics
    /// Where loopback has no port.
    pub async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let dns = Self {
            address: socket.local_addr().expect("a bound socket has an address"),
            says: Arc::new(Mutex::new((says, 0))),
        };
        let says = dns.says.clone();
        tokio::spawn(async move {
            let mut packet = [0; 1024];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                let says = {
                    let mut said = says.lock().expect("nobody panics with it");
                    said.1 += 1;
                    said.0.clone()
                };
                // A client that has left is no concern of the server.
                _ = socket.send_to(&answer(&packet[..length], &says), peer).await;
            }
        });
        dns
    }

    /// Says this from now on.
    pub fn say(&self, says: Says) {
        self.says.lock().expect("nobody panics with it").0 = says;
    }

    /// Waits for so many further questions.
    pub async fn asked(&self, times: u32) {
        let count = || self.says.lock().expect("nobody panics with it").1;
        let before = count();
        eventually("the name is asked for", async || {
            (count() >= before + times).then_some(())
        })
        .await;
    }
}

/// RFC 1035, section 4: the question back, and an A record for each address.
fn answer(question: &[u8], says: &Says) -> Vec<u8> {
    let name = question[12..].iter().position(|byte| *byte == 0).expect("a name");
    let end = 12 + name + 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let (code, addresses) = match says {
        Says::Addresses(addresses) if is_a => (0, addresses.as_slice()),
        Says::Addresses(_) => (0, [].as_slice()),
        Says::NoSuchName => (3, [].as_slice()),
        Says::Failure => (2, [].as_slice()),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(&question[12..end]);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
