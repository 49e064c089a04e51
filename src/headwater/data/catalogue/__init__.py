"""The catalogue of public data: data sets, their immutable versions, where they belong, how good they are, when they are due.

- `sets.py`: what a data set and a version are, and how they are found; `search.py`: full text, Chinese and English.
- `describe.py`, `intake.py`, `publishing.py`: from a description and files to a version; `delta.py`: its tables as one Delta table.
- `quality.py`: scores computed from the data; `opening.py`: dated commitments and who is late.
- `vocabulary.py` with `zones.toml` and `licences.toml`: more by data.
"""
