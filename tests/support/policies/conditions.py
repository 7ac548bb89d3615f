"""What a statement asks of a request: the block `Condition`.

Source: IAM user guide, "Condition operators" and "Set operators for multi-valued context keys".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.support.policies.patterns import Context, PolicyNotUnderstood, arn_matches, equals, matches

Comparison = Callable[[str, str, Context], bool]
"""Policy's value, request's value, context."""


def _bool(wanted: str, value: str, _context: Context) -> bool:
    if wanted.lower() not in ("true", "false"):
        raise PolicyNotUnderstood(f"Bool is compared with {wanted}")
    return wanted.lower() == value.lower()


def _numeric(compare: Callable[[float, float], bool]) -> Comparison:
    return lambda wanted, value, _context: compare(float(value), float(wanted))


# Each operator, and whether it is the opposite of what its comparison says.
OPERATORS: dict[str, tuple[Comparison, bool]] = {
    "StringEquals": (equals, False),
    "StringNotEquals": (equals, True),
    "StringEqualsIgnoreCase": (lambda wanted, value, at: equals(wanted.lower(), value.lower(), at), False),
    "StringNotEqualsIgnoreCase": (lambda wanted, value, at: equals(wanted.lower(), value.lower(), at), True),
    "StringLike": (matches, False),
    "StringNotLike": (matches, True),
    "ArnEquals": (arn_matches, False),
    "ArnLike": (arn_matches, False),
    "ArnNotEquals": (arn_matches, True),
    "ArnNotLike": (arn_matches, True),
    "Bool": (_bool, False),
    "NumericEquals": (_numeric(lambda value, wanted: value == wanted), False),
    "NumericNotEquals": (_numeric(lambda value, wanted: value == wanted), True),
    "NumericLessThan": (_numeric(lambda value, wanted: value < wanted), False),
    "NumericLessThanEquals": (_numeric(lambda value, wanted: value <= wanted), False),
    "NumericGreaterThan": (_numeric(lambda value, wanted: value > wanted), False),
    "NumericGreaterThanEquals": (_numeric(lambda value, wanted: value >= wanted), False),
}


def hold(block: Mapping[str, Any], context: Context) -> bool:
    """Tell whether every condition of a statement holds. Raises PolicyNotUnderstood for an unknown operator."""
    # Each is looked at, also behind one that does not hold: an operator that nobody knows must not hide there.
    results = [
        _holds(operator, key, values, context)
        for operator, asked in block.items()
        for key, values in _mapping(operator, asked).items()
    ]
    return all(results)


def _holds(operator: str, key: str, values: Any, context: Context) -> bool:
    quantifier, _, name = operator.rpartition(":")
    wanted = [_text(value) for value in (values if isinstance(values, list) else [values])]
    given = context.get(key.lower())
    if name == "Null":
        return _null(wanted, given, quantifier)
    optional = name.endswith("IfExists")
    comparison, opposite = _operator(name.removesuffix("IfExists"))

    def agrees(value: str) -> bool:
        # Several values of a policy are alternatives; of an opposite none may be it.
        return any(comparison(each, value, context) for each in wanted) is not opposite

    if not quantifier:
        if isinstance(given, list):
            raise PolicyNotUnderstood(f"{operator} on {key}, which has several values: say ForAnyValue or ForAllValues")
        return (opposite or optional) if given is None else agrees(given)
    held = [agrees(value) for value in ([given] if isinstance(given, str) else given or [])]
    if quantifier == "ForAllValues":
        return all(held)
    if quantifier == "ForAnyValue":
        return any(held) or (optional and not held)
    raise PolicyNotUnderstood(f"the condition operator {operator}")


def _operator(name: str) -> tuple[Comparison, bool]:
    if name not in OPERATORS:
        raise PolicyNotUnderstood(f"the condition operator {name}")
    return OPERATORS[name]


def _null(wanted: list[str], given: object, quantifier: str) -> bool:
    if quantifier or len(wanted) != 1 or wanted[0] not in ("true", "false"):
        raise PolicyNotUnderstood(f"Null is compared with {wanted}")
    return (given is None) is (wanted[0] == "true")


def _mapping(operator: str, asked: Any) -> Mapping[str, Any]:
    if not isinstance(asked, Mapping):
        raise PolicyNotUnderstood(f"{operator} without a key: {asked}")
    return asked


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise PolicyNotUnderstood(f"a condition's value: {value}")
    return str(value)
