//! Where the tensors of a `torch.save` archive lie: from its pickle's graph of values to names,
//! shapes and places in storages. Only the constructors named here mean anything; every other
//! class and call in a checkpoint (optimisers, callbacks, hyper-parameters) is passed over.

use std::collections::BTreeMap;

use super::numbers::Kind;
use super::pickle::{Id, Pickle, Value};

/// A tensor as a view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub kind: Kind,
    /// The storage's member of the archive is `data/<key>`.
    pub key: String,
    /// First number, counted in numbers.
    pub offset: u64,
    pub shape: Vec<usize>,
    /// Numbers between neighbours along each axis.
    pub strides: Vec<u64>,
}

/// What a checkpoint holds.
#[derive(Debug, Default)]
pub struct Contents {
    pub tensors: BTreeMap<String, View>,
    /// Entries beside the tensors, such as the optimiser's state.
    pub others: Vec<String>,
}

/// What is wrong with a checkpoint, in a few words.
pub type Fault = String;

const REBUILD: &str = "torch._utils._rebuild_tensor_v2";
const PARAMETER: &str = "torch._utils._rebuild_parameter";
/// The key of a Lightning checkpoint behind which its tensors stand.
const STATE: &str = "state_dict";

/// The tensors of a Lightning checkpoint, or of a bare state dictionary.
pub fn contents(pickle: &Pickle) -> Result<Contents, Fault> {
    let Value::Dict(whole) = pickle.get(pickle.root()) else {
        return Err("its pickle is no dictionary of tensors".to_owned());
    };
    let mut contents = Contents::default();
    let state = whole.iter().find(|(key, _)| pickle.text(*key) == Some(STATE));
    let pairs = match state.map(|(_, value)| pickle.get(*value)) {
        Some(Value::Dict(pairs)) => {
            contents.others.extend(
                whole
                    .iter()
                    .filter_map(|(key, _)| pickle.text(*key))
                    .filter(|key| *key != STATE)
                    .map(str::to_owned),
            );
            pairs
        }
        Some(_) => return Err(format!("its {STATE} is no dictionary")),
        None => whole,
    };
    for &(key, value) in pairs {
        let Some(name) = pickle.text(key) else {
            return Err("a tensor has a name that is no text".to_owned());
        };
        match view(pickle, value).map_err(|fault| format!("its tensor {name} {fault}"))? {
            Some(view) => {
                contents.tensors.insert(name.to_owned(), view);
            }
            None => contents.others.push(name.to_owned()),
        }
    }
    Ok(contents)
}

/// The tensor at `id`; none if that is something else.
fn view(pickle: &Pickle, id: Id) -> Result<Option<View>, Fault> {
    let Some((class, arguments)) = call(pickle, id) else { return Ok(None) };
    if class == PARAMETER {
        // A parameter is its tensor with a flag. It holds no further parameter.
        let inner = arguments.first().copied().ok_or("is a parameter of nothing")?;
        return match call(pickle, inner) {
            Some((REBUILD, arguments)) => rebuilt(pickle, arguments).map(Some),
            _ => Ok(None),
        };
    }
    if class == REBUILD { rebuilt(pickle, arguments).map(Some) } else { Ok(None) }
}

/// Class and arguments of a recorded call.
fn call(pickle: &Pickle, id: Id) -> Option<(&str, &[Id])> {
    let Value::Call { function, arguments } = pickle.get(id) else { return None };
    match (pickle.get(*function), pickle.get(*arguments)) {
        (Value::Class(class), Value::Tuple(arguments)) => Some((class, arguments)),
        _ => None,
    }
}

/// The view that `_rebuild_tensor_v2(storage, offset, size, stride, ...)` would have made.
fn rebuilt(pickle: &Pickle, arguments: &[Id]) -> Result<View, Fault> {
    let [storage, offset, size, stride, ..] = arguments else {
        return Err("is made of too little".to_owned());
    };
    let Value::Persistent(storage) = pickle.get(*storage) else {
        return Err("has no storage".to_owned());
    };
    let Value::Tuple(parts) = pickle.get(*storage) else {
        return Err("has no storage".to_owned());
    };
    let [_, class, key, ..] = parts.as_slice() else {
        return Err("has no storage".to_owned());
    };
    let Value::Class(class) = pickle.get(*class) else {
        return Err("has a storage of no type".to_owned());
    };
    let key = pickle.text(*key).ok_or("has a storage without a name")?.to_owned();
    let offset = number(pickle, *offset).ok_or("has no offset")?;
    let (shape, strides) = (numbers(pickle, *size), numbers(pickle, *stride));
    let (Some(shape), Some(strides)) = (shape, strides) else {
        return Err("has no shape".to_owned());
    };
    if shape.len() != strides.len() {
        return Err("has as many strides as it has no axes".to_owned());
    }
    let shape: Result<Vec<usize>, _> = shape.into_iter().map(usize::try_from).collect();
    let shape = shape.map_err(|_| "is too large")?;
    Ok(View { kind: Kind::of_storage(class), key, offset, shape, strides })
}

fn number(pickle: &Pickle, id: Id) -> Option<u64> {
    match pickle.get(id) {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// A tuple of numbers, or a `torch.Size` of one.
fn numbers(pickle: &Pickle, id: Id) -> Option<Vec<u64>> {
    let items = match pickle.get(id) {
        Value::Tuple(items) => items,
        Value::Call { arguments, .. } => match pickle.get(*arguments) {
            Value::Tuple(outer) => match outer.first().map(|inner| pickle.get(*inner)) {
                Some(Value::Tuple(items)) => items,
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    };
    items.iter().map(|item| number(pickle, *item)).collect()
}

impl View {
    /// How many numbers it has; none if that is too many to count.
    pub fn count(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |n, &side| n.checked_mul(u64::try_from(side).ok()?))
    }

    /// The numbers of the view, row by row, out of its storage's; none if it reaches beyond it.
    pub fn gather(&self, storage: &[f32]) -> Option<Vec<f32>> {
        let count = usize::try_from(self.count()?).ok()?;
        if count == 0 {
            return Some(Vec::new());
        }
        let first = usize::try_from(self.offset).ok()?;
        if self.is_contiguous() {
            return storage.get(first..first.checked_add(count)?).map(<[f32]>::to_vec);
        }
        // A view that repeats numbers is larger than its storage; no parameter is one.
        if count > storage.len() {
            return None;
        }
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..count {
            let mut at = self.offset;
            for (&i, &stride) in index.iter().zip(&self.strides) {
                at = at.checked_add(stride.checked_mul(u64::try_from(i).ok()?)?)?;
            }
            values.push(*storage.get(usize::try_from(at).ok()?)?);
            for (i, &side) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < side {
                    break;
                }
                *i = 0;
            }
        }
        Some(values)
    }

    fn is_contiguous(&self) -> bool {
        let mut wanted = 1u64;
        self.shape.iter().zip(&self.strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == wanted;
            wanted = wanted.saturating_mul(side as u64);
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: u64, shape: &[usize], strides: &[u64]) -> View {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        View { kind: Kind::F32, key: "0".to_owned(), offset, shape, strides }
    }

    #[test]
    fn views_are_read_row_by_row() {
        let storage: Vec<f32> = (0..12).map(|x| x as f32).collect();
        let straight = view(2, &[2, 3], &[3, 1]).gather(&storage).expect("inside");
        assert_eq!(straight, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let turned = view(0, &[3, 2], &[1, 3]).gather(&storage).expect("inside");
        assert_eq!(turned, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(view(5, &[], &[]).gather(&storage), Some(vec![5.0]));
        assert_eq!(view(5, &[0], &[1]).gather(&storage), Some(Vec::new()));
    }

    #[test]
    fn a_view_beyond_its_storage_is_refused() {
        let storage = [0.0; 12];
        for wrong in [
            view(7, &[2, 3], &[3, 1]),
            view(u64::MAX, &[2], &[1]),
            view(0, &[2, 2], &[u64::MAX, 1]),
            view(0, &[usize::MAX, usize::MAX], &[0, 0]),
            view(0, &[1000], &[0]),
            view(13, &[], &[]),
        ] {
            assert_eq!(wrong.gather(&storage), None, "{wrong:?}");
        }
    }
}
