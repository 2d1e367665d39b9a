//! A reader of Python's pickle format that runs nothing: it builds a graph of values in which a
//! class is a name and a call is a record of what would have been called. What a call would have
//! done is decided by [`super::torch`], which knows the few constructors of tensors.
//!
//! Opcodes of protocols 2 to 5 are read, all that `torch.save` writes; an older, textual one is
//! refused.

/// Bound of the values of one pickle; the published checkpoints have some 40,000.
const MAX_VALUES: usize = 8_000_000;
/// Highest protocol that is understood.
const MAX_PROTOCOL: u8 = 5;

/// A value's place in its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u32);

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    /// A list or a set.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`, not looked up.
    Class(String),
    /// What would have been made by calling the first with the second, and not been.
    Call {
        function: Id,
        arguments: Id,
    },
    /// A reference to something stored beside the pickle.
    Persistent(Id),
    /// A number too large for 64 bits, or another thing that no tensor needs.
    Opaque,
}

/// The values of a pickle and which of them is the whole.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

/// What is wrong with a pickle, in a few words.
pub type Fault = String;

struct Machine<'a> {
    input: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at each mark.
    marks: Vec<usize>,
    memo: std::collections::BTreeMap<u32, Id>,
}

impl Pickle {
    /// Reads the pickle at the start of `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Pickle, Fault> {
        let mut machine = Machine {
            input: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: std::collections::BTreeMap::new(),
        };
        loop {
            let opcode = machine.byte()?;
            if opcode == b'.' {
                let root = machine.pop()?;
                return Ok(Pickle { values: machine.values, root });
            }
            let known = machine.literal(opcode)?
                || machine.container(opcode)?
                || machine.memory(opcode)?
                || machine.object(opcode)?;
            if !known {
                return Err(format!("its pickle has the opcode {opcode:#04x}"));
            }
        }
    }

    /// The whole.
    pub fn root(&self) -> Id {
        self.root
    }

    /// The value at `id`.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    /// The text at `id`, if it is one.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl Machine<'_> {
    fn take(&mut self, n: u64) -> Result<&[u8], Fault> {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        let (taken, rest) = self.input.split_at_checked(n).ok_or("its pickle is cut short")?;
        self.input = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn number(&mut self, n: u64) -> Result<u64, Fault> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    fn line(&mut self) -> Result<String, Fault> {
        let end = self.input.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or("its pickle is cut short")? as u64;
        let line = self.take(end)?.to_vec();
        self.take(1)?;
        String::from_utf8(line).map_err(|_| "a class name is not UTF-8".to_owned())
    }

    fn add(&mut self, value: Value) -> Result<Id, Fault> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("its pickle has more than {MAX_VALUES} values"));
        }
        let id = Id(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        self.values.push(value);
        Ok(id)
    }

    fn push(&mut self, value: Value) -> Result<(), Fault> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("its pickle takes a value that is not there".to_owned());
        }
        self.stack.pop().ok_or_else(|| "its pickle takes a value that is not there".to_owned())
    }

    fn top(&self) -> Result<Id, Fault> {
        let top = self.stack.last().copied();
        top.ok_or_else(|| "its pickle takes a value that is not there".to_owned())
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or("its pickle takes a mark that is not there")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn string(&mut self, length: u64) -> Result<bool, Fault> {
        let bytes = self.take(length)?.to_vec();
        let text = String::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?;
        self.push(Value::Str(text))?;
        Ok(true)
    }

    fn bytes(&mut self, length: u64) -> Result<bool, Fault> {
        let bytes = self.take(length)?.to_vec();
        self.push(Value::Bytes(bytes))?;
        Ok(true)
    }

    fn long(&mut self, length: u64) -> Result<bool, Fault> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let value = match bytes.len() {
            0 => Value::Int(0),
            1..=8 => {
                let start = if negative { -1i64 } else { 0 };
                let fold = |value: i64, &byte: &u8| (value << 8) | i64::from(byte);
                Value::Int(bytes.iter().rev().fold(start, fold))
            }
            _ => Value::Opaque,
        };
        self.push(value)?;
        Ok(true)
    }

    /// Numbers, texts, bytes. Each of these steps says whether the opcode was one of its own.
    fn literal(&mut self, opcode: u8) -> Result<bool, Fault> {
        let value = match opcode {
            0x80 => {
                let protocol = self.byte()?;
                if protocol > MAX_PROTOCOL {
                    return Err(format!("its pickle has protocol {protocol}"));
                }
                return Ok(true);
            }
            // A frame is a hint for readers of streams.
            0x95 => return self.number(8).map(|_| true),
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            b'G' => {
                let bits = self.take(8)?.iter().fold(0, |v: u64, &b| (v << 8) | u64::from(b));
                Value::Float(f64::from_bits(bits))
            }
            0x8a | 0x8b => {
                let length = self.number(if opcode == 0x8a { 1 } else { 4 })?;
                return self.long(length);
            }
            b'X' | 0x8c | 0x8d => {
                let width = [(b'X', 4), (0x8c, 1), (0x8d, 8)];
                let length = self.width(opcode, &width)?;
                return self.string(length);
            }
            b'B' | b'C' | 0x8e | 0x96 | b'T' | b'U' => {
                let width = [(b'B', 4), (b'C', 1), (0x8e, 8), (0x96, 8), (b'T', 4), (b'U', 1)];
                let length = self.width(opcode, &width)?;
                return self.bytes(length);
            }
            _ => return Ok(false),
        };
        self.push(value)?;
        Ok(true)
    }

    /// The length behind an opcode, which is as wide as the table says.
    fn width(&mut self, opcode: u8, table: &[(u8, u64)]) -> Result<u64, Fault> {
        let width = table.iter().find(|(known, _)| *known == opcode).map_or(1, |(_, width)| *width);
        self.number(width)
    }

    /// Tuples, lists, dictionaries, sets.
    fn container(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0..opcode - 0x84 {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Value::Tuple(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.extend_dict(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.extend_list(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.extend_dict(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Adds to the list on top. What a class would do with the items is not our business.
    fn extend_list(&mut self, items: &[Id]) -> Result<(), Fault> {
        let top = self.top()?;
        if let Some(Value::List(list)) = self.values.get_mut(top.0 as usize) {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    /// Adds to the dictionary on top, or to the one that an ordered dictionary stands for.
    fn extend_dict(&mut self, items: &[Id]) -> Result<(), Fault> {
        let top = self.top()?;
        if !items.len().is_multiple_of(2) {
            return Err("its pickle has a key without a value".to_owned());
        }
        if let Some(Value::Dict(pairs)) = self.values.get_mut(top.0 as usize) {
            pairs.extend(items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    /// The stack and the memo.
    fn memory(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                if self.stack.len() >= MAX_VALUES {
                    return Err(format!("its pickle has more than {MAX_VALUES} values"));
                }
                self.stack.push(top);
            }
            b'q' | b'r' => {
                let key = self.width(opcode, &[(b'q', 1), (b'r', 4)])?;
                let top = self.top()?;
                self.memo.insert(u32::try_from(key).unwrap_or(u32::MAX), top);
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            b'h' | b'j' => {
                let key = self.width(opcode, &[(b'h', 1), (b'j', 4)])?;
                let id = self.memo.get(&u32::try_from(key).unwrap_or(u32::MAX)).copied();
                self.stack.push(id.ok_or("its pickle names a value that is not there")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Classes, calls, states: recorded, never carried out.
    fn object(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Class(format!("{module}.{name}")))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match self.values.get(id.0 as usize) {
                    Some(Value::Str(text)) => text.clone(),
                    _ => String::new(),
                };
                let class = format!("{}.{}", text(module), text(name));
                self.push(Value::Class(class))?;
            }
            b'R' | 0x81 | 0x92 => {
                if opcode == 0x92 {
                    // The keywords of a call change nothing that we read.
                    self.pop()?;
                }
                let (arguments, function) = (self.pop()?, self.pop()?);
                let ordered = matches!(
                    self.values.get(function.0 as usize),
                    Some(Value::Class(name)) if name == "collections.OrderedDict"
                );
                self.push(match ordered {
                    true => Value::Dict(Vec::new()),
                    false => Value::Call { function, arguments },
                })?;
            }
            // The state of an object: its attributes, which no tensor needs.
            b'b' => {
                self.pop()?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(pickle: &Pickle) -> Vec<(String, Value)> {
        let Value::Dict(pairs) = pickle.get(pickle.root()) else { panic!("no dictionary") };
        pairs
            .iter()
            .map(|&(k, v)| (pickle.text(k).expect("a text").to_owned(), pickle.get(v).clone()))
            .collect()
    }

    #[test]
    fn a_dictionary_of_plain_values() {
        // pickle.dumps({"a": 1, "b": -2, "c": [2.5, None, True]}, 2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01X\x01\x00\x00\x00bq\x02J\xfe\xff\
            \xff\xffX\x01\x00\x00\x00cq\x03]q\x04(G@\x04\x00\x00\x00\x00\x00\x00N\x88eu.";
        let pickle = Pickle::read(bytes).expect("a pickle");
        let pairs = dict(&pickle);
        assert_eq!(pairs[0], ("a".to_owned(), Value::Int(1)));
        assert_eq!(pairs[1], ("b".to_owned(), Value::Int(-2)));
        let Value::List(items) = &pairs[2].1 else { panic!("no list") };
        let items: Vec<&Value> = items.iter().map(|&id| pickle.get(id)).collect();
        assert_eq!(items, [&Value::Float(2.5), &Value::None, &Value::Bool(true)]);
    }

    #[test]
    fn a_call_is_recorded_and_not_made() {
        // What a hostile file holds: os.system("false").
        let bytes = b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00false\x85R.";
        let pickle = Pickle::read(bytes).expect("a pickle");
        let Value::Call { function, arguments } = pickle.get(pickle.root()) else {
            panic!("no call")
        };
        assert_eq!(pickle.get(*function), &Value::Class("os.system".to_owned()));
        assert!(matches!(pickle.get(*arguments), Value::Tuple(items) if items.len() == 1));
    }

    #[test]
    fn long_numbers_have_their_sign() {
        for (bytes, want) in [
            (&b"\x8a\x00."[..], 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x02\xff\x00.", 255),
            (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", i64::MIN),
        ] {
            let pickle = Pickle::read(bytes).expect("a pickle");
            assert_eq!(pickle.get(pickle.root()), &Value::Int(want));
        }
    }

    #[test]
    fn what_is_not_well_formed_is_an_error() {
        for bytes in [
            &b""[..],
            b".",
            b"\x80\x09.",
            b"K",
            b"X\xff\xff\xff\xffabc.",
            b"t.",
            b"(K\x01u.",
            b"}(K\x01u.",
            b"h\x07.",
            b"R.",
            b"K\x01\x87.",
            b"I12\n.",
            b"cos\nsystem",
            b"(K\x01b.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        ] {
            assert!(Pickle::read(bytes).is_err(), "{bytes:?}");
        }
        let nested = [vec![b'('; 100_000], vec![b't'; 100_000], vec![b'.']].concat();
        assert!(Pickle::read(&nested).is_ok(), "depth costs nothing");
        let bomb = [vec![b']'; MAX_VALUES + 1], vec![b'.']].concat();
        assert!(Pickle::read(&bomb).is_err());
    }
}
