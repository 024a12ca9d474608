//! As `size_tls`, with rumqttc: `size_peer_tls PORT FILTER PAUSE FILE`.

#![forbid(unsafe_code)]

#[path = "../../peer.rs"]
mod peer;

use rumqttc::Transport;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let file = words.pop().unwrap_or_default();
    let words = words
        .try_into()
        .map_err(|_| "size_peer_tls PORT FILTER PAUSE FILE")?;
    peer::run(words, Transport::tls(std::fs::read(file)?, None, None))
}
