//! `serve` over https: what it prints makes Python and Node trust it, and nothing else does.

use crate::bench::{Bench, first_line, interrupt, started};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Standard library alone; strict, as Python 3.13 is by itself.
const PYTHON: &str = "import ssl, sys, urllib.request
context = ssl.create_default_context()
context.verify_flags |= ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(sys.argv[1], context=context).read().decode())";
const NODE: &str = "require('https').get(process.argv[1], r => r.pipe(process.stdout))
  .on('error', e => { console.log(e.code); process.exitCode = 1 })";

fn serving(bench: &Bench, args: &[&str]) -> Child {
    let mut command = bench.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(args).env("CAPTCHAAI_API_KEY", KEY);
    // Nobody listens there, and nothing is asked of it.
    command.env("CAPTCHAAI_SUBMIT_ENDPOINT", "http://127.0.0.1:1/in.php");
    command.env("CAPTCHAAI_RESULT_ENDPOINT", "http://127.0.0.1:1/res.php");
    started(command)
}

#[test]
fn the_printed_lines_make_python_and_node_trust_the_local_authority() {
    let bench = Bench::new();
    let mut child = serving(&bench, &["--tls", "local"]);
    let talk = BufReader::new(child.stderr.take().expect("piped")).lines();
    let exports: Vec<_> =
        talk.map_while(Result::ok).filter(|line| line.starts_with("export ")).take(2).collect();
    let (url, _out) = first_line(&mut child);
    let url = format!("{}/res.php?key={KEY}&action=get&id=17", url.trim());
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let local = url.replace("127.0.0.1", "localhost");
    let shell = |before: &str, words: [&str; 4]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}\nexec \"$@\""), "sh"]).args(words);
        for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
            command.env_remove(name);
        }
        let output = command.output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for url in [&url, &local] {
        let (python, node) = (["python3", "-c", PYTHON, url], ["node", "-e", NODE, url]);
        assert_eq!(shell(&exports[0], python), "ERROR_WRONG_CAPTCHA_ID", "{exports:?}");
        assert_eq!(shell(&exports[1], node), "ERROR_WRONG_CAPTCHA_ID", "{exports:?}");
        assert_eq!(shell("", python), "");
        assert_eq!(shell("", node), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    }
    interrupt(&child);
    child.wait().expect("it ends");
}

#[test]
fn a_certificate_and_its_key_are_named_together_and_must_be_readable() {
    let bench = Bench::new();
    bench.write("torn.pem", "-----BEGIN CERTIFICATE-----\n");
    for (args, told) in [
        (&["--tls-cert", "torn.pem"][..], "--tls-key"),
        (&["--tls-key", "torn.pem"], "--tls-cert"),
        (&["--tls", "local", "--tls-cert", "a", "--tls-key", "b"], "cannot be used with"),
        (&["--tls-cert", "absent.pem", "--tls-key", "absent.pem"], "cannot read absent.pem"),
        (&["--tls-cert", "torn.pem", "--tls-key", "torn.pem"], "no certificate in PEM"),
    ] {
        let output = serving(&bench, args).wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(told), "{args:?}: {stderr}");
        assert!(!stderr.contains(KEY));
    }
}
