//! The bytes of outputs that wait in the store until the outlet has them.

use crate::ids::StayId;
use crate::ports::{Output, OutputKind};

/// Outputs of one commit are kept in values of about this size, so that none grows without bound.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// Splits `outputs` into values: the number of each value's last output, and its payload.
pub(super) fn encode(outputs: &[Output]) -> Vec<(u64, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut bytes = Vec::new();
    for (i, output) in outputs.iter().enumerate() {
        put(output, &mut bytes);
        if bytes.len() >= CHUNK_BYTES || i + 1 == outputs.len() {
            chunks.push((output.number, std::mem::take(&mut bytes)));
        }
    }
    chunks
}

/// The outputs of one payload; `None` if it is not one.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Output>> {
    let mut outputs = Vec::new();
    while !bytes.is_empty() {
        outputs.push(take(&mut bytes)?);
    }
    Some(outputs)
}

/// The code of a kind on disk; it must never change.
const fn kind_code(kind: OutputKind) -> u8 {
    match kind {
        OutputKind::Risk => 0,
        OutputKind::Alert => 1,
        OutputKind::DeadLetter => 2,
        OutputKind::View => 3,
    }
}

fn kind_of(code: u8) -> Option<OutputKind> {
    [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View]
        .into_iter()
        .find(|kind| kind_code(*kind) == code)
}

fn put(output: &Output, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&output.number.to_le_bytes());
    bytes.push(kind_code(output.kind));
    bytes.push(u8::from(output.stay.is_some()));
    bytes.extend_from_slice(&output.stay.map_or(0, |stay| stay.0).to_le_bytes());
    for part in [&output.payload, &output.envelope] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
}

fn take(bytes: &mut &[u8]) -> Option<Output> {
    let number = u64::from_le_bytes(array(bytes)?);
    let [kind, has_stay] = array::<2>(bytes)?;
    let stay = StayId(u64::from_le_bytes(array(bytes)?));
    Some(Output {
        number,
        kind: kind_of(kind)?,
        stay: (has_stay == 1).then_some(stay),
        payload: part(bytes)?,
        envelope: part(bytes)?,
    })
}

fn part(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::try_from(u64::from_le_bytes(array(bytes)?)).ok()?;
    let (part, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(part.to_vec())
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_round_trip_in_bounded_values() {
        let kinds = [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];
        let outputs: Vec<Output> = (1..=40u64)
            .map(|number| Output {
                number,
                kind: kinds[number as usize % 4],
                stay: (number % 3 != 0).then_some(StayId(number)),
                payload: vec![number as u8; 20_000],
                envelope: b"{}".to_vec(),
            })
            .collect();
        let chunks = encode(&outputs);
        assert!(chunks.len() > 2);
        assert!(chunks.iter().all(|(_, bytes)| bytes.len() < CHUNK_BYTES + 30_000));
        let back: Vec<Output> =
            chunks.iter().flat_map(|(_, bytes)| decode(bytes).expect("ours")).collect();
        assert_eq!(back, outputs);
        assert!(decode(&chunks[0].1[..100]).is_none());
    }
}
