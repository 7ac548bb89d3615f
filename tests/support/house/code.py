"""Sizes, parameters, broad excepts, silenced checks, and what a test must and must not do."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.support.house.source import Source

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 450
MAX_POSITIONAL = 3
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}

# (file, function) -> why everything is caught there. Only loops of threads and edges of processes belong here.
BROAD_EXCEPTS: dict[tuple[str, str], str] = {
    ("pinthesky/device/cameras/libav.py", "_read"): "the reader thread: the camera thread is told that it ended",
    ("pinthesky/device/answer_worker.py", "_run"): "the loop of the answer worker: one answer that fails is one answer",
    ("pinthesky/device/cameras/scripted.py", "_run"): "the player's thread: the camera thread is told that it ended",
    ("pinthesky/device/finishing_worker.py", "_finish_one"): "one turn of the finishing worker: the next start retries",
    ("pinthesky/device/cameras/synthetic.py", "_run"): "the painter thread: the camera thread is told that it ended",
    ("pinthesky/device/cameras/synthetic.py", "_give_small"): "what fails in the second stream ends that stream alone",
    ("pinthesky/device/cameras/picamera2.py", "_give_back"): "the closing thread: what can still be closed is closed",
    ("pinthesky/device/cameras/delivery.py", "lose"): "picamera2's thread would die of it",
    ("pinthesky/device/cameras/delivery.py", "take"): "picamera2's thread would die of it",
    ("pinthesky/device/cameras/picamera2_encoding.py", "_encode"): "picamera2's thread would die of it",
    (
        "pinthesky/device/cameras/picamera2_imx500.py",
        "imx500_network",
    ): "three libraries read a file that is not ours; the camera works without what they find",
    ("pinthesky/device/cameras/picamera2_session.py", "picture_taken"): "picamera2's thread would die of it",
    (
        "pinthesky/device/cameras/bounded_calls.py",
        "_run",
    ): "the thread of calls that may hang: whoever waits for the call gets its error",
    (
        "pinthesky/device/cameras/picamera.py",
        "look_after",
    ): "a turn of that thread: the camera thread is told that the camera is lost",
    (
        "pinthesky/device/cameras/picamera_output.py",
        "write",
    ): "called by the library's thread, which would end the recording in silence",
    (
        "pinthesky/aws/lambda_handlers.py",
        "http",
    ): "the way in from the HTTP API: one request that fails is one request, and its answer has a form",
    ("pinthesky/aws/lambda_handlers.py", "media"): "one message of a batch that fails is one message, and comes again",
    ("pinthesky/link/connection.py", "_guarded"): "a callback of the library's thread, which would print and forget it",
    (
        "pinthesky/hub/control_plane_site.py",
        "_answered",
    ): "the way in from the web server: one request that fails is one request, and its answer has a form",
    ("pinthesky/hub/ingest_worker.py", "step"): "the loop of the worker: one message that fails is one message",
    ("pinthesky/hub/ingest_worker.py", "_do_chores"): "a chore that fails is tried again when it is due",
    ("pinthesky/hub/media_announcer.py", "_run"): "the announcer's loop: what a listener refuses is told again later",
    ("pinthesky/hub/mqtt.py", "_on_message"): "the connection's thread: one message that fails is one message",
    ("pinthesky/hub/things.py", "_serve"): "the loop of the worker: one message that fails is one message",
    ("pinthesky/hub/things.py", "_tick"): "the loop of the worker: what is due is tried again at the next turn",
    ("pinthesky/machine/permanent_thread.py", "_run"): "an exception out of a permanent thread ends the process",
    (
        "pinthesky/link/jobs.py",
        "_run",
    ): "the loop of the jobs thread: a job that meets a defect fails, the next is tried",
    (
        "service/pitsctl/wizard/worker.py",
        "_carry",
    ): "the working thread's loop: whoever waits for a call gets its error",
    (
        "tests/support/lambda_runtime.py",
        "answered",
    ): "the edge of a function: whatever a handler raises is what Lambda answers",
    ("pinthesky/device/uploader.py", "_run"): "the loop of the upload worker: what fails waits, the next is tried",
}

FunctionNode = (ast.FunctionDef, ast.AsyncFunctionDef)
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:\s*no cover|nosec)")
SILENCED_WITH_REASON = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w, -]+\]|pragma:\s*no cover|nosec)"
    r"\s*[#–—:(-].*\w{4,}"
)


def functions_of(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method, nested ones too."""
    for node in source.nodes:
        if isinstance(node, FunctionNode):
            yield node


def docstring_lines(tree: ast.AST) -> int:
    """Return how many lines the docstrings inside `tree` take, those of attributes included."""
    return sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def too_long(source: Source) -> list[str]:
    """Return the functions and the file over their bounds, docstrings not counted.

    A file of tests may be longer: it mirrors one file of the package, and splitting it would hide that.
    """
    wrong = []
    for function in functions_of(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1 - docstring_lines(function)
        if lines > MAX_FUNCTION_LINES:
            wrong.append(source.at(function, f"{function.name} has {lines} lines, {MAX_FUNCTION_LINES} at most"))
    lines = source.text.count("\n") - docstring_lines(source.tree)
    if lines > MAX_FILE_LINES and not PurePosixPath(source.path).name.startswith("test_"):
        wrong.append(source.at(source.tree, f"{lines} lines, {MAX_FILE_LINES} at most"))
    return wrong


def too_many_positional(source: Source) -> list[str]:
    """Return the functions with more than three positional parameters.

    `self` and `cls` do not count, nor does what a library hands over and nobody reads: names that begin with `_`.
    """
    wrong = []
    for function in functions_of(source):
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
        names = [name for name in names if not name.startswith("_")]
        if len(names) > MAX_POSITIONAL:
            wrong.append(source.at(function, f"{function.name}: keyword-only after {MAX_POSITIONAL} parameters"))
    return wrong


def vague_name(source: Source) -> list[str]:
    """Return a complaint if the file's name says nothing about what is in it."""
    path = PurePosixPath(source.path)
    words = {word for part in (*path.parts[:-1], path.stem) for word in re.split(r"[_.-]", part.lower())}
    return [f"{source.path}:1: a module called {min(words & VAGUE_NAMES)}"] if words & VAGUE_NAMES else []


def is_broad(handler: ast.expr | None) -> bool:
    """Tell whether `except handler` catches everything."""
    if handler is None:
        return True
    if isinstance(handler, ast.Tuple):
        return any(is_broad(element) for element in handler.elts)
    name = handler.attr if isinstance(handler, ast.Attribute) else getattr(handler, "id", "")
    return name in ("Exception", "BaseException")


def broad_excepts(source: Source) -> list[tuple[str, int]]:
    """Return function and line of every place that catches everything, `suppress` included.

    A handler that cleans up and ends with a bare `raise` keeps nothing to itself, and is none of these.
    """
    found = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, FunctionNode):
            function = node.name
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and ast.unparse(node.body[-1]) != "raise":
            found.append((function, node.lineno))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("suppress", "contextlib.suppress"):
            found.extend((function, node.lineno) for argument in node.args if is_broad(argument))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(source.tree, "<module>")
    return found


def unlisted_broad_excepts(source: Source) -> list[str]:
    """Return the places that catch everything without standing in the list."""
    return [
        f"{source.path}:{line}: broad except in {function}, which BROAD_EXCEPTS does not list"
        for function, line in broad_excepts(source)
        if (source.path, function) not in BROAD_EXCEPTS
    ]


def silenced_without_reason(source: Source) -> list[str]:
    """Return the comments that silence a check without naming it and saying why on the same line."""
    comments = (
        token for token in tokenize.generate_tokens(io.StringIO(source.text).readline) if token.type == tokenize.COMMENT
    )
    return [
        f"{source.path}:{token.start[0]}: {token.string}: name the check and say why, `# noqa: S603 - because …`"
        for token in comments
        if SILENCED.search(token.string) and not SILENCED_WITH_REASON.search(token.string)
    ]


def called_name(call: ast.Call) -> str:
    """Return the last part of what is called: `raises` for `pytest.raises(…)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def fixed_sleeps(source: Source) -> list[str]:
    """Return the sleeps of a fixed time: a test waits for what it expects, with a deadline.

    The pause of a `while` loop, which looks again after it, is none.
    """
    pauses = {node for loop in source.nodes if isinstance(loop, ast.While) for node in ast.walk(loop)}
    return [
        source.at(node, "sleeps a fixed time; wait for the thing itself, with a deadline")
        for node in source.nodes
        if isinstance(node, ast.Call)
        and called_name(node) == "sleep"
        and node not in pauses
        and node.args
        and not any(isinstance(inner, (ast.Name, ast.Attribute)) for inner in ast.walk(node.args[0]))
    ]


def is_assertion(node: ast.AST) -> bool:
    """Tell whether `node` can fail a test: assert, raises, fail, warns, or a checker named assert_… or check_…."""
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant)
    if not isinstance(node, ast.Call):
        return False
    name = called_name(node)
    return name in ("raises", "fail", "warns") or name.startswith(("assert_", "check_"))


def tests_without_assertion(source: Source) -> list[str]:
    """Return the test functions that cannot fail."""
    return [
        source.at(function, f"{function.name} asserts nothing")
        for function in functions_of(source)
        if function.name.startswith("test_") and not any(is_assertion(node) for node in ast.walk(function))
    ]
