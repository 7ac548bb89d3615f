"""A camera is let in by a code: the device's side of RFC 8628, as docs/reference/registration.md has it.

What was begun is kept on the camera's machine (root's alone), so an installation that is cut off goes on with the same
code. Lost connections are waited out until the code expires.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import (
    Conflict,
    InvalidInput,
    NotAuthorized,
    Throttled,
    Unavailable,
)
from pitsctl import places
from pitsctl.camera_home import CameraHome, registered
from pitsctl.control_plane import Answer, ControlPlane
from pitsctl.device_key import DeviceKey, Request, first_certificate
from pitsctl.ledger import Ledger
from pitsctl.machine import Machine
from pitsctl.person import Person, Registration
from pitsctl.steps import Found, Say, Verdict

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_BY_S = 5.0
INTERVAL_MAX_S = 60.0
WRITING_S = 50.0
"""What was fetched is given once more for 60 s: so long writing it to the machine is tried."""
_LINE = r"^[\x21-\x7e]*\Z"

Line = Annotated[str, Meta(min_length=1, max_length=400, pattern=_LINE)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
_BY_CODE = "a code is shown, and an owner types it in the console"


class Started(Struct, frozen=True):
    """RFC 8628, 3.2: what a control plane answers to a device that asks to be let in."""

    device_code: Line
    user_code: Annotated[str, Meta(max_length=20, pattern=r"^[A-Z0-9-]{4,20}\Z")]
    verification_uri: Line
    expires_in: Seconds
    interval: Seconds = 5
    fingerprint: Annotated[str, Meta(max_length=128, pattern=r"^[0-9A-F:]*\Z")] = ""


class Pending(Struct, frozen=True):
    """A registration under way. `until_s` is epoch time by the clock of whoever began it."""

    address: str
    started: Started
    fingerprint: str
    until_s: float


@dataclass(frozen=True)
class LetIn:
    """What a device gets when it was approved."""

    home: CameraHome
    certificate: str
    authority: str


class Denied(NotAuthorized):
    """Somebody has said no."""


class Expired(Unavailable):
    """Nobody has typed the code in time."""


class Stopped(Unavailable):
    """The person left while the code was shown."""


class RegistrationFlow:
    """One device's way in. `pause` waits for seconds and tells whether the wait was broken off."""

    def __init__(
        self,
        plane: ControlPlane,
        *,
        pause: Callable[[float], bool],
        now_s: Callable[[], float] = time.time,
        say: Say = lambda _: None,
    ) -> None:
        self._plane = plane
        self._pause = pause
        self._now_s = now_s
        self._say = say

    def begin(self, csr: str, host_name: str, fingerprint: str) -> Pending:
        """Ask to be let in. Raises Unavailable, Throttled, and InvalidInput where the request is refused."""
        answer = self._plane.post("/registrations", {"csr": csr, "host_name": plain_host_name(host_name)})
        if answer.status != 201:
            raise InvalidInput("home.address", f"{self._plane.address} takes no registration: {answer.message}")
        started = _read(answer, Started)
        if started.fingerprint not in ("", fingerprint):
            raise NotAuthorized(f"{self._plane.address.host} answers about another key than that of this camera")
        return Pending(str(self._plane.address), started, fingerprint, self._now_s() + started.expires_in)

    def wait(self, pending: Pending) -> LetIn:
        """Ask until somebody has decided. Raises Denied, Expired, Stopped, and InvalidInput for a useless answer."""
        interval_s, lost = float(pending.started.interval), False
        question = {"grant_type": GRANT_TYPE, "device_code": pending.started.device_code}
        while self._now_s() < pending.until_s + interval_s:
            if self._pause(interval_s):
                raise Stopped("left before the code was approved; it can still be typed in until it expires")
            try:
                answer = self._plane.post("/registrations/token", question)
            except Throttled as error:
                interval_s = max(interval_s, min(INTERVAL_MAX_S, float(error.retry_after_s)))
                continue
            except Unavailable as error:
                # RFC 8628, 3.5: a connection that times out is a reason to ask less often.
                interval_s = min(INTERVAL_MAX_S, interval_s * 1.5)
                if not lost:
                    self._say(f"{error}; asking again until the code expires")
                lost = True
                continue
            if lost:
                self._say(f"{self._plane.address.host} answers again")
                lost, interval_s = False, float(pending.started.interval)
            if answer.status == 200:
                return self._let_in(answer)
            if _refusal(answer, pending) == "slow_down":
                interval_s = min(INTERVAL_MAX_S, interval_s + SLOWER_BY_S)
        raise Expired(f"nobody has typed the code {pending.started.user_code} in time")

    def _let_in(self, answer: Answer) -> LetIn:
        document = answer.document
        texts = {name: document.get(name) for name in ("thing_name", "certificate", "authority")}
        endpoints = document.get("endpoints")
        if not isinstance(endpoints, dict) or not all(isinstance(each, str) for each in texts.values()):
            raise InvalidInput("home.address", f"{self._plane.address} answers with something that is no registration")
        home = registered(address=str(self._plane.address), thing=str(texts["thing_name"]), endpoints=endpoints)
        for name in ("certificate", "authority"):
            try:
                first_certificate(str(texts[name]))
            except ValueError as error:
                raise InvalidInput("home.address", f"{self._plane.address}: {name} {error}") from error
        return LetIn(home, str(texts["certificate"]), str(texts["authority"]))


def _refusal(answer: Answer, pending: Pending) -> str:
    """The code of a refusal that is no end: authorization_pending, slow_down. Raises Denied, Expired, InvalidInput."""
    code = str(answer.document.get("error", ""))
    if code in ("authorization_pending", "slow_down"):
        return code
    if code == "access_denied":
        raise Denied(f"the camera with the code {pending.started.user_code} was not let in: somebody has denied it")
    if code in ("expired_token", "invalid_grant"):
        raise Expired(f"the time of the code {pending.started.user_code} is over")
    raise InvalidInput("home.address", f"{pending.address} does not go on with the registration: {answer.message}")


def _read(answer: Answer, kind: type[Started]) -> Started:
    try:
        return msgspec.convert(answer.document, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput("home.address", f"answers with something that is no registration: {error}") from error


def plain_host_name(name: str) -> str:
    """A host's name as a registration takes it: at most 64 of letters, digits and `._-`."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name.strip())[:64]


class RegistrationStep:
    """Has the camera let in by whoever types its code, and puts what it gets in place."""

    name = "registration"
    title = "Register the camera by a code"

    def __init__(
        self,
        machine: Machine,
        ledger: Ledger,
        person: Person,
        *,
        address: str,
        reach: Callable[[], ControlPlane],
        authority_sha256: str = "",
        stop: threading.Event | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`reach` gives the control plane at `address`, and may ask the person whether it is the one."""
        self._machine = machine
        self._ledger = ledger
        self._person = person
        self._address = address
        self._reach = reach
        self._authority_sha256 = authority_sha256
        self._stop = stop or threading.Event()
        self._now_s = now_s
        self._key = DeviceKey(machine)

    def check(self) -> Found:
        """See `Step`."""
        home = self._ledger.home
        if home is None:
            return Found(Verdict.NEEDED, _BY_CODE)
        if not self._is_same(home):
            belongs = f"{home.thing_name} belongs to {home.address or 'AWS'}"
            return Found(Verdict.NEEDED, f"{belongs}; {_BY_CODE}")
        if trouble := self._key.trouble_with_certificate():
            return Found(Verdict.NEEDED, f"{trouble}: register again at {self._address}")
        return Found(Verdict.DONE, f"registered as {home.thing_name} at {home.address}")

    def _is_same(self, home: CameraHome) -> bool:
        """Whether this home is the one at the address: by the address, or by its authority, since addresses change."""
        if home.address == self._address:
            return True
        if not (self._authority_sha256 and home.own_authority and home.address):
            return False
        content = self._machine.read(places.ROOT_CA, root=True) or b""
        try:
            der = first_certificate(content.decode("ascii", "replace"))
        except ValueError:
            return False
        return hashlib.sha256(der).hexdigest() == self._authority_sha256

    def apply(self, say: Say) -> None:
        """See `Step`. Raises Denied, and Expired or Unavailable: again may work."""
        if self.check().verdict is Verdict.DONE:
            return
        flow = RegistrationFlow(self._reach(), pause=self._stop.wait, now_s=self._now_s, say=say)
        pending = self._begun() or self._begin(flow)
        started = pending.started
        say(f"Code {started.user_code}, to be typed at {started.verification_uri}")
        say(f"Fingerprint of the key: {pending.fingerprint}")
        left_s = max(0, int(pending.until_s - self._now_s()))
        try:
            self._person.show_registration(
                Registration(started.user_code, started.verification_uri, pending.fingerprint, left_s)
            )
            let_in = flow.wait(pending)
        except (Denied, Expired):
            self._ledger.keep(self.name, {})
            raise
        finally:
            self._person.show_registration(None)
        found = hashlib.sha256(first_certificate(let_in.authority)).hexdigest()
        if self._authority_sha256 and let_in.home.own_authority and found != self._authority_sha256:
            raise Conflict(f"{self._address} names another authority than the one that was meant ({found})")
        self._put_in_place(let_in, say)
        say(f"Let in as {let_in.home.thing_name}")

    def undo(self, say: Say) -> None:
        """See `Step`. What its home knows of the camera, only an owner can remove there."""
        home = self._ledger.home
        if home is not None and self._machine.mode_of(places.CERTIFICATE) is not None:
            self._machine.run("rm", "-f", "--", str(places.CERTIFICATE), str(places.ROOT_CA), root=True)
            say(f"The certificate is deleted. Remove the camera {home.thing_name} at {self._address} too")

    def _begun(self) -> Pending | None:
        """What an earlier attempt has begun and may still go on with."""
        try:
            pending = msgspec.convert(self._ledger.notes(self.name).get("pending"), Pending | None)
        except msgspec.ValidationError:
            return None
        if pending is None or pending.address != self._address or self._now_s() > pending.until_s - 30:
            return None
        return pending if pending.fingerprint == self._request().fingerprint else None

    def _begin(self, flow: RegistrationFlow) -> Pending:
        request = self._request()
        host = self._machine.run("uname", "-n").out
        pending = flow.begin(request.csr, host, request.fingerprint)
        # Who knows the device code may fetch the certificate, which is of no use without the key; root's all the same.
        self._ledger.keep(self.name, {"pending": msgspec.to_builtins(pending)})
        return pending

    def _request(self) -> Request:
        self._key.make()
        return self._key.request("camera")

    def _put_in_place(self, let_in: LetIn, say: Say) -> None:
        """Write what was fetched; a connection that is lost now would cost a camera's name, so it is tried again."""
        deadline = time.monotonic() + WRITING_S
        while True:
            try:
                put_identity(self._machine, let_in.certificate, let_in.authority)
                self._ledger.keep_home(let_in.home)
                self._ledger.keep(self.name, {})
                break
            except Unavailable as error:
                if time.monotonic() > deadline or self._stop.wait(2.0):
                    raise
                say(f"{error}; trying again")
        if trouble := self._key.trouble_with_certificate():
            raise Conflict(f"the certificate that came cannot be used: {trouble}")


def put_identity(machine: Machine, certificate: str, authority: str) -> None:
    """Put the certificate, and who vouches for the home, where the device client looks for them."""
    machine.write(places.ROOT_CA, authority.encode(), places.CERTIFICATE_MODE)
    machine.write(places.CERTIFICATE, certificate.encode(), places.CERTIFICATE_MODE)
