//! What the gateway is held against: an axum server that answers a constant.

use anyhow::Result;
use axum::{Router, routing::get};
use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinHandle};

/// Starts it on a free port; it ends with its handle.
pub(super) async fn serve() -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let constant = || async { "CAPCHA_NOT_READY" };
    let app = Router::new().route("/res.php", get(constant));
    // Aborted by whoever holds the handle.
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            crate::output::say(&format!("the plain server has ended: {error}"));
        }
    });
    Ok((address, serving))
}
