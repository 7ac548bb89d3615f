"""Which steps a camera's home needs, and what can be seen of it before anything is changed."""

from __future__ import annotations

import threading

import msgspec

from pinthesky.errors import InvalidInput
from pitsctl.answers import Answers
from pitsctl.control_plane import HUB_PORT, Address, ControlPlane, trusted
from pitsctl.device_key import KeyStep
from pitsctl.facts import Facts
from pitsctl.ledger import Ledger
from pitsctl.machine import Machine
from pitsctl.person import Person
from pitsctl.registration import RegistrationStep
from pitsctl.steps import Step
from pitsctl.wizard.ports import Sighting

_PORTS = {"hub": HUB_PORT, "code": 443}


def home_steps(
    answers: Answers,
    machine: Machine,
    facts: Facts,
    *,
    ledger: Ledger,
    person: Person,
    stop: threading.Event | None = None,
) -> list[Step]:
    """The steps that let the camera in. Without a kind of home: none, where it has one already.

    `stop` ends the wait for a code. Raises InvalidInput for answers that lead nowhere, and what asking AWS raises.
    """
    kind = answers.home.kind
    if not kind:
        if ledger.home is None:
            raise InvalidInput("home.kind", "must be aws, hub or code")
        return []
    key = KeyStep(machine)
    if kind == "aws":
        # Reading what AWS's services look like takes botocore a second, which nobody else needs.
        from pitsctl.aws_account import Account  # noqa: PLC0415 - see above
        from pitsctl.aws_steps import aws_steps  # noqa: PLC0415 - see above

        account = Account(profile=answers.home.profile, region=answers.home.region)
        made = aws_steps(answers, machine, ledger, person=person, account=account, host_name=facts.host_name)
        return [*made[:-1], key, made[-1]]
    address = address_of(answers)
    registration = RegistrationStep(
        machine,
        ledger,
        person,
        address=str(address),
        reach=lambda: reached(answers, person),
        authority_sha256=answers.home.authority_sha256,
        stop=stop,
    )
    return [key, registration]


def look_at_home(answers: Answers, _machine: Machine, person: Person) -> Sighting:
    """Reach the home, and say what it is. Raises InvalidInput, NotAuthorized and Unavailable."""
    if not answers.home.kind:
        return Sighting()
    if answers.home.kind != "aws":
        plane = reached(answers, person)
        # What the person has confirmed once is not asked again when the camera is registered.
        home = msgspec.structs.replace(answers.home, authority_sha256=plane.authority_sha256)
        trust = "by the hub's own authority" if plane.authority_sha256 else "by a public certificate"
        reached_at = (("Address", str(plane.address)), ("Trusted", trust))
        return Sighting(rows=reached_at, answers=msgspec.structs.replace(answers, home=home))
    from pitsctl.aws_account import Account, Deployment  # noqa: PLC0415 - a second of botocore, see above
    from pitsctl.aws_steps import names_of  # noqa: PLC0415 - the same

    account = Account(profile=answers.home.profile, region=answers.home.region)
    deployment = Deployment.find(account)
    names = names_of(answers, account, deployment, host_name="camera")
    rows = [("Account", account.id), ("As", account.caller["Arn"]), ("Region", account.region)]
    warnings = []
    if deployment is not None:
        rows += [("Deployment", "PinTheSky"), ("Console", deployment.console)]
    else:
        rows.append(("Deployment", "none: clips go into a bucket, and there is no console"))
        warnings.append("Nothing is deployed in this account and region: there is no console to look at clips with.")
    if names.bucket:
        rows.append(("Bucket", names.bucket))
    cloud = msgspec.structs.replace(
        answers.cloud, group=names.group, policy=names.policy, role=names.role, role_alias=names.role_alias
    )
    laid = msgspec.structs.replace(answers, cloud=cloud) if deployment is None else answers
    return Sighting(rows=tuple(rows), warnings=tuple(warnings), answers=laid)


def address_of(answers: Answers) -> Address:
    """The control plane that is to be asked. Raises InvalidInput (`home.address`)."""
    if not answers.home.address:
        raise InvalidInput("home.address", "must be given: a hub's address, or the control plane's in AWS")
    return Address.parse(answers.home.address, default_port=_PORTS[answers.home.kind])


def reached(answers: Answers, person: Person) -> ControlPlane:
    """The control plane, once it is known that it is the one. Raises what `control_plane.trusted` raises."""
    return trusted(address_of(answers), authority_sha256=answers.home.authority_sha256, person=person)
