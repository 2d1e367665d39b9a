"""Parts of tests/dicom/send that a shell cannot play: an ADT sender, a modality, a DICOMweb client."""

import csv
import gzip
import pathlib
import socket
import sys

import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom.encaps import encapsulate
from pydicom.uid import DigitalXRayImageStorageForPresentation, JPEGBaseline8Bit, generate_uid


def admit(address):
    """Tells the edge of a patient, by HL7."""
    host, port = address.rsplit(":", 1)
    message = (
        "MSH|^~\\&|ADT|H|NCX|H|20260301075900||ADT^A01|1|P|2.4\r"
        "PID|||7^^^H^MR||MUSTER^ERIKA||19570301|F\rPV1||I|MICU" + "|" * 16 + "V7\r"
    )
    with socket.create_connection((host, int(port)), timeout=60) as sender:
        sender.sendall(b"\x0b" + message.encode() + b"\x1c\r")
        answer = b""
        while b"\x1c" not in answer:
            answer += sender.recv(4096)
    assert b"MSA|AA|1" in answer, answer


def film(ward, out):
    """Writes the ward's first AP film as a modality would: its JPEG, encapsulated."""
    metadata = next(pathlib.Path(ward).rglob("mimic-cxr-2.*-metadata.csv.gz"))
    with gzip.open(metadata, "rt", newline="", encoding="utf-8") as rows:
        row = next(row for row in csv.DictReader(rows) if row["ViewPosition"] == "AP")
    jpeg = next(pathlib.Path(ward).rglob(row["dicom_id"] + ".jpg")).read_bytes()
    instance = generate_uid()
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = instance
    made = pydicom.Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = DigitalXRayImageStorageForPresentation, instance
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.PatientID, made.IssuerOfPatientID, made.PatientName = "7", "H", "MUSTER^ERIKA"
    made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "CHEST", "AP"
    made.AcquisitionDateTime = "20260301083000.000000+0000"
    made.Rows, made.Columns = int(row["Rows"]), int(row["Columns"])
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = encapsulate([jpeg])
    made.save_as(out, enforce_file_format=True)


def stow(url, good, nobodys):
    """Sends two films, of which the second names no patient."""
    client = DICOMwebClient(url=url)
    files = [pydicom.dcmread(name) for name in (good, nobodys)]
    answer = client.store_instances(datasets=files)
    stored = [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence]
    failed = [item.ReferencedSOPInstanceUID for item in answer.FailedSOPSequence]
    assert stored == [files[0].SOPInstanceUID], answer
    assert failed == [files[1].SOPInstanceUID], answer
    assert answer.FailedSOPSequence[0].FailureReason == 0xC000, answer
    print("stored by DICOMweb: 1, refused: 1")


if __name__ == "__main__":
    {"admit": admit, "film": film, "stow": stow}[sys.argv[1]](*sys.argv[2:])
