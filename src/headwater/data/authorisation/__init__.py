"""Who may use data that is not open, on which terms, and the record of every use.

- `policy.py`: the terms as a typed part of ODRL; `decision.py`: the one function that weighs a use.
- `grants.py`: grants, read from the statements that closed cases issue, and their use counted without races.
- `signed_urls.py`, `serving.py`: addresses that expire, and the files behind them.
- `products.py`, `disclosure.py`: what operators offer at which price, and the yearly report.
"""
