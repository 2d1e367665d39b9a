//! The registry behind TLS.

use nowcxr::config::RegistryConfig;
use nowcxr::ports::PortError;

use super::certificates::certify;
use super::front::front;
use super::server::Registry;
use super::{config, ids};

#[test]
fn a_registry_behind_tls_is_believed_by_its_authority_and_told_our_name() {
    let dir = tempfile::tempdir().unwrap();
    if !certify(dir.path()) {
        return;
    }
    let registry = Registry::start();
    // user:hunter2
    registry.held.lock().unwrap().demands = Some("Basic dXNlcjpodW50ZXIy".to_owned());
    let url = front(&registry.url, dir.path());
    let credentials = dir.path().join("credentials");
    std::fs::write(&credentials, "user:hunter2\n").unwrap();
    let known = RegistryConfig {
        credentials: Some(credentials),
        ca: Some(dir.path().join("ca.pem")),
        ..config()
    };
    let given = ids(&url, &known).unwrap();
    assert_eq!(ids(&url, &known).unwrap(), given);
    let plain = RegistryConfig { ca: None, ..known.clone() };
    assert_eq!(ids(&registry.url, &plain).unwrap(), given, "another registry");

    // Before a certificate is believed nothing is said, and never the password to a person.
    let asked = registry.asked();
    let distrusted = ids(&url, &plain).unwrap_err();
    let text = distrusted.to_string();
    assert!(matches!(distrusted, PortError::Stop(_)) && text.contains("registry.ca"), "{text}");
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let misnamed = ids(&elsewhere, &known).unwrap_err();
    assert!(matches!(misnamed, PortError::Stop(_)), "{misnamed}");
    assert!(!format!("{text}{misnamed}{known:?}").contains("hunter2"));
    assert_eq!(registry.asked(), asked);

    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    for name in ["empty.pem", "absent.pem"] {
        let ca = Some(dir.path().join(name));
        let wrong = ids(&url, &RegistryConfig { ca, ..known.clone() }).unwrap_err();
        assert!(wrong.to_string().contains(name), "{wrong}");
    }
}
