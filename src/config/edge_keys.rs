//! The keys of `[edge]`.

use super::key::{Key, key};

/// Every key of the section.
pub const EDGE: &[Key] = &[
    key(
        "edge.secret",
        r#""""#,
        "Key of the hashes by which patients and visits are known here: stay ids are made with \
         it, and without it nobody can find out whose they are by trying numbers. At least 16 \
         characters, the same for ever. Never printed; better given as NOWCXR_EDGE__SECRET.",
    ),
    key("edge.dir", r#""nowcxr-data/edge""#, "Directory of the edge's state: who is who."),
    key(
        "edge.hl7_listen",
        r#""127.0.0.1:2575""#,
        "Where HL7 v2 messages arrive over MLLP: within TLS if edge.tls_certificate is set, else \
         in the clear, for a network that is yours alone.",
    ),
    key(
        "edge.fhir_listen",
        r#""127.0.0.1:8090""#,
        "Where FHIR resources arrive over HTTP. Plain: put a proxy with TLS before it, and set \
         http.tokens, where it is to be reached from other machines.",
    ),
    key(
        "edge.dicom_listen",
        r#""127.0.0.1:11112""#,
        "Where films arrive by DICOM's C-STORE: within TLS if edge.tls_certificate is set. DICOM \
         has no accounts; edge.tls_clients says who may send. `off` if films come another way.",
    ),
    key(
        "edge.dicomweb_listen",
        r#""off""#,
        "Where films arrive by DICOMweb's STOW-RS, over HTTP. What holds for edge.fhir_listen \
         holds here.",
    ),
    key(
        "edge.ae_title",
        r#""NOWCXR""#,
        "The AE title under which DICOM peers call the edge; who calls another is refused.",
    ),
    key(
        "edge.tls_certificate",
        r#""""#,
        "A PEM file with the edge's certificate and those between it and its authority. With it \
         HL7 and DICOM are heard within TLS only, in a build with the feature https. FHIR and \
         DICOMweb are not: a proxy does it there.",
    ),
    key("edge.tls_key", r#""""#, "A PEM file with the certificate's private key."),
    key(
        "edge.tls_clients",
        r#""""#,
        "A PEM file of the authorities one of which must have signed a sender's certificate. Empty \
         if senders need none.",
    ),
    key(
        "edge.wado",
        r#""""#,
        "The base of the archive's WADO-RS, such as http://pacs:8080/dicom-web: what stands before \
         /studies. The films of an ImagingStudy are fetched from there, and from nowhere else, \
         whatever address the study names. Empty if films come another way: an ImagingStudy can \
         take films back then, and brings none.",
    ),
    key(
        "edge.wado_token",
        r#""""#,
        "The bearer token that the archive asks for, or @ and the file that holds it. Never \
         printed; better given as NOWCXR_EDGE__WADO_TOKEN.",
    ),
    key(
        "edge.wado_ca",
        r#""""#,
        "A PEM file of the authorities one of which must have signed the archive's certificate, \
         where edge.wado is https. Empty for the authorities of the web.",
    ),
    key(
        "edge.lateness",
        r#""2m""#,
        "How long a message may take from when a clinician could know what it says. The marks of \
         the edge's feeds stay so far behind the clock; what takes longer counts as late.",
    ),
    key(
        "edge.time_zone",
        r#""UTC""#,
        "The IANA name of the zone of times without an offset, such as Europe/Berlin.",
    ),
    key(
        "edge.authority",
        r#""""#,
        "The assigning authority of numbers of patients and visits that name none, as the other \
         senders name it.",
    ),
    key(
        "edge.systems",
        "{}",
        "Systems of FHIR identifiers by the assigning authority that HL7 v2 and DICOM know them \
         under, such as { \"urn:oid:1.2.3\" = \"H\" }. A Patient with a number of such a system is \
         the patient of that number: so films find the stays that FHIR began.",
    ),
    key(
        "edge.units",
        "[]",
        "The intensive care units, as PV1-3.1 or Encounter.location names them: a stay is a \
         stretch of a visit in one of them. Empty if only such units send.",
    ),
    key(
        "edge.codes",
        "{}",
        "Local codes of OBX-3.1 or Observation.code by the codes of schemas/variables.toml, for \
         instance { GLU = \"glucose\" }. LOINC needs no entry.",
    ),
];
