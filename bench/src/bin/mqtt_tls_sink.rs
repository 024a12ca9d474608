//! The server that only answers, over TLS; it ends when it is killed. `mqtt_tls_sink FOLDER`: the folder
//! holds what `mqtt_certificates` wrote.

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use bench::mqtt::sink;
use bench::program;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn main() -> ExitCode {
    program::pin();
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("mqtt_tls_sink FOLDER");
        return ExitCode::FAILURE;
    };
    match serve(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    program::report_port(listener.local_addr()?.port());
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let tls = ServerConnection::new(Arc::clone(&config))?;
        thread::spawn(move || {
            // A client that is killed is no fault of ours.
            drop(sink::answer_to(StreamOwned::new(tls, stream)));
        });
    }
    Ok(())
}
