//! Services that are asked by HTTP or HTTPS: where each is, and who is believed to be it.

use std::path::PathBuf;

use super::value::Reader;

/// The address under `url_key`, without a slash at its end, and the PEM file under `ca_key` of who
/// signs its certificate. `None` where nothing is written: no such service, and the authorities of
/// the web. Complains of an address of another kind, of https in a build that does not speak it,
/// and of authorities that nobody asks.
pub(super) fn service(
    reader: &mut Reader,
    url_key: &str,
    ca_key: &str,
) -> (Option<String>, Option<PathBuf>) {
    let url = reader.text(url_key);
    let url = url.trim_end_matches('/').to_owned();
    let is_https = url.starts_with("https://");
    if !url.is_empty() && !is_https && !url.starts_with("http://") {
        let what = "is no address; write http://host:port or https://host:port";
        reader.complain(url_key, what.to_owned());
    }
    if is_https && !cfg!(feature = "https") {
        let what = "is https, which this build does not speak; build it with --features https, or \
                    name a proxy on this machine by http";
        reader.complain(url_key, what.to_owned());
    }
    let ca = Some(reader.text(ca_key)).filter(|name| !name.is_empty()).map(PathBuf::from);
    if ca.is_some() && !is_https {
        let what = format!("is of no use without a {url_key} that begins with https");
        reader.complain(ca_key, what);
    }
    (Some(url).filter(|url| !url.is_empty()), ca)
}
