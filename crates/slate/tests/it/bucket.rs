//! A real S3 server on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// An S3 server, for as long as this lives.
pub(crate) struct Bucket {
    server: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    endpoint: String,
}

const SERVER: &str = r#"
import sys, pathlib, boto3, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
endpoint = "http://%s:%s" % server.get_host_and_port()
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                      aws_access_key_id="key", aws_secret_access_key="word")
client.create_bucket(Bucket="shop")
folder = pathlib.Path(sys.argv[1])
for path in sorted(p for p in folder.rglob("*") if p.is_file()):
    client.upload_file(str(path), "shop", "logs/" + path.relative_to(folder).as_posix())
print(endpoint, flush=True)
for line in sys.stdin:
    if line.startswith("put "):
        path = pathlib.Path(line.strip()[4:])
        client.upload_file(str(path), "shop", "logs/" + path.relative_to(folder).as_posix())
        print("put", flush=True)
        continue
    # From here on a key must belong to somebody who may.
    urllib.request.urlopen(urllib.request.Request(
        endpoint + "/moto-api/reset-auth", data=b"0", method="POST", headers={"Content-Type": "text/plain"}))
    print("locked", flush=True)
"#;

impl Bucket {
    /// A bucket `shop` with the files of a folder under `logs/`; none where there is no server.
    pub(crate) fn with(folder: &Path) -> Option<Self> {
        let Some(python) = std::env::var_os("SLATE_PYTHON") else {
            println!("skipped: SLATE_PYTHON is not set, so there is no S3 server");
            return None;
        };
        let mut server = Command::new(python)
            .args(["-c", SERVER])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = server.stdin.take().unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let mut endpoint = String::new();
        output.read_line(&mut endpoint).unwrap();
        if endpoint.is_empty() {
            let mut error = String::new();
            server
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut error)
                .unwrap();
            panic!("the S3 server did not start: {error}");
        }
        Some(Self {
            server,
            input,
            output,
            endpoint: endpoint.trim().to_owned(),
        })
    }

    pub(crate) fn environment(&self, key: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret-word".to_owned()),
        ]
    }

    /// Brings a file of the folder there once more.
    pub(crate) fn put(&mut self, file: &Path) {
        self.tell(&format!("put {}\n", file.display()), "put\n");
    }

    /// From now on keys are looked at.
    pub(crate) fn lock(&mut self) {
        self.tell("lock\n", "locked\n");
    }

    fn tell(&mut self, what: &str, expected: &str) {
        self.input.write_all(what.as_bytes()).unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
