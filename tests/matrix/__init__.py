"""Any table: shapes of tables by kinds of write, each captured as SELECT tells it and byte for byte as kept in golden/.

shape.py says what a shape is and what is written to it; shapes_*.py hold them; run.py writes and collects; replay.py holds what
was captured against what SELECT says; golden.py against the payloads that are kept. table.py makes the tables of docs/capture.md.
"""
