//! What the other programs of this folder do, with the standard library and bytes that are known: the
//! floor of what a program with one connection takes. `size_floor PORT FILTER`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// A client called `size`, a keep-alive of a minute.
const CONNECT: &[u8] = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04size";
/// A message with identifier 2.
const PUBLISH: &[u8] = b"\x32\x10\x00\x06size/a\x00\x02up 1 s";

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(port), Some(filter)) = (words.next(), words.next()) else {
        return Err("size_floor PORT FILTER".into());
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse()?))?;
    stream.write_all(CONNECT)?;
    stream.read_exact(&mut [0; 4])?;
    println!("connected 1");
    let length = u8::try_from(filter.len())?;
    stream.write_all(&[0x82, length + 5, 0, 1, 0, length])?;
    stream.write_all(filter.as_bytes())?;
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0; 5])?;
    stream.write_all(PUBLISH)?;
    stream.read_exact(&mut [0; 4])?;
    println!("acknowledged 1");
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}
