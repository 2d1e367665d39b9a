//! Certificates for the tests of TLS, made by openssl.

use std::path::Path;
use std::process::Command;

/// Makes an authority's `ca.pem`, and what it has signed: `server.pem` and `server.key` for
/// 127.0.0.1, and a client's `client.pem` and `client.key`. All hold for two days. False without
/// openssl.
pub fn certify(dir: &Path) -> bool {
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let mut steps =
        vec![format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")];
    for name in ["server", "client"] {
        steps.push(format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        steps.push(format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out {name}.pem"
        ));
    }
    for step in steps {
        let mut openssl = Command::new("openssl");
        let Ok(done) = openssl.current_dir(dir).args(step.split_whitespace()).output() else {
            println!("skipped: there is no openssl to make certificates with");
            return false;
        };
        assert!(done.status.success(), "{step}: {}", String::from_utf8_lossy(&done.stderr));
    }
    true
}
