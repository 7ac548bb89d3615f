"""Pages of lists that are short enough to be read whole: names in their order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pinthesky.planes.table import Key, Position

if TYPE_CHECKING:
    from pinthesky.planes.listing import ListQuery
    from pinthesky.planes.page_tokens import PageTokens

Name = TypeVar("Name", bound=str)


class NamePage(NamedTuple, Generic[Name]):
    """Some names, and the token of the next page."""

    names: Sequence[Name]
    token: str | None


def page(names: Sequence[Name], query: ListQuery, tokens: PageTokens, *, of: str) -> NamePage[Name]:
    """The page of sorted `names` that is asked for. `of` says which list its token belongs to.

    A token goes on behind a name, whether it is still there or not.
    """
    after = tokens.open(query.next_token, of)
    start = 0 if after is None else bisect_right(names, after.key.sort)
    chosen = names[start : start + query.limit]
    more = Position(Key("name", str(chosen[-1]))) if start + query.limit < len(names) else None
    return NamePage(chosen, tokens.seal(more, of))
