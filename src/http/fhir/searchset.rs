//! Bundle of the type searchset: what was found.

use serde_json::{Value, json};

/// One resource that was found, and the address by which a Bundle tells it from others.
pub struct Found {
    pub full_url: String,
    pub resource: Value,
}

/// The resource. `total` counts all that match; there are no further pages, so `_count` brings
/// more.
pub fn searchset(own: &str, total: usize, found: Vec<Found>) -> Value {
    let entry = |found: Found| {
        json!({
            "fullUrl": found.full_url,
            "resource": found.resource,
            "search": { "mode": "match" },
        })
    };
    let entries: Vec<Value> = found.into_iter().map(entry).collect();
    let mut bundle = json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "total": total,
        "link": [{ "relation": "self", "url": own }],
    });
    // An empty list would be invalid.
    if let (false, Some(bundle)) = (entries.is_empty(), bundle.as_object_mut()) {
        bundle.insert("entry".to_owned(), json!(entries));
    }
    bundle
}
