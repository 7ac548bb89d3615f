"""Routes by which a camera is let in: the device authorization flow of RFC 8628.

The device asks with its certificate request, and shows a user code. A signed-in owner types that code, compares the
key's fingerprint, and gives the camera its name, or denies it. Meanwhile the device polls, and gets its certificate.
The private key never leaves it. Answers to the device have the names of the RFC, with underscores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from pinthesky.errors import Conflict, InvalidInput, NotFound, PinTheSkyError, Throttled
from pinthesky.model.identifiers import GroupName, ThingName
from pinthesky.model.networks import network_of
from pinthesky.planes.authorization import Permission
from pinthesky.planes.listing import EpochMs
from pinthesky.planes.ports import DeviceIdentity
from pinthesky.planes.records.registrations import LIFETIME_S, Registration, State, UserCode
from pinthesky.planes.routing import Call, OAuthError, Routes
from pinthesky.planes.signing_request import REQUEST_MAX, requested_key

routes = Routes("registrations")

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_S = 5
SLOWER_BY_S = 5
"""RFC 8628, 3.5: so much longer has a device to wait from each `slow_down` on."""
EARLY_S = 0.5
"""Messages take their time: so much earlier than its interval a device may be heard."""
FETCH_S = 5 * 60
"""A device has at least so long to fetch what was approved."""
REPEAT_S = 60
"""The answer that carries the certificate may be lost on its way: it is repeated for so long."""
PENDING_MAX = 50
ASKED_MAX, ASKED_WINDOW_S = 10, 15 * 60
"""So many registrations may one address begin in so many seconds."""
GUESSES_MAX, GUESSES_WINDOW_S = 10, 10 * 60
"""So many wrong codes are taken from one address, and from one person, in so many seconds."""


class RegistrationWish(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a device asks with. `csr` is a PKCS#10 request in PEM, for a key that stays on the device."""

    csr: Annotated[str, Meta(min_length=1, max_length=REQUEST_MAX)]
    host_name: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*\Z")] = ""


class RegistrationStarted(Struct, kw_only=True):
    """RFC 8628, 3.2. Times in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int
    fingerprint: str
    """Of the key, for the device to show: SHA-256 of its SubjectPublicKeyInfo."""


class RegistrationPoll(Struct, kw_only=True, forbid_unknown_fields=True):
    """RFC 8628, 3.4."""

    device_code: Annotated[str, Meta(min_length=1, max_length=128)]
    grant_type: str = GRANT_TYPE
    client_id: Annotated[str, Meta(max_length=64)] | None = None


class RegisteredDevice(Struct, kw_only=True):
    """What a device gets when it was approved: its name, its certificate, and where to connect."""

    thing_name: ThingName
    certificate: str
    authority: str
    endpoints: Mapping[str, str]


class RegistrationView(Struct, kw_only=True, rename="camel"):
    """What the approving person sees. Compare the fingerprint with the one that the device shows."""

    user_code: str
    state: State
    host_name: str
    source_ip: str
    key_kind: str
    fingerprint: str
    requested_at: EpochMs
    expires_at: EpochMs
    thing_name: ThingName | None


class Decision(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Let the camera in under a name, or deny it."""

    decision: Literal["approve", "deny"]
    thing_name: ThingName | None = None
    display_name: Annotated[str, Meta(max_length=100)] = ""
    groups: Annotated[list[GroupName], Meta(max_length=50)] = []


@routes.post("/registrations", None, "A device asks to be let in", status=201)
def start_registration(call: Call, body: RegistrationWish) -> RegistrationStarted:
    """RFC 8628, 3.1: show `user_code` and `verification_uri` to a person, and poll."""
    key = requested_key(body.csr)
    home, now_ms = call.home, int(call.now_s * 1000)
    network = network_of(call.source_ip)
    home.attempts.count("registration", network, most=ASKED_MAX, window_s=ASKED_WINDOW_S, now_s=call.now_s)
    if home.registrations.count(most=PENDING_MAX) >= PENDING_MAX:
        raise Throttled("too many devices ask to be let in at once", LIFETIME_S)
    registration, device_code = home.registrations.add(
        lambda user_code, device_hash: Registration(
            user_code=user_code,
            device_hash=device_hash,
            csr=body.csr,
            key_kind=key.kind,
            fingerprint=key.fingerprint,
            host_name=body.host_name,
            source_ip=call.source_ip[:64],
            requested_at=now_ms,
            expires_at=now_ms + LIFETIME_S * 1000,
            interval_s=INTERVAL_S,
        )
    )
    shown = registration.user_code.shown
    return RegistrationStarted(
        device_code=device_code,
        user_code=shown,
        verification_uri=f"{home.console}/register",
        verification_uri_complete=f"{home.console}/register?user_code={shown}",
        expires_in=LIFETIME_S,
        interval=INTERVAL_S,
        fingerprint=key.fingerprint,
    )


@routes.post("/registrations/token", None, "A device asks whether it was let in")
def poll_registration(call: Call, body: RegistrationPoll) -> RegisteredDevice:
    """RFC 8628, 3.4 and 3.5: 400 with `error` authorization_pending or slow_down until somebody has decided."""
    if body.grant_type != GRANT_TYPE:
        raise OAuthError("unsupported_grant_type", f"grant_type must be {GRANT_TYPE}")
    user_code = _user_code_of(call, body.device_code)
    now_ms = int(call.now_s * 1000)
    too_early = False

    def polled(before: Registration) -> Registration:
        nonlocal too_early
        wait_ms = (before.interval_s - EARLY_S) * 1000
        too_early = before.polled_at is not None and now_ms < before.polled_at + wait_ms
        if before.state == "approved":
            return replace(before, state="fetched", polled_at=now_ms, expires_at=now_ms + REPEAT_S * 1000)
        slower = SLOWER_BY_S if too_early else 0
        return replace(before, polled_at=now_ms, interval_s=before.interval_s + slower)

    try:
        registration = call.home.registrations.change(user_code, polled)
    except NotFound as error:
        raise OAuthError("expired_token", "the time of this device code is over; begin anew") from error
    if registration.state == "denied":
        raise OAuthError("access_denied", "the camera was not let in")
    if registration.identity is not None and registration.thing is not None:
        return _registered(registration.thing, registration.identity)
    if too_early:
        raise OAuthError("slow_down", f"wait {registration.interval_s} seconds between two questions")
    raise OAuthError("authorization_pending", "nobody has decided yet")


@routes.get("/registrations/{code}", Permission.OWN, "The device that shows a code")
def get_registration(call: Call, code: UserCode) -> RegistrationView:
    """The code is taken in any case, with or without its dash."""
    return _view(_by_user_code(call, code))


@routes.post("/registrations/{code}", Permission.OWN, "Let a device in, or deny it")
def decide_registration(call: Call, code: UserCode, body: Decision) -> RegistrationView:
    """409 where somebody has decided already, or the name is taken; then another name can be given."""
    _by_user_code(call, code)
    if body.decision == "deny":
        return _view(_take(call, code, "denied"))
    if body.thing_name is None:
        raise InvalidInput("thingName", "must be there to approve")
    if len(call.home.groups.get_many(body.groups)) != len(set(body.groups)):
        raise InvalidInput("groups", "must be groups that are there")
    registration = _take(call, code, "approving")
    try:
        identity = call.home.things.register(body.thing_name, registration.csr)
    except PinTheSkyError:
        call.home.registrations.change(code, lambda before: replace(before, state="pending", decided_by=None))
        raise
    # The device gets its certificate even if something fails below: its thing exists from here on.
    approved = call.home.registrations.change(
        code, lambda before: replace(before, state="approved", thing=body.thing_name, identity=identity)
    )
    _make_camera(call, body.thing_name, body)
    return _view(approved)


def _make_camera(call: Call, thing: ThingName, decision: Decision) -> None:
    home = call.home
    home.cameras.adopt(thing, int(call.now_s * 1000))
    if decision.display_name:
        home.cameras.change(thing, lambda camera: replace(camera, display_name=decision.display_name))
    for group in decision.groups:
        home.groups.join(thing, group)


def _take(call: Call, user_code: UserCode, state: State) -> Registration:
    """Decide, if nobody else has; there is time from here on to hear of it. Raises Conflict."""
    until = int(call.now_s + FETCH_S) * 1000

    def decided(before: Registration) -> Registration:
        if before.state != "pending":
            raise Conflict(f"the device with the code {user_code.shown} is {before.state} already")
        expires_at = max(before.expires_at, until)
        return replace(before, state=state, decided_by=call.person.person.id, expires_at=expires_at)

    return call.home.registrations.change(user_code, decided)


def _by_user_code(call: Call, user_code: UserCode) -> Registration:
    """The registration with a code. Codes can be guessed, so wrong ones are counted."""
    whose = ("user code", str(call.person.person.id)), ("user code from", network_of(call.source_ip))
    for what, who in whose:
        call.home.attempts.check(what, who, most=GUESSES_MAX, now_s=call.now_s)
    try:
        return call.home.registrations.get(user_code)
    except NotFound:
        for what, who in whose:
            call.home.attempts.count(what, who, most=GUESSES_MAX, window_s=GUESSES_WINDOW_S, now_s=call.now_s)
        raise


def _user_code_of(call: Call, device_code: str) -> UserCode:
    network = network_of(call.source_ip)
    try:
        return call.home.registrations.user_code_of(device_code)
    except NotFound as error:
        attempts = call.home.attempts
        attempts.count("device code", network, most=GUESSES_MAX, window_s=GUESSES_WINDOW_S, now_s=call.now_s)
        raise OAuthError("invalid_grant", str(error)) from error


def _registered(thing: ThingName, identity: DeviceIdentity) -> RegisteredDevice:
    return RegisteredDevice(
        thing_name=thing,
        certificate=identity.certificate,
        authority=identity.authority,
        endpoints=identity.endpoints,
    )


def _view(registration: Registration) -> RegistrationView:
    return RegistrationView(
        user_code=registration.user_code.shown,
        state=registration.state,
        host_name=registration.host_name,
        source_ip=registration.source_ip,
        key_kind=registration.key_kind,
        fingerprint=registration.fingerprint,
        requested_at=registration.requested_at,
        expires_at=registration.expires_at,
        thing_name=registration.thing,
    )
