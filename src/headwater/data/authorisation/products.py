"""What an operator offers under a grant, at which price: never above the ceiling of the operating fee that was granted."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from headwater.core import ledger
from headwater.core.clock import to_text
from headwater.core.errors import BadInput, Refused
from headwater.core.platform import Platform
from headwater.data.authorisation import grants
from headwater.data.authorisation.tables import data_grants, data_products

Kind = Literal["product", "service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product or service made of granted data, and its actual price."""

    id: str
    statement: str
    """The grant that it stands on."""
    name: str
    kind: Kind
    price_fen: int
    unit: str
    """What the price is for, such as `query` or `month`."""
    changed_by: str
    changed_at: datetime

    def as_json(self) -> dict[str, Any]:
        """Return the product as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"changed_at": to_text(self.changed_at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A product or service to enter, or whose price changes."""

    name: str
    kind: Kind
    price_fen: int
    unit: str


def offer(platform: Platform, grant: str, offered: Offer, *, actor: str) -> Product:
    """Enter a product of a grant, or change its price. Raises Refused above the fee ceiling or without a standing grant."""
    if offered.price_fen < 0 or not offered.name.strip() or not offered.unit.strip():
        raise BadInput("A product has a name, a unit, and a price of 0 fen or more.", "Give all three.")
    now = platform.clock.now()

    def work(connection: Connection) -> Product:
        key = grants.find(connection, grant).statement
        connection.execute(select(data_grants.c.statement).where(data_grants.c.statement == key).with_for_update()).one()
        held = grants.find(connection, key)
        stands = grants.standing(connection, platform.keyring, held, now)
        if not stands.allowed:
            raise Refused(f"Nothing can be offered: {stands.because}.", "Apply for a new grant.")
        ceiling = held.policy.fee_ceiling_fen
        if ceiling is not None and offered.price_fen > ceiling:
            raise Refused(f"The price of {offered.price_fen} fen is above the granted ceiling of {ceiling}.", "Lower it.")
        return _entered(connection, held.number, key, offered, actor, now)

    return platform.db.write(work)


def of(connection: Connection, grant: str) -> tuple[Product, ...]:
    """Return what is offered under a grant, by name; takes the grant's statement."""
    query = select(data_products).where(data_products.c.statement == grant).order_by(data_products.c.name)
    return tuple(Product(**row._asdict()) for row in connection.execute(query))


def _entered(connection: Connection, number: str, statement: str, offered: Offer, actor: str, at: datetime) -> Product:
    same = (data_products.c.statement == statement, data_products.c.name == offered.name)
    known = connection.execute(select(data_products).where(*same)).one_or_none()
    values = {"kind": offered.kind, "price_fen": offered.price_fen, "unit": offered.unit, "changed_by": actor, "changed_at": at}
    if known is None:
        connection.execute(insert(data_products).values(id=str(uuid.uuid4()), statement=statement, name=offered.name, **values))
    else:
        connection.execute(update(data_products).where(*same).values(**values))
    body = {"grant": number, "name": offered.name, "kind": offered.kind, "price_fen": offered.price_fen, "unit": offered.unit}
    body |= {"price_before_fen": known.price_fen if known is not None else None}
    ledger.append(connection, "data.product.priced", subject=statement, actor=actor, at=at, body=body)
    return Product(**connection.execute(select(data_products).where(*same)).one()._asdict())
