"""What somebody who deploys may choose: the context of the CDK application, read into one checked struct.

What is not set has the default that stands here. A value is set with `-c key=value`, or kept under `context` in
`infra_cdk/cdk.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pinthesky.errors import InvalidInput

Domain = Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}\Z", max_length=253)]
Zone = Annotated[str, Meta(pattern=r"^Z[A-Z0-9]{4,31}\Z")]
SiteCertificate = Annotated[str, Meta(pattern=r"^arn:aws[a-z-]*:acm:us-east-1:[0-9]{12}:certificate/[a-f0-9-]{8,64}\Z")]
GoogleClient = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{10,200}\Z")]
ParameterName = Annotated[str, Meta(pattern=r"^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,14}\Z", max_length=200)]
Email = Annotated[str, Meta(pattern=r"^[^@\s]{1,64}@[^@\s]{1,190}\Z")]
Days = Annotated[int, Meta(ge=0, le=3650)]


class Settings(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """All may be left out. The names in a context are in camel case: `domainName`."""

    domain_name: Domain | None = None
    """The console's own name; without it CloudFront gives one. The APIs keep AWS's names either way."""
    hosted_zone_id: Zone | None = None
    """The zone of Route 53 that gets the console's records; without it they are made by hand."""
    certificate_arn: SiteCertificate | None = None
    """A certificate for `domainName`, in us-east-1, where CloudFront looks for it."""
    google_client_id: GoogleClient | None = None
    """Lets invited people sign in with Google too."""
    google_secret_parameter: ParameterName = "/pinthesky/google-client-secret"  # noqa: S105 - a parameter's name
    """Name of the parameter in Systems Manager (type String) that holds the client's secret."""
    retention_days: Days = 30
    """For how long clips are kept; 0 keeps for ever. So with the next two."""
    stills_days: Days = 30
    health_days: Days = 90
    log_days: Annotated[int, Meta(ge=1, le=3653)] = 30
    """For how long logs are kept; CloudWatch takes the next longer of the times that it offers."""
    monthly_budget_usd: Annotated[float, Meta(gt=0, le=100_000)] = 5.0
    """Somebody is told when the account's month is going to cost more; see `alertEmail`."""
    label_detection: bool = False
    """Have Rekognition say what can be seen in a clip: 0.001 $ for each picture."""
    label_images_per_month: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """No more than so many pictures a month are looked at."""
    alert_email: Email | None = None
    """Who is told about the budget and, by an alarm of CloudWatch, when something could not be taken.

    The alarm costs 0.10 $ a month beyond the ten that an account has free.
    """
    alarms: bool = False
    """Five alarms in place of that one: errors, throttles, answers of the API and a fleet that is silent, too."""
    dashboard: bool = False
    """A dashboard of CloudWatch: 3.00 $ a month beyond the three that an account has free."""
    legacy_devices: bool = False
    """Hear devices of the predecessor, on the topic that they all share."""


def read(context: Callable[[str], Any]) -> Settings:
    """The settings of a context, given as a function from key to value or None.

    A value of `-c` is always text, one of `cdk.json` is not; both are taken. Raises InvalidInput with the key's name.
    """
    names = {field.encode_name for field in msgspec.structs.fields(Settings)}
    given = {name: value for name in sorted(names) if (value := context(name)) is not None and value != ""}
    return settings_of(given)


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings of a mapping, by their names in camel case. Raises InvalidInput with the key's name."""
    names = {field.encode_name for field in msgspec.structs.fields(Settings)}
    for name in given:
        if name not in names:
            raise InvalidInput(str(name)[:60], f"is no setting; there are {', '.join(sorted(names))}")
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError as error:
            message = str(error).partition(" - at `$")[0].partition(", got")[0]
            raise InvalidInput(name, f"{message[:1].lower()}{message[1:]}, got {str(value)[:60]!r}") from error
    found = msgspec.convert(dict(given), Settings, strict=False)
    _check_together(found)
    return found


def _check_together(found: Settings) -> None:
    if found.domain_name is not None and found.certificate_arn is None:
        raise InvalidInput("certificateArn", "is missing: CloudFront needs a certificate in us-east-1 for domainName")
    if found.certificate_arn is not None and found.domain_name is None:
        raise InvalidInput("domainName", "is missing: certificateArn is for the console's own name")
    if found.hosted_zone_id is not None and found.domain_name is None:
        raise InvalidInput("domainName", "is missing: hostedZoneId gets its records")
