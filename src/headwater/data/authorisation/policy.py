"""The terms of a grant: a typed part of ODRL 2.2, read from and written as JSON-LD.

An agreement permits one grantee some actions on one data set under constraints: purpose, recipients,
term, count, region; a duty caps the fee; a prohibition forbids passing data on. Whatever else a
document says is refused: a constraint that we do not understand is one that we would not enforce.

Source: W3C ODRL Information Model 2.2 and ODRL Vocabulary 2.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from headwater.core.calendar import local_day
from headwater.core.clock import from_text, to_text
from headwater.core.errors import BadFile, Problem

CONTEXT = "http://www.w3.org/ns/odrl.jsonld"
CURRENCY = "urn:iso:std:iso:4217:CNY"
ORGANISATION = "urn:headwater:organisation:"
DATA_SET = "urn:headwater:data-set:"
LONGEST_LIST = 200

Action = Literal["read", "aggregate"]
"""Get rows and files; or ask for counts, sums and means without the rows leaving."""
ACTIONS: tuple[Action, ...] = get_args(Action)


class BadPolicy(BadFile):
    """Terms of use that cannot be enforced as written; all their problems are listed at once."""

    code = "data.bad_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a grantee may do with a data set. An empty tuple and None set no bound; `actions` is never empty."""

    uid: str
    dataset: str
    """The data set's id."""
    assigner: str
    """The organisation that grants."""
    assignee: str
    actions: tuple[Action, ...]
    purposes: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    """Organisations whose people may use it; the assignee's alone where empty."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    """The first moment after the term."""
    count: int | None = None
    regions: tuple[str, ...] = ()
    fee_ceiling_fen: int | None = None
    onward_sharing: bool = False

    @property
    def first_day(self) -> date | None:
        """The city's day on which the term begins."""
        return local_day(self.starts_at) if self.starts_at else None

    @property
    def last_day(self) -> date | None:
        """The city's last day that holds a moment of the term."""
        return local_day(self.ends_at - timedelta(microseconds=1)) if self.ends_at else None

    def as_odrl(self) -> dict[str, Any]:
        """Return the agreement as JSON-LD; `from_odrl` makes an equal one of it."""
        target = DATA_SET + self.dataset
        permission: dict[str, Any] = {
            "target": target,
            "assigner": ORGANISATION + self.assigner,
            "assignee": ORGANISATION + self.assignee,
            "action": list(self.actions),
        }
        if constraints := self._constraints():
            permission["constraint"] = constraints
        if self.fee_ceiling_fen is not None:
            amount = {"@value": _yuan(self.fee_ceiling_fen), "@type": "xsd:decimal"}
            ceiling = {"leftOperand": "payAmount", "operator": "lteq", "rightOperand": amount, "unit": CURRENCY}
            permission["duty"] = [{"action": "compensate", "constraint": [ceiling]}]
        told: dict[str, Any] = {"@context": CONTEXT, "@type": "Agreement", "uid": self.uid, "permission": [permission]}
        return told if self.onward_sharing else told | {"prohibition": [{"target": target, "action": "distribute"}]}

    def _constraints(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for operand, values in (
            ("purpose", self.purposes),
            ("recipient", tuple(ORGANISATION + one for one in self.recipients)),
            ("spatial", self.regions),
        ):
            if values:
                found.append({"leftOperand": operand, "operator": "isAnyOf", "rightOperand": list(values)})
        for operator, at in (("gteq", self.starts_at), ("lt", self.ends_at)):
            if at is not None:
                found.append(
                    {"leftOperand": "dateTime", "operator": operator, "rightOperand": {"@value": to_text(at), "@type": "xsd:dateTime"}}
                )
        if self.count is not None:
            found.append({"leftOperand": "count", "operator": "lteq", "rightOperand": self.count})
        return found


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Text = Annotated[str, Field(min_length=1, max_length=300)]
Texts = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1, max_length=LONGEST_LIST)]


class _Moment(_Node):
    value: str = Field(alias="@value")
    type: Literal["xsd:dateTime"] = Field(alias="@type")


class _Amount(_Node):
    value: str = Field(alias="@value", pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$")
    type: Literal["xsd:decimal"] = Field(alias="@type")


class _OneOf(_Node):
    leftOperand: Literal["purpose", "recipient", "spatial"]  # noqa: N815 - ODRL's own word
    operator: Literal["isAnyOf"]
    rightOperand: Texts  # noqa: N815


class _When(_Node):
    leftOperand: Literal["dateTime"]  # noqa: N815
    operator: Literal["gteq", "lt"]
    rightOperand: _Moment  # noqa: N815


class _Times(_Node):
    leftOperand: Literal["count"]  # noqa: N815
    operator: Literal["lteq"]
    rightOperand: Annotated[int, Field(ge=0, le=2**31 - 1)]  # noqa: N815


class _Ceiling(_Node):
    leftOperand: Literal["payAmount"]  # noqa: N815
    operator: Literal["lteq"]
    rightOperand: _Amount  # noqa: N815
    unit: Literal["urn:iso:std:iso:4217:CNY"]


class _Duty(_Node):
    action: Literal["compensate"]
    constraint: Annotated[list[_Ceiling], Field(min_length=1, max_length=1)]


class _Permission(_Node):
    target: Annotated[str, Field(pattern=f"^{DATA_SET}[0-9a-f-]{{36}}$")]
    assigner: Annotated[str, Field(pattern=f"^{ORGANISATION}[A-Za-z0-9/-]{{1,200}}$")]
    assignee: Annotated[str, Field(pattern=f"^{ORGANISATION}[A-Za-z0-9/-]{{1,200}}$")]
    action: Annotated[list[Action], BeforeValidator(_listed), Field(min_length=1, max_length=2)]
    constraint: Annotated[list[Annotated[_OneOf | _When | _Times, Field(discriminator="leftOperand")]], Field(max_length=20)] = []
    duty: Annotated[list[_Duty], Field(max_length=1)] = []


class _Prohibition(_Node):
    target: str
    action: Literal["distribute"]


class _Agreement(_Node):
    context: Literal["http://www.w3.org/ns/odrl.jsonld"] = Field(alias="@context")
    type: Literal["Agreement"] = Field(alias="@type")
    uid: str = Field(min_length=1, max_length=300)
    permission: Annotated[list[_Permission], Field(min_length=1, max_length=1)]
    prohibition: Annotated[list[_Prohibition], Field(max_length=1)] = []


_ADAPTER = TypeAdapter(_Agreement)


def from_odrl(told: Any, where: str = "policy") -> Policy:
    """Return the policy that a JSON-LD agreement states. Raises BadPolicy for whatever is unknown, twice, or contradicts itself."""
    try:
        read = _ADAPTER.validate_python(told)
    except ValidationError as error:
        problems = [Problem(where=f"{where}, {_dotted(one['loc'])}", what=one["msg"]) for one in error.errors()[:50]]
        raise BadPolicy(problems, "policy") from error
    permission = read.permission[0]
    if problems := [Problem(where=where, what=what) for what in _contradictions(read)]:
        raise BadPolicy(problems, "policy")
    lists = {one.leftOperand: tuple(one.rightOperand) for one in permission.constraint if isinstance(one, _OneOf)}
    times = {one.operator: from_text(one.rightOperand.value) for one in permission.constraint if isinstance(one, _When)}
    counts = [one.rightOperand for one in permission.constraint if isinstance(one, _Times)]
    return Policy(
        uid=read.uid,
        dataset=permission.target.removeprefix(DATA_SET),
        assigner=permission.assigner.removeprefix(ORGANISATION),
        assignee=permission.assignee.removeprefix(ORGANISATION),
        actions=tuple(dict.fromkeys(permission.action)),
        purposes=lists.get("purpose", ()),
        recipients=tuple(one.removeprefix(ORGANISATION) for one in lists.get("recipient", ())),
        starts_at=times.get("gteq"),
        ends_at=times.get("lt"),
        count=counts[0] if counts else None,
        regions=lists.get("spatial", ()),
        fee_ceiling_fen=_fen(permission.duty[0].constraint[0].rightOperand.value) if permission.duty else None,
        onward_sharing=not read.prohibition,
    )


def _contradictions(read: _Agreement) -> list[str]:
    permission = read.permission[0]
    kinds = Counter((one.leftOperand, one.operator) for one in permission.constraint)
    found = [f"The constraint '{kind[0]} {kind[1]}' stands {times} times." for kind, times in sorted(kinds.items()) if times > 1]
    for one in permission.constraint:
        if isinstance(one, _When) and not _is_moment(one.rightOperand.value):
            found.append(f"'{one.rightOperand.value[:40]}' is not a time with a zone, such as 2026-03-31T00:00:00Z.")
        if isinstance(one, _OneOf) and one.leftOperand == "recipient":
            strangers = [name for name in one.rightOperand if not name.startswith(ORGANISATION)]
            found += [f"The recipient '{name[:80]}' is not an organisation." for name in strangers]
    if any(one.target != permission.target for one in read.prohibition):
        found.append("The prohibition is about another data set than the permission.")
    return found


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _fen(yuan: str) -> int:
    return int(Decimal(yuan) * 100)


def _dotted(path: tuple[int | str, ...]) -> str:
    return ".".join(map(str, path)) or "agreement"


def summary(policy: Policy) -> Mapping[str, Any]:
    """Return the terms as plain JSON values for people's lists."""
    return {
        "actions": list(policy.actions),
        "purposes": list(policy.purposes),
        "recipients": list(policy.recipients or (policy.assignee,)),
        "starts_at": to_text(policy.starts_at) if policy.starts_at else None,
        "ends_at": to_text(policy.ends_at) if policy.ends_at else None,
        "count": policy.count,
        "regions": list(policy.regions),
        "fee_ceiling_fen": policy.fee_ceiling_fen,
        "onward_sharing": policy.onward_sharing,
    }
