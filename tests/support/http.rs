//! Plain requests to the processes' probe listeners.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Far more than any answer takes: a process that hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of what is answered; anything but a success fails the test.
pub fn request(method: &str, port: u16, path: &str) -> String {
    attempt(method, port, path).unwrap_or_else(|answer| panic!("{method} {path}: {answer}"))
}

/// The body of what is answered, or the whole answer where it tells of no success.
///
/// # Errors
/// What was answered.
pub fn attempt(method: &str, port: u16, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // HTTP/1.0: the answer ends with the connection.
    write!(stream, "{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("the head of an answer");
    let status = head.split(' ').nth(1).expect("a status");
    if status.starts_with('2') { Ok(body.to_owned()) } else { Err(answer) }
}
