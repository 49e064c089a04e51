"""Tables whose rows stay where they are: others ask, and get noisy or aggregate answers within a budget.

- `holding.py`: what a protected table declares of itself, and reading it.
- `questions.py`: the only questions there are; no free text reaches the data.
- `budget.py`: what each grantee may still spend; spent in the transaction that authorises, before any answer.
- `mechanisms.py`: differentially private answers through OpenDP.
- `cells.py`, `overlap.py`: aggregates with suppressed cells, and no two of them too alike.
- `asking.py`: the one way to ask, recorded whatever the decision.
"""
