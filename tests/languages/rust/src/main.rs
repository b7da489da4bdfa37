//! Rust with rmpv.

use rmpv::Value;
use std::os::unix::net::UnixStream;

const CHANNEL: i64 = -1001234567890;
const HASH: i64 = (1 << 62) + 1;

struct Client {
    connection: UnixStream,
    last: u32,
}

impl Client {
    /// The result, or the error's code.
    fn call(&mut self, method: &str, params: Vec<Value>) -> Result<Value, Value> {
        self.last += 1;
        let request = Value::Array(vec![0.into(), self.last.into(), method.into(), params.into()]);
        rmpv::encode::write_value(&mut self.connection, &request).unwrap();
        let answer = rmpv::decode::read_value(&mut self.connection).unwrap();
        assert_eq!(answer[1], self.last.into());
        if answer[2].is_nil() {
            Ok(answer[3].clone())
        } else {
            Err(answer[2][0].clone())
        }
    }
}

fn main() {
    let path = std::env::var("GRAMD_SOCKET").unwrap();
    let mut client = Client { connection: UnixStream::connect(path).unwrap(), last: 0 };
    let name = Value::Map(vec![("client".into(), "rust".into())]);
    let empty = Value::Map(vec![]);
    let row = vec![CHANNEL.into(), HASH.into(), "channel".into(), "news".into(), Value::Nil];

    assert_eq!(client.call("hello", vec![name]).unwrap()["server"], "gramd".into());
    let session = client.call("open", vec!["rust".into(), empty]).unwrap()["session"].clone();
    let rows = Value::Array(vec![Value::Array(row.clone())]);
    assert!(client.call("update_peers", vec![session.clone(), rows]).unwrap().is_nil());
    let peer = client.call("get_peer_by_id", vec![session.clone(), CHANNEL.into()]).unwrap();
    assert_eq!(peer.as_array().unwrap()[..5], row[..]);
    let refused = client.call("get_peer_by_id", vec![session.clone(), 42.into()]).unwrap_err();
    assert_eq!(refused, "not_found".into());
    assert_eq!(client.call("ping", vec!["on".into()]).unwrap(), "on".into());
    assert!(client.call("close", vec![session]).unwrap().is_nil());
}
