"""Pages of what is held as a whole: people, sessions, job types."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeVar

from pinthesky.planes.listing import Items, ListQuery
from pinthesky.planes.page_tokens import PageTokens
from pinthesky.planes.table import Key, Position

Item = TypeVar("Item")


def page_of(
    items: Sequence[Item], key: Callable[[Item], str], query: ListQuery, *, tokens: PageTokens, name: str
) -> Items[Item]:
    """A page of `items` in the order of their keys, no two of which are equal; `name` says which list it is."""
    ordered = sorted(items, key=key)
    after = tokens.open(query.next_token, name)
    start = 0 if after is None else bisect_right(ordered, after.key.sort, key=key)
    chosen = ordered[start : start + query.limit]
    more = Position(Key(name, key(chosen[-1]))) if start + query.limit < len(ordered) else None
    return Items(items=chosen, next_token=tokens.seal(more, name))
