"""Reads a predictions.parquet with pyarrow and prints it: a reader that is not ours.

    python3 tests/peers/read_predictions.py predictions.parquet
"""

import sys

import pyarrow.parquet

table = pyarrow.parquet.read_table(sys.argv[1])
print(table.schema)
print(table.to_pandas() if "--pandas" in sys.argv else table.slice(0, 5).to_pydict())
print(table.num_rows, "rows")
