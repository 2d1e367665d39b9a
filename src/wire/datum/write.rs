//! A struct to bytes, by position.

use serde::ser::{Impossible, SerializeStruct};
use serde::{Serialize, Serializer};

use super::{DatumError, FIXED_BYTES};

/// Appends `record` to `into`; after an error `into` may end in a part of it.
pub(in crate::wire) fn write<T: Serialize>(
    record: &T,
    into: &mut Vec<u8>,
) -> Result<(), DatumError> {
    record.serialize(&mut Writer { into })
}

struct Writer<'a> {
    into: &'a mut Vec<u8>,
}

type Written = Result<(), DatumError>;
type Never = Impossible<(), DatumError>;

impl Writer<'_> {
    /// A `long`: seven bits a byte, the low ones first, zigzag.
    #[inline]
    fn long(&mut self, n: i64) {
        let mut bits = ((n << 1) ^ (n >> 63)) as u64;
        while bits > 0x7f {
            self.into.push(bits as u8 | 0x80);
            bits >>= 7;
        }
        self.into.push(bits as u8);
    }

    /// Lengths of what is in memory fit a `long`.
    #[inline]
    fn length(&mut self, n: usize) {
        self.long(n as i64);
    }
}

/// Types that no such record has.
macro_rules! refuse {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Written {
            Err(DatumError::Foreign(stringify!($type)))
        })*
    };
}

impl Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = DatumError;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Self;
    type SerializeStructVariant = Never;

    refuse! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_u8: u8,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_char: char
    }

    #[inline]
    fn serialize_i32(self, n: i32) -> Written {
        self.serialize_i64(i64::from(n))
    }

    #[inline]
    fn serialize_i64(self, n: i64) -> Written {
        self.long(n);
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, x: f64) -> Written {
        self.into.extend_from_slice(&x.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Written {
        self.length(text.len());
        self.into.extend_from_slice(text.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        if bytes.len() != FIXED_BYTES {
            return Err(DatumError::OutOfRange);
        }
        self.into.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Written {
        self.long(0);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        self.long(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        Err(DatumError::Foreign("()"))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Written {
        Err(DatumError::Foreign(name))
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Written {
        self.long(i64::from(index));
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Written {
        v.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Written {
        self.long(i64::from(index));
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, DatumError> {
        Err(DatumError::Foreign("an array"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, DatumError> {
        Err(DatumError::Foreign("a tuple"))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Never, DatumError> {
        Err(DatumError::Foreign(name))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, DatumError> {
        Err(DatumError::Foreign(name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, DatumError> {
        Err(DatumError::Foreign("a map"))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, DatumError> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, DatumError> {
        Err(DatumError::Foreign(name))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl SerializeStruct for &mut Writer<'_> {
    type Ok = ();
    type Error = DatumError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Written {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Written {
        Ok(())
    }
}
