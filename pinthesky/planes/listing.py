"""Lists: what every list route takes, and how it answers."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.planes.page_tokens import TOKEN_MAX
from pinthesky.planes.table import LIMIT_MAX

Item = TypeVar("Item")

EpochMs = Annotated[int, Meta(ge=0, le=9_999_999_999_999, description="Milliseconds since 1970.")]


class ListQuery(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The parameters of every list."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="Most items of the answer.")] = LIMIT_MAX
    next_token: Annotated[str, Meta(max_length=TOKEN_MAX, description="From the answer before.")] | None = None


class TimedListQuery(ListQuery, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The parameters of every list of what has a time."""

    start_time: EpochMs | None = None
    end_time: EpochMs | None = None
    sort_order: Literal["ascending", "descending"] = "descending"

    @property
    def ascending(self) -> bool:
        """Whether the oldest comes first."""
        return self.sort_order == "ascending"

    def check(self) -> None:
        """Raise InvalidInput for a range that ends before it begins."""
        if self.start_time is not None and self.end_time is not None and self.end_time < self.start_time:
            raise InvalidInput("endTime", "must not be before startTime")


class Items(Struct, Generic[Item], kw_only=True, rename="camel"):
    """The answer of every list. `nextToken` is null at its end; a page may be empty before that."""

    items: list[Item]
    next_token: str | None = None
