"""OpenSSH's questions (a login's password, a key's passphrase, a host that is not known yet), answered by the person.

ssh runs the program that SSH_ASKPASS names and takes what it prints. Ours passes the question through a socket in a
folder of this process's own to `Person`, so that it is asked on whichever screen there is, and the answer is in no
argument, environment or file.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

from pitsctl.person import Person

_QUESTION_MAX = 4096
_PROGRAM = """#!{python} -IS
import socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address})
    asked.sendall(sys.argv[1].encode()[:4000])
    asked.shutdown(socket.SHUT_WR)
    answer = b""
    while chunk := asked.recv(4096):
        answer += chunk
if not answer:
    sys.exit(1)
sys.stdout.buffer.write(answer[1:] + b"\\n")
"""


class Askpass:
    """Answers in a thread of its own until it is closed."""

    def __init__(self, folder: Path, person: Person) -> None:
        """`folder` is private to this user."""
        self._person = person
        self.refused_host = ""
        """The question about a host key that the person has answered with no."""
        address = folder / "ask"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(address))
        self._socket.listen()
        self._program = folder / "askpass"
        self._program.touch(mode=0o700)
        self._program.write_text(_PROGRAM.format(python=sys.executable, address=repr(str(address))), encoding="utf-8")
        self._thread = threading.Thread(target=self._serve, name="askpass", daemon=False)
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """What ssh has to be started with."""
        return {"SSH_ASKPASS": str(self._program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}

    def close(self) -> None:
        """End the thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                asked, _ = self._socket.accept()
            except OSError:
                return
            with asked, contextlib.suppress(OSError):
                question = b""
                while len(question) < _QUESTION_MAX and (chunk := asked.recv(_QUESTION_MAX)):
                    question += chunk
                answer = self._answer(question.decode("utf-8", "replace"))
                if answer is not None:
                    asked.sendall(b"=" + answer.encode())

    def _answer(self, question: str) -> str | None:
        if "continue connecting (yes/no" not in question:
            return self._person.secret(question.strip().rstrip(":"))
        lines = [line.strip() for line in question.splitlines() if line.strip()]
        if self._person.confirm("Is this the machine's host key? It will be remembered.", "\n".join(lines[:-1])):
            return "yes"
        self.refused_host = question
        return "no"
