//! One question to one server: a datagram, and TCP where the answer does not fit into one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io::{self, Read, Write};

use fiber::net::{TcpStream, UdpSocket};

use super::message::{Answer, Family, Heard, Question};

/// Largest answer that is read, over TCP: what its length can say (RFC 1035 section 4.2.2).
pub const RESPONSE_BYTES_MAX: usize = 65_535;
/// Largest datagram that is read. A server that was not told otherwise sends 512 bytes at most (RFC
/// 1035 section 4.2.1); what is larger than the room is no answer.
pub const UDP_RESPONSE_BYTES_MAX: usize = 1232;

/// Asks one server. Yields until it answers, for as long as the scope around allows.
///
/// # Errors
/// What the system answered: that nobody listens there, for example; or the scope is over.
pub(super) fn ask(server: SocketAddr, name: &str, family: Family) -> io::Result<Answer> {
    match ask_by_datagram(server, &Question::new(name, family)?)? {
        Heard::Answer(answer) => Ok(answer),
        // Another connection, another id.
        Heard::Truncated => ask_by_stream(server, &Question::new(name, family)?),
    }
}

fn ask_by_datagram(server: SocketAddr, question: &Question<'_>) -> io::Result<Heard> {
    let here: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The system draws the port, and gives nothing to the socket that comes from anybody else.
    let socket = UdpSocket::bind(SocketAddr::new(here, 0))?;
    socket.connect(server)?;
    socket.send(question.bytes())?;
    let mut room = [0; UDP_RESPONSE_BYTES_MAX];
    loop {
        let len = socket.recv(&mut room)?;
        if let Some(heard) = question.heard(&room[..len]) {
            return Ok(heard);
        }
        log::debug!("{server} sent {len} bytes that are no answer to the question");
    }
}

fn ask_by_stream(server: SocketAddr, question: &Question<'_>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server)?;
    let bytes = question.bytes();
    let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), bytes].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = Vec::new();
    let len = u64::from(u16::from_be_bytes(len));
    stream.take(len).read_to_end(&mut answer)?;
    match question.heard(&answer) {
        Some(Heard::Answer(answer)) => Ok(answer),
        Some(Heard::Truncated) | None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the name server {server} sent what is no answer to the question"),
        )),
    }
}
