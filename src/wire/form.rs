//! How our own types look inside a record. Avro gets its native forms (long, fixed, bytes, uuid
//! text); JSON gets what a person reads (RFC 3339, hexadecimal digits). One `with` module serves
//! all of them, so that a record struct says `#[serde(with = "form")]` and no more.

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::ids::{AlertId, Digest, EventId, FactId, StayId};
use crate::time::EventTime;

/// A type with a form inside records.
pub trait Form: Sized {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Writes `value` in its form.
pub fn serialize<T: Form, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.write(serializer)
}

/// Reads a value in its form.
pub fn deserialize<'de, T: Form, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

/// The same for a nullable field.
pub mod option {
    use super::{Deserialize, Deserializer, Form, Formed, Serializer, Written};

    pub fn serialize<T: Form, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&Written(value)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, T: Form, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Formed<T>>::deserialize(deserializer)?.map(|formed| formed.0))
    }
}

/// The same for an array.
pub mod list {
    use super::{Deserialize, Deserializer, Form, Formed, Serializer, Written};

    pub fn serialize<T: Form, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Written))
    }

    pub fn deserialize<'de, T: Form, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let formed = Vec::<Formed<T>>::deserialize(deserializer)?;
        Ok(formed.into_iter().map(|formed| formed.0).collect())
    }
}

struct Written<'a, T>(&'a T);

impl<T: Form> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

struct Formed<T>(T);

impl<'de, T: Form> Deserialize<'de> for Formed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Formed)
    }
}

/// `timestamp-millis`; RFC 3339 in JSON, where the two ends of the range are words.
impl Form for EventTime {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        serializer.serialize_i64(self.as_millis())
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(EventTime::from_millis);
        }
        match String::deserialize(deserializer)?.as_str() {
            "never" => Ok(EventTime::MIN),
            "end" => Ok(EventTime::MAX),
            text => chrono::DateTime::parse_from_rfc3339(text)
                .map(|at| EventTime::from_millis(at.timestamp_millis()))
                .map_err(D::Error::custom),
        }
    }
}

/// `long`. Stay ids beyond its range cannot be written and do not occur.
impl Form for StayId {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = i64::try_from(self.0).map_err(|_| S::Error::custom("stay id above 2^63 - 1"))?;
        serializer.serialize_i64(id)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = i64::deserialize(deserializer)?;
        u64::try_from(id).map(StayId).map_err(|_| D::Error::custom("negative stay id"))
    }
}

/// `long` of the same 64 bits; in JSON the number as text, for many readers of JSON round what is
/// above 2^53.
impl Form for u64 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        serializer.serialize_i64(self.cast_signed())
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(i64::cast_unsigned);
        }
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `string` with logical type uuid, which every Avro library reads.
impl Form for Uuid {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Uuid::encode_buffer();
        serializer.serialize_str(self.hyphenated().encode_lower(&mut text))
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::parse_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Form for FactId {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::read(deserializer).map(FactId)
    }
}

impl Form for EventId {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::read(deserializer).map(EventId)
    }
}

impl Form for AlertId {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::read(deserializer).map(AlertId)
    }
}

/// Ids in the records that come by the million: `fixed` of 16 bytes with logical type uuid (Avro
/// 1.12), 16 bytes and no parsing where the text takes 37; in JSON the text.
pub mod octets {
    use super::{Deserialize, Deserializer, FactId, Form, Serialize, Serializer, Sixteen};

    pub fn serialize<S: Serializer>(id: &FactId, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return id.write(serializer);
        }
        serializer.serialize_bytes(id.0.as_bytes())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FactId, D::Error> {
        if deserializer.is_human_readable() {
            return FactId::read(deserializer);
        }
        deserializer.deserialize_bytes(Sixteen)
    }

    /// The same for a nullable field.
    pub mod option {
        use super::{Deserialize, Deserializer, FactId, Octets, Serializer};

        pub fn serialize<S: Serializer>(
            id: &Option<FactId>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match id {
                Some(id) => serializer.serialize_some(&Octets(*id)),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<FactId>, D::Error> {
            Ok(Option::<Octets>::deserialize(deserializer)?.map(|id| id.0))
        }
    }

    struct Octets(FactId);

    impl Serialize for Octets {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serialize(&self.0, serializer)
        }
    }

    impl<'de> Deserialize<'de> for Octets {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserialize(deserializer).map(Octets)
        }
    }
}

struct Sixteen;

impl Visitor<'_> for Sixteen {
    type Value = FactId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, octets: &[u8]) -> Result<FactId, E> {
        let id = Uuid::from_slice(octets);
        id.map(FactId).map_err(|_| E::invalid_length(octets.len(), &self))
    }
}

/// `fixed` of 32 bytes; hexadecimal digits in JSON.
impl Form for Digest {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        serializer.serialize_bytes(&self.0)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let octets = Vec::<u8>::read(deserializer)?;
        octets.try_into().map(Digest).map_err(|_| D::Error::custom("a digest has 32 bytes"))
    }
}

/// `bytes`; hexadecimal digits in JSON.
impl Form for Vec<u8> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&Hex(self));
        }
        serializer.serialize_bytes(self)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return from_hex(&text).ok_or_else(|| D::Error::custom("not hexadecimal digits"));
        }
        deserializer.deserialize_byte_buf(Octets)
    }
}

struct Octets;

impl Visitor<'_> for Octets {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
        Ok(octets.to_vec())
    }

    fn visit_byte_buf<E>(self, octets: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(octets)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_round_trip() {
        let octets = vec![0, 1, 0xab, 0xff];
        assert_eq!(from_hex(&Hex(&octets).to_string()), Some(octets));
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("é"), None);
    }
}
