"""Jobs as AWS IoT keeps them: the statuses of one execution, and the documents that say what to do.

A document is of schema 1.0 (`version`, `steps`, …) or of the older form (`operation`, `args`, …), which becomes a
document of one step. Who creates a job and who carries it out read it through `parse_document`, so a document that is
accepted at one end is accepted at the other. Keys that are not known are ignored, as the C++ device client does.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, Optional, Union

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput
from pinthesky.model.identifiers import FileName, Identifier

DOCUMENT_MAX = 32_768
"""Most bytes of a document as JSON (AWS IoT: the length of `jobDocument`)."""
DEPTH_MAX = 32
"""Deepest nesting of objects and lists, in keys that are ignored too."""
STEPS_MAX = 32
CONDITIONS_MAX = 16
CONDITION_VALUES_MAX = 32
ARGUMENTS_MAX = 64
ARGUMENT_MAX = 4096
COMMAND_MAX = 8192
STEP_TIMEOUT_MAX_S = 86_400
STDERR_LINES_MAX = 1_000_000
STATUS_DETAIL_MAX = 1024
"""Most characters of one value in `statusDetails` (AWS IoT), counted as UTF-16 does."""
DEFAULT_PATH = "default"


class JobStatus(str, enum.Enum):
    """Status of one thing's execution of a job (AWS IoT Jobs, `JobExecution.status`)."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    REJECTED = "REJECTED"
    REMOVED = "REMOVED"
    CANCELED = "CANCELED"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows."""
        return self not in (JobStatus.QUEUED, JobStatus.IN_PROGRESS)


class JobId(Identifier):
    """Name of a job (AWS IoT: 1 to 64 of letters, digits, `_-`)."""

    __slots__ = ()
    _field = "jobId"
    _pattern = re.compile(r"[A-Za-z0-9_-]{1,64}")
    _rule = "must be 1 to 64 letters, digits, '_' or '-'"


class UserName(Identifier):
    """A local user, or nothing, which is the user that the device client runs as."""

    __slots__ = ()
    _field = "runAsUser"
    _pattern = re.compile(r"(?:[a-z_][a-z0-9_-]{0,31})?")
    _rule = "must be the name of a local user"


Text = Annotated[str, Meta(max_length=ARGUMENT_MAX, pattern=r"^[^\x00]*\Z")]
"""What an argument of a program may be: no NUL."""
Label = Annotated[str, Meta(min_length=1, max_length=128)]
FolderPath = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*\Z")]
Arguments = Annotated[list[Text], Meta(max_length=ARGUMENTS_MAX)]
TimeoutSeconds = Annotated[int, Meta(ge=1, le=STEP_TIMEOUT_MAX_S)]
StderrLines = Annotated[int, Meta(ge=0, le=STDERR_LINES_MAX)]


class HandlerInput(Struct, frozen=True, kw_only=True, rename="camel"):
    """Which handler, with what. `path` is the folder it is in: `default` (or nothing) is the handler directory."""

    handler: FileName
    args: Arguments = []
    path: FolderPath = DEFAULT_PATH


class CommandInput(Struct, frozen=True, kw_only=True, rename="camel"):
    """A program and its arguments, separated by commas; a comma that belongs to one of them has a backslash before."""

    command: Annotated[str, Meta(min_length=1, max_length=COMMAND_MAX, pattern=r"^[^\x00]*\Z")]

    @property
    def words(self) -> list[str]:
        """The program and its arguments."""
        return [word.replace("\\,", ",") for word in re.split(r"(?<!\\),", self.command)]


class _Action(Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """What every step may carry."""

    name: Label
    run_as_user: UserName = UserName("")
    allow_std_err: Optional[StderrLines] = None
    """Lines on stderr that are tolerated; without it they are not counted."""
    ignore_step_failure: bool = False
    timeout_seconds: Optional[TimeoutSeconds] = None
    """Ours: the step is ended after so long. Without it the device's own bound holds."""


class HandlerAction(_Action, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="runHandler"):
    """Run a program of the handler directory."""

    input: HandlerInput


class CommandAction(_Action, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="runCommand"):
    """Run any program."""

    input: CommandInput


Action = Union[HandlerAction, CommandAction]


class Step(Struct, frozen=True, kw_only=True):
    """One entry of `steps`, or `finalStep`."""

    action: Action


class Condition(Struct, frozen=True, kw_only=True):
    """What has to hold on the device before the first step. `type` and `key` are judged by the device."""

    key: Label
    value: Union[
        Annotated[str, Meta(max_length=256)],
        Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(min_length=1, max_length=CONDITION_VALUES_MAX)],
    ]
    type: Label = "stringEqual"

    @property
    def values(self) -> list[str]:
        """One value or several, as a list."""
        return [self.value] if isinstance(self.value, str) else self.value


class JobDocument(Struct, frozen=True, kw_only=True, rename="camel"):
    """A job: conditions, steps one after the other, and a final step if all of them went well."""

    steps: Annotated[list[Step], Meta(min_length=1, max_length=STEPS_MAX)]
    final_step: Optional[Step] = None
    conditions: Annotated[list[Condition], Meta(max_length=CONDITIONS_MAX)] = []
    include_std_out: bool = False

    def actions(self) -> Iterator[tuple[str, Action]]:
        """All actions in their order, the final step's last, each with its place: `steps[0].action`."""
        for number, step in enumerate(self.steps):
            yield f"steps[{number}].action", step.action
        if self.final_step is not None:
            yield "finalStep.action", self.final_step.action


class _Operation(Struct, frozen=True, kw_only=True, rename="camel"):
    """The older form. Here stderr is counted even if nothing is said about it, and no line is tolerated."""

    operation: FileName
    args: Arguments = []
    path: FolderPath = DEFAULT_PATH
    include_std_out: bool = False
    allow_std_err: StderrLines = 0
    timeout_seconds: Optional[TimeoutSeconds] = None

    def as_document(self) -> JobDocument:
        action = HandlerAction(
            name=str(self.operation),
            input=HandlerInput(handler=self.operation, args=self.args, path=self.path),
            allow_std_err=self.allow_std_err,
            timeout_seconds=self.timeout_seconds,
        )
        return JobDocument(steps=[Step(action=action)], include_std_out=self.include_std_out)


def parse_document(document: object) -> JobDocument:
    """A job's document, from an object out of JSON or from the JSON itself (str or bytes).

    Numbers and booleans may be strings (`"ignoreStepFailure": "true"`), null is the same as absent. Raises
    InvalidInput; its field is where in the document the fault is: `steps[0].action.input.handler`.
    """
    known = _without_nulls(_bounded(document))
    if not isinstance(known, dict):
        raise InvalidInput("document", "must be an object")
    if "version" in known:
        if known["version"] != "1.0":
            raise InvalidInput("version", f'must be "1.0", got {_shown(known["version"])}')
        parsed: JobDocument = _convert(known, JobDocument)
        return parsed
    if "operation" in known:
        operation: _Operation = _convert(known, _Operation)
        return operation.as_document()
    raise InvalidInput("version", 'must be "1.0" where there is no `operation`')


def status_detail(text: str, *, one_line: bool = False) -> str:
    """The end of `text` as a value of `statusDetails` may be: at most 1024 characters, last ones win.

    AWS documents that control characters are refused, and shows values with line ends in them: those and tabs stay
    unless `one_line`. What cannot be shown becomes U+FFFD. Empty text stays empty, which AWS takes as no value.
    """
    # Three times as much as can stay is looked at, so that the work is bounded and CR LF may shrink.
    shown = "".join(map(_showable, text[-3 * STATUS_DETAIL_MAX :].replace("\r\n", "\n")))
    if one_line:
        shown = " ".join(shown.split())
    shown = shown[-STATUS_DETAIL_MAX:]
    beyond = len(shown.encode("utf-16-le")) // 2 - STATUS_DETAIL_MAX
    while beyond > 0:
        beyond -= 2 if shown[0] > "\uffff" else 1
        shown = shown[1:]
    return shown


def _showable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    if character.isspace():
        return "\n" if character == "\r" else " "
    return "\N{REPLACEMENT CHARACTER}"


def _bounded(document: object) -> object:
    """`document` decoded, and known to be JSON of a bearable size and depth."""
    try:
        if isinstance(document, (str, bytes)):
            size = len(document)
            document = msgspec.json.decode(document) if size <= DOCUMENT_MAX else None
        else:
            size = len(msgspec.json.encode(document))
    except RecursionError as error:
        raise InvalidInput("document", "is nested too deeply") from error
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("document", f"is not JSON: {error}") from error
    if size > DOCUMENT_MAX:
        raise InvalidInput("document", f"must be at most {DOCUMENT_MAX} bytes, got {size}")
    return document


def _without_nulls(value: object, levels: int = DEPTH_MAX) -> object:
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        raise InvalidInput("document", f"is nested too deeply: more than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        return {key: _without_nulls(inner, levels - 1) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner, levels - 1) for inner in value]


class _Fault(NamedTuple):
    """A message of msgspec, taken apart."""

    field: str
    reason: str


def _convert(document: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(document, kind, strict=False, dec_hook=_identifier)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        fault = _fault_of(str(error))
        cause = error.__cause__
        reason = cause.reason if isinstance(cause, InvalidInput) else fault.reason
        raise InvalidInput(fault.field, reason) from error


def _fault_of(message: str) -> _Fault:
    """Field and reason from a message such as "Expected `int` <= 86400 - at `$.steps[0].action.timeoutSeconds`"."""
    reason, _, place = message.partition(" - at `$")
    missing = re.search(r"missing required field `(\w+)`", reason)
    field = place.rstrip("`").lstrip(".")
    if " matching regex " in reason:
        return _Fault(field, "must not contain the character NUL")  # the only pattern there is
    if missing is not None:
        return _Fault(f"{field}.{missing[1]}".lstrip("."), "must be there")
    return _Fault(field or "document", reason[:1].lower() + reason[1:])


def _identifier(kind: type[Identifier], value: object) -> Identifier:
    return kind.parse(value)


def _shown(value: object) -> str:
    return ascii(value)[:60]
