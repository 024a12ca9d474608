//! As `size_plain`, with rumqttc: `size_peer_plain PORT FILTER PAUSE`.

#![forbid(unsafe_code)]

#[path = "../../peer.rs"]
mod peer;

use rumqttc::Transport;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = words
        .try_into()
        .map_err(|_| "size_peer_plain PORT FILTER PAUSE")?;
    peer::run(words, Transport::Tcp)
}
