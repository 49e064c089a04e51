"""A small card and tables for it."""

from __future__ import annotations

from headwater.data.card import Card, read_card
from headwater.data.table import RawTable, parse_csv

CARD = """
schema: headwater.card/1
name: small-loans
title: {zh: 小额贷款, en: Small loans}
description: {zh: 示例, en: An example}
licence: CC-BY-4.0
source: https://example.org/loans
creators: [{name: Example Bank, organisation: true}]
missing_values: ["", "?"]
positive: late
columns:
  - {name: amount, type: number, minimum: 0, maximum: 1000}
  - {name: months, type: integer, minimum: 1}
  - name: purpose
    type: category
    values:
      1: {zh: 汽车, en: a car}
      2: {zh: 学习, en: studies}
  - {name: age, type: integer, role: ignore, immutable: true, missing: true}
  - {name: note, type: text, role: ignore, missing: true}
  - {name: outcome, type: category, role: target, values: [late, repaid]}
sensitive:
  - {name: under_26, column: age, rule: {at_most: 25}}
  - {name: car, column: purpose, rule: {in: [1]}}
citation: Example Bank, Small loans
published: 2024-05-01
"""
HEADER = "amount,months,purpose,age,note,outcome"


def card(text: str = CARD) -> Card:
    """Return the card, checked."""
    return read_card(text.encode())


def table(*lines: str) -> RawTable:
    """Return the lines under the header as a table."""
    return parse_csv("\n".join((HEADER, *lines)) + "\n")
