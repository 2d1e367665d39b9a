"""Asks a running FHIR edge for one of each resource that it serves; a file each.

    collect.py BASE TOKEN STAY DIR
"""
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

base, token, stay, into = sys.argv[1:]
into = pathlib.Path(into)


def ask(name, path, body=None, expect=200):
    request = urllib.request.Request(base + path)
    request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.add_header("Content-Type", "application/fhir+json")
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    text = answer.read()
    assert answer.status == expect, f"{name}: {answer.status} {text[:500]!r}"
    (into / f"{name}.json").write_bytes(text)
    return json.loads(text)


def code(loinc):
    return {"coding": [{"system": "http://loinc.org", "code": loinc}]}


result = {
    "resourceType": "Observation", "status": "final", "code": code("718-7"),
    "subject": {"reference": "Patient/1"}, "effectiveDateTime": "2026-03-01T08:00:00Z",
    "valueQuantity": {"value": 9, "unit": "g/dL"},
}
timeless = {k: v for k, v in result.items() if k != "effectiveDateTime"} | {"code": code("2345-7")}
entries = [
    {"request": {"method": "POST", "url": "Observation"}, "resource": one}
    for one in (result, timeless, {"resourceType": "Claim"})
]
bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}

ask("CapabilityStatement", "/metadata")
# The run's log is followed from its start, which takes a moment.
for _ in range(60):
    found = ask("RiskAssessments", f"/RiskAssessment?encounter={stay}&_count=1000")
    if found["total"] > 0:
        break
    time.sleep(0.5)
assert found["total"] > 0, "the run has no risk of this stay"
for n, name in ((0, "newest"), (-1, "oldest")):
    id = found["entry"][n]["resource"]["id"]
    ask(f"RiskAssessment-{name}", f"/RiskAssessment/{id}")
    ask(f"Provenance-{name}", f"/Provenance/{id}")
ask("nothing-found", "/RiskAssessment?encounter=nobody")
ask("AuditEvents", "/AuditEvent")
ask("OperationOutcome-warning", "/Observation", result, 201)
ask("OperationOutcome-known", "/Observation", result)
ask("OperationOutcome-error", "/Observation", timeless, 422)
ask("OperationOutcome-syntax", "/Observation", b"{", 400)
ask("batch-response", "", bundle)
ask("transaction-refused", "", bundle | {"type": "transaction"}, 422)
ask("transaction-response", "", bundle | {"type": "transaction", "entry": entries[:1]})
