//! One HTTP request per connection, with errors in the words of Python's `requests`.
//!
//! What matters of those words: where no connection comes about, they hold the path and query.

use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer's body, or the text of the exception.
pub(super) async fn request(
    place: &str,
    verb: &str,
    target: &str,
    form: &str,
) -> Result<String, String> {
    let mut stream = TcpStream::connect(place).await.map_err(|error| {
        format!("HTTPConnectionPool({place}): Max retries exceeded with url: {target} ({error})")
    })?;
    let aborted = |error: io::Error| format!("('Connection aborted.', {error})");
    let len = form.len();
    let head = format!(
        "{verb} {target} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {len}\r\n\r\n{form}"
    );
    stream.write_all(head.as_bytes()).await.map_err(aborted)?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.map_err(aborted)?;
    let (_, body) = heard.split_once("\r\n\r\n").ok_or("('Connection aborted.', no response)")?;
    Ok(body.to_owned())
}
