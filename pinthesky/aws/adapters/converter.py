"""The planes' port `Converter`: streams of S3 become clips in a function of its own, which alone has PyAV."""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from pinthesky.aws.clients import CONVERSION_TIMEOUT_S, Clients, errors
from pinthesky.errors import InvalidInput, NotFound, PinTheSkyError, Unavailable
from pinthesky.model.identifiers import MediaKey, plain
from pinthesky.planes.ports import Converter


class Wish(Struct, frozen=True, kw_only=True):
    """What the function is asked for."""

    source: MediaKey
    clip: MediaKey
    thumbnail: MediaKey
    timestamps: MediaKey | None = None


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What it answers: `error` is the name of one of our errors, empty where all went well."""

    error: str = ""
    field: str = ""
    message: str = ""


class ConversionService:
    """What that function does: a `Converter` for whoever calls it."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter

    def serve(self, wish: object) -> dict[str, Any]:
        """Do what `LambdaConverter` asks for; the answer is an `Outcome`. Unavailable is raised, and tried again."""
        try:
            asked = msgspec.convert(wish, Wish, dec_hook=lambda kind, value: kind.parse(value))
            self._converter.convert(
                asked.source, clip=asked.clip, thumbnail=asked.thumbnail, timestamps=asked.timestamps
            )
        except InvalidInput as error:
            return _plain(Outcome(error="InvalidInput", field=error.field, message=error.reason))
        except NotFound as error:
            return _plain(Outcome(error="NotFound", message=str(error)))
        except msgspec.ValidationError as error:
            return _plain(Outcome(error="InvalidInput", field="request", message=str(error)))
        return _plain(Outcome())


class LambdaConverter:
    """The adapter of `planes.ports.Converter` in every other function: asks that one, and waits."""

    def __init__(self, clients: Clients, function: str) -> None:
        self._clients = clients
        self._function = function

    def convert(self, source: MediaKey, *, clip: MediaKey, thumbnail: MediaKey, timestamps: MediaKey | None) -> None:
        """See `planes.ports.Converter`."""
        wish = Wish(source=source, clip=clip, thumbnail=thumbnail, timestamps=timestamps)
        client = self._clients.get("lambda", read_timeout_s=CONVERSION_TIMEOUT_S, attempts=1)
        with errors(f"converting {source}"):
            answer = client.invoke(FunctionName=self._function, Payload=msgspec.json.encode(wish, enc_hook=plain))
            said = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise Unavailable(f"converting {source}: the function failed: {said[:300]!r}")
        outcome = msgspec.json.decode(said, type=Outcome)
        if outcome.error:
            _raise(outcome)


def _plain(outcome: Outcome) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(outcome)
    return built


def _raise(outcome: Outcome) -> NoReturn:
    if outcome.error == "InvalidInput":
        raise InvalidInput(outcome.field, outcome.message)
    problem: PinTheSkyError = NotFound(outcome.message) if outcome.error == "NotFound" else Unavailable(outcome.message)
    raise problem
