//! As `size_plain`, over TLS, with a file of the authorities that are believed:
//! `size_tls PORT FILTER PAUSE FILE`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};
use safe_rt::{ClientTlsOptions, DialOptions, Trust};

fn main() -> Result<(), Box<dyn Error>> {
    fiber::run(main_fiber)?
}

fn main_fiber() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(port), Some(filter), Some(pause), Some(file)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("size_tls PORT FILTER PAUSE FILE".into());
    };
    let pause = Duration::from_millis(pause.parse()?);
    let tls = ClientTlsOptions::new(Trust::from_file(file)?).build()?;
    let options = ClientOptions::new(ClientId::new("size")?).dial(DialOptions::new().tls(tls));
    let endpoint = ["mqtts://127.0.0.1:", &port].concat().parse()?;
    let client = Client::open(&endpoint, options)?;
    client.wait_connected()?;
    println!("connected 1");
    client.subscribe(&filter, QoS::AtLeastOnce, move |_, _| {
        Ok(fiber::sleep(pause)?)
    })?;
    let message = Publish::to("size/a", "up 1 s").qos(QoS::AtLeastOnce);
    client.publish(message.wait(Wait::Ack))?;
    println!("acknowledged 1");
    client.ended()?;
    Ok(())
}
