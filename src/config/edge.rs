//! `[edge]`: how messages of hospitals are read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono_tz::Tz;
use toml::Value;

use super::checked::path;
use super::notify::Secret;
use super::value::Reader;
use super::web::service;
use crate::time::Span;

/// Fewer characters of a secret could be guessed.
const LEAST_SECRET: usize = 16;
/// Units and codes that can be named.
const MAX_ENTRIES: usize = 4_096;

/// Checked settings of the edge.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeConfig {
    /// `None` if none is given; then no edge can run.
    pub secret: Option<HashKey>,
    pub dir: PathBuf,
    /// `None` for not at all.
    pub hl7_listen: Option<SocketAddr>,
    /// `None` for not at all.
    pub fhir_listen: Option<SocketAddr>,
    /// `None` for not at all.
    pub dicom_listen: Option<SocketAddr>,
    /// `None` for not at all.
    pub dicomweb_listen: Option<SocketAddr>,
    /// `None` where HL7 and DICOM are heard in the clear.
    pub tls: Option<TlsConfig>,
    /// `None` where no film is fetched.
    pub wado: Option<WadoConfig>,
    /// Under which DICOM peers call the edge.
    pub ae_title: String,
    pub lateness: Span,
    pub time_zone: Tz,
    /// Assigning authority of numbers that name none.
    pub authority: String,
    /// FHIR's systems of identifiers, and what HL7 and DICOM call the same authority.
    pub systems: BTreeMap<String, String>,
    /// Empty for all.
    pub units: Vec<String>,
    /// Local codes, and what each means in the dictionary.
    pub codes: BTreeMap<String, String>,
}

/// PEM files by which HL7 and DICOM are heard within TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities of the certificates that senders must have; `None` if they need none.
    pub clients: Option<PathBuf>,
}

/// The archive that films are fetched from, by WADO-RS.
#[derive(Clone, Debug, PartialEq)]
pub struct WadoConfig {
    /// What stands before `/studies`, without a slash at its end.
    pub base: String,
    /// Empty where the archive asks for none.
    pub token: Secret,
    /// A PEM file of who signs the archive's certificate; `None` for the authorities of the web.
    pub ca: Option<PathBuf>,
}

/// The key of keyed hashes. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey(Vec<u8>);

impl HashKey {
    /// `None` if it is too short to be one.
    pub fn new(text: &str) -> Option<Self> {
        (text.chars().count() >= LEAST_SECRET).then(|| HashKey(text.as_bytes().to_vec()))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

pub fn edge(reader: &mut Reader) -> EdgeConfig {
    EdgeConfig {
        secret: reader.read("edge.secret", None, |value| match value.as_str() {
            None => Err("is not a text; put it in quotes".to_owned()),
            Some("") => Ok(None),
            Some(text) => HashKey::new(text).map(Some).ok_or_else(|| {
                format!("is too short; write at least {LEAST_SECRET} random characters")
            }),
        }),
        dir: path(reader, "edge.dir"),
        hl7_listen: reader.address("edge.hl7_listen"),
        fhir_listen: reader.address("edge.fhir_listen"),
        dicom_listen: reader.address("edge.dicom_listen"),
        dicomweb_listen: reader.address("edge.dicomweb_listen"),
        tls: tls(reader),
        wado: wado(reader),
        ae_title: reader.read("edge.ae_title", String::new(), ae_title),
        lateness: reader.span("edge.lateness", Span::ZERO),
        time_zone: reader.read("edge.time_zone", Tz::UTC, time_zone),
        authority: reader.text("edge.authority"),
        systems: reader.read("edge.systems", BTreeMap::new(), |value| {
            names(value, "{ \"urn:oid:1.2.3\" = \"H\" }")
        }),
        units: reader.read("edge.units", Vec::new(), units),
        codes: reader
            .read("edge.codes", BTreeMap::new(), |value| names(value, "{ GLU = \"glucose\" }")),
    }
}

fn tls(reader: &mut Reader) -> Option<TlsConfig> {
    let mut file = |key| Some(reader.text(key)).filter(|name| !name.is_empty()).map(PathBuf::from);
    let [certificate, key, clients] =
        ["edge.tls_certificate", "edge.tls_key", "edge.tls_clients"].map(&mut file);
    if certificate.is_some() && !cfg!(feature = "https") {
        let what = "asks for TLS, which this build does not speak; build it with --features https, \
                    or put a tunnel before the edge";
        reader.complain("edge.tls_certificate", what.to_owned());
    }
    if key.is_some() != certificate.is_some() {
        let what = "goes with edge.tls_certificate; name both files or neither";
        reader.complain("edge.tls_key", what.to_owned());
    }
    if clients.is_some() && certificate.is_none() {
        let what = "is of no use without edge.tls_certificate";
        reader.complain("edge.tls_clients", what.to_owned());
    }
    Some(TlsConfig { certificate: certificate?, key: key?, clients })
}

fn wado(reader: &mut Reader) -> Option<WadoConfig> {
    let (base, ca) = service(reader, "edge.wado", "edge.wado_ca");
    let token = Secret::new(reader.text("edge.wado_token"));
    if base.is_none() && !token.is_empty() {
        let what = "is of no use without edge.wado; name the archive that asks for it";
        reader.complain("edge.wado_token", what.to_owned());
    }
    // What is put behind it would become part of a question, and what names a person be printed.
    if base.as_ref().is_some_and(|base| base.contains(['?', '#', '@'])) {
        let what = "has one of ? # @; write the address that stands before /studies and no more";
        reader.complain("edge.wado", what.to_owned());
    }
    Some(WadoConfig { base: base?, token, ca })
}

/// PS3.5 6.2: at most 16 printable characters, and no backslash.
fn ae_title(value: &Value) -> Result<String, String> {
    let title = value.as_str().ok_or("is not a text; put it in quotes")?.trim();
    let is_plain = title.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\');
    match (1..=16).contains(&title.len()) && is_plain {
        true => Ok(title.to_owned()),
        false => Err("is no AE title: write 1 to 16 letters and digits".to_owned()),
    }
}

fn time_zone(value: &Value) -> Result<Tz, String> {
    let name = value.as_str().ok_or("is not a text; put it in quotes")?;
    name.parse().map_err(|_| "is no IANA time zone such as Europe/Berlin or UTC".to_owned())
}

fn units(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or("is not a list such as [\"MICU\", \"SICU\"]")?;
    let unit = |value: &Value| match value.as_str() {
        Some(unit) if !unit.is_empty() => Ok(unit.to_owned()),
        _ => Err("holds something that is not the name of a unit".to_owned()),
    };
    match list.len() > MAX_ENTRIES {
        true => Err(format!("names more than {MAX_ENTRIES} units")),
        false => list.iter().map(unit).collect(),
    }
}

/// A table from senders' names to ours, such as `example`. Whether the dictionary has what
/// `edge.codes` names is checked where there is one: see `nowcxr edge`.
fn names(value: &Value, example: &str) -> Result<BTreeMap<String, String>, String> {
    let table = value.as_table().ok_or_else(|| format!("is not a table such as {example}"))?;
    let named = |(theirs, ours): (&String, &Value)| match ours.as_str() {
        Some(ours) => Ok((theirs.clone(), ours.to_owned())),
        None => Err(format!("says nothing for {theirs:?}; put it in quotes")),
    };
    match table.len() > MAX_ENTRIES {
        true => Err(format!("has more than {MAX_ENTRIES} entries")),
        false => table.iter().map(named).collect(),
    }
}
