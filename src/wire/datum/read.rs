//! Bytes to a struct, by position; texts are borrowed from the bytes until the struct takes them.

use serde::de::value::U32Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::{DatumError, FIXED_BYTES, VARINT_BYTES};

/// The record at the front of `rest`, which then begins behind it; on an error it begins where
/// the reading broke off.
pub(in crate::wire) fn read<'de, T: Deserialize<'de>>(
    rest: &mut &'de [u8],
) -> Result<T, DatumError> {
    let mut reader = Reader { rest };
    let record = T::deserialize(&mut reader);
    *rest = reader.rest;
    record
}

struct Reader<'de> {
    rest: &'de [u8],
}

impl<'de> Reader<'de> {
    /// A `long`: seven bits a byte, the low ones first, zigzag.
    #[inline]
    fn long(&mut self) -> Result<i64, DatumError> {
        let mut bits = 0u64;
        for i in 0..VARINT_BYTES {
            let (&byte, rest) = self.rest.split_first().ok_or(DatumError::CutShort)?;
            self.rest = rest;
            bits |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err(DatumError::Integer)
    }

    #[inline]
    fn index(&mut self) -> Result<u32, DatumError> {
        u32::try_from(self.long()?).map_err(|_| DatumError::OutOfRange)
    }

    #[inline]
    fn take(&mut self, n: usize) -> Result<&'de [u8], DatumError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(DatumError::CutShort)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, DatumError> {
        let n = usize::try_from(self.long()?).map_err(|_| DatumError::OutOfRange)?;
        std::str::from_utf8(self.take(n)?).map_err(|_| DatumError::NotUtf8)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = DatumError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DatumError> {
        Err(DatumError::Foreign("a type that serde names otherwise"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i128 u8 u16 u32 u64 u128 f32 char unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        visitor.visit_i32(i32::try_from(self.long()?).map_err(|_| DatumError::OutOfRange)?)
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        visitor.visit_i64(self.long()?)
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DatumError::CutShort)?;
        self.rest = rest;
        visitor.visit_f64(f64::from_le_bytes(*bytes))
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        visitor.visit_borrowed_bytes(self.take(FIXED_BYTES)?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DatumError> {
        match self.index()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(DatumError::OutOfRange),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DatumError> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DatumError> {
        visitor.visit_seq(Fields { reader: self, left: fields.len() })
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DatumError> {
        visitor.visit_enum(Branch(self))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a record, one behind the other.
struct Fields<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = DatumError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DatumError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

/// A symbol of an enum, or a branch of a union with its value: both begin with their index.
struct Branch<'a, 'de>(&'a mut Reader<'de>);

impl<'de> EnumAccess<'de> for Branch<'_, 'de> {
    type Error = DatumError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DatumError> {
        let index: U32Deserializer<DatumError> = self.0.index()?.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Branch<'_, 'de> {
    type Error = DatumError;

    #[inline]
    fn unit_variant(self) -> Result<(), DatumError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DatumError> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DatumError> {
        Err(DatumError::Foreign("a tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, DatumError> {
        Err(DatumError::Foreign("a struct variant"))
    }
}
