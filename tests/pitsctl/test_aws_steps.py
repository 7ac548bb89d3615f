"""A camera is made in an account, on moto's server: what is made, adopted, gone on with after a cut, and taken back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest

from pinthesky.errors import Conflict, InvalidInput, NotAuthorized, PinTheSkyError, Unavailable
from pinthesky.model import camera_policy
from pitsctl import places
from pitsctl.answers import Answers, Cloud, CloudWatch, DataPlane, Home, Storage
from pitsctl.aws_account import Account, Deployment
from pitsctl.aws_shared import SharedStep
from pitsctl.aws_steps import ThingStep, aws_steps
from pitsctl.device_key import KeyStep
from pitsctl.facts import Facts
from pitsctl.home import home_steps, look_at_home
from pitsctl.ledger import Ledger
from pitsctl.steps import Step, Verdict
from tests.support.aws_servers import closed_port, moto_server
from tests.support.folder_machine import FolderMachine
from tests.support.moto_certificates import certified_keys
from tests.support.person import ScriptedPerson

REGION = "eu-central-1"
STATE = "/var/lib/pinthesky-install/state.json"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of an account that begins empty."""
    with certified_keys(), moto_server() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", autouse=True)
def owner(moto: str) -> Iterator[None]:
    """The credentials of the account's owner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", moto)
        patch.setenv("AWS_ACCESS_KEY_ID", "a")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        yield


@pytest.fixture(scope="module")
def account(owner: None) -> Account:
    """One for all tests: reading what AWS's services look like takes botocore longer than they take."""
    return Account(region=REGION)


@pytest.fixture
def machine(tmp_path: Path) -> FolderMachine:
    return FolderMachine(tmp_path / "machine")


class Installation:
    """What a person answers, and the steps of it, in an account where other tests have other names."""

    def __init__(self, account: Account, machine: FolderMachine, **sections: Any) -> None:
        mark = secrets.token_hex(4)
        self.account, self.machine = account, machine
        self.person = ScriptedPerson()
        self.answers = Answers(
            home=Home(kind="aws", region=REGION),
            **{
                "cloud": Cloud(
                    thing=f"garden-{mark}",
                    group=f"group-{mark}",
                    policy=f"policy-{mark}",
                    role=f"role-{mark}",
                    role_alias=f"alias-{mark}",
                ),
                "storage": Storage(bucket=f"bucket-{mark}"),
                "cloudwatch": CloudWatch(enabled=True, log_group=f"logs-{mark}"),
                **sections,
            },
        )

    def steps(self) -> list[Step]:
        """As a workstation makes them that has not seen the machine before."""
        ledger = Ledger(self.machine)
        made = aws_steps(
            self.answers, self.machine, ledger, person=self.person, account=self.account, host_name="camera.local"
        )
        for step in made:
            if isinstance(step, SharedStep):
                step.pause = lambda _: None
        return [KeyStep(self.machine), *made]

    def install(self) -> list[str]:
        lines: list[str] = []
        for step in self.steps():
            step.apply(lines.append)
        return lines

    def remove(self) -> list[str]:
        lines: list[str] = []
        for step in reversed(self.steps()):
            step.undo(lines.append)
        return lines

    def verdicts(self) -> dict[str, Verdict]:
        return {step.name: step.check().verdict for step in self.steps()}

    @property
    def names(self) -> Cloud:
        return self.answers.cloud


@pytest.fixture(scope="module")
def standing(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation for those who only look."""
    made = Installation(account, FolderMachine(tmp_path_factory.mktemp("standing") / "machine"))
    made.install()
    yield made
    made.remove()


@cache
def client(name: str) -> Any:
    """A client past everything of ours, to look at what there is."""
    return boto3.client(name, region_name=REGION)  # type: ignore[call-overload]  # the stubs want a literal


def everything() -> dict[str, set[str]]:
    """All that is in the account."""
    iot = client("iot")
    return {
        "things": {each["thingName"] for each in iot.list_things()["things"]},
        "certificates": {each["certificateId"] for each in iot.list_certificates()["certificates"]},
        "policies": {each["policyName"] for each in iot.list_policies()["policies"]},
        "aliases": set(iot.list_role_aliases()["roleAliases"]),
        "groups": {each["groupName"] for each in iot.list_thing_groups()["thingGroups"]},
        "roles": {each["RoleName"] for each in client("iam").list_roles()["Roles"]},
        "buckets": {each["Name"] for each in client("s3").list_buckets()["Buckets"]},
        "logs": {each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]},
    }


def test_an_empty_account_gets_all_that_a_camera_needs_and_nothing_is_left_of_it_afterwards(
    account: Account, machine: FolderMachine
) -> None:
    before = everything()
    made = Installation(account, machine)
    assert set(made.verdicts().values()) == {Verdict.NEEDED}
    made.install()
    assert set(made.verdicts().values()) == {Verdict.DONE}
    now = everything()
    assert {kind: len(now[kind] - before[kind]) for kind in now} == dict.fromkeys(now, 1)
    home = Ledger(machine).home
    assert home is not None
    assert (home.thing_name, home.bucket, home.region) == (made.names.thing, made.answers.storage.bucket, REGION)
    assert home.mqtt_host.endswith(f".iot.{REGION}.amazonaws.com")
    assert ".credentials.iot." in home.credentials_endpoint
    assert "Amazon" not in machine.path(places.CERTIFICATE).read_text()
    assert machine.path(places.ROOT_CA).read_text().count("BEGIN CERTIFICATE") >= 2
    made.remove()
    assert everything() == before
    assert not machine.path(places.CERTIFICATE).exists()
    assert not machine.path(places.KEY).exists()


def test_again_there_is_nothing_to_do(standing: Installation) -> None:
    made = standing
    before, files = everything(), made.machine.path(places.CERTIFICATE).read_bytes()
    lines = made.install()
    assert [line for line in lines if "Fingerprint" not in line] == []
    assert everything() == before
    assert made.machine.path(places.CERTIFICATE).read_bytes() == files


def test_the_certificate_is_active_and_holds_for_this_thing_under_this_policy(standing: Installation) -> None:
    made = standing
    iot = client("iot")
    [arn] = iot.list_thing_principals(thingName=made.names.thing)["principals"]
    described = iot.describe_certificate(certificateId=arn.rpartition("/")[2])["certificateDescription"]
    assert described["status"] == "ACTIVE"
    assert described["certificatePem"] == made.machine.path(places.CERTIFICATE).read_text()
    assert [p["policyName"] for p in iot.list_attached_policies(target=arn)["policies"]] == [made.names.policy]
    assert iot.list_things_in_thing_group(thingGroupName=made.names.group)["things"] == [made.names.thing]


def test_what_a_camera_may_do_is_its_own_and_no_more(standing: Installation) -> None:
    made = standing
    iot, iam = client("iot"), client("iam")
    document = iot.get_policy(policyName=made.names.policy)["policyDocument"]
    assert len(document) < 2048
    for statement in json.loads(document)["Statement"]:
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        alias = f"rolealias/{made.names.role_alias}"
        assert all(camera_policy.THING in each or each.endswith(alias) for each in resources)
    role = iam.get_role(RoleName=made.names.role)["Role"]
    condition = role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    assert condition["StringEqualsIfExists"] == {"aws:SourceAccount": made.account.id}
    assert condition["ArnLikeIfExists"]["aws:SourceArn"].endswith(f":rolealias/{made.names.role_alias}")
    permissions = iam.get_role_policy(RoleName=made.names.role, PolicyName="camera")["PolicyDocument"]["Statement"]
    actions = [each["Action"] if isinstance(each["Action"], list) else [each["Action"]] for each in permissions]
    assert {action for some in actions for action in some} == {
        "s3:PutObject",
        "s3:PutObjectTagging",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
    assert all(camera_policy.THING_OF_ROLE in str(each["Resource"]) for each in permissions)


def test_the_bucket_is_private_expires_what_is_ordinary_and_lets_nothing_be_written_over(
    standing: Installation,
) -> None:
    made = standing
    s3, bucket = client("s3"), made.answers.storage.bucket
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rules[0]["Expiration"] == {"Days": 30}
    statements = {each["Sid"]: each for each in json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]}
    assert statements["NothingIsWrittenOver"]["Condition"] == {"Null": {"s3:if-none-match": "true"}}
    assert statements["TlsOnly"]["Effect"] == "Deny"
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "pinthesky:made-by", "Value": "pitsctl"}]


def test_what_is_there_is_used_as_it_is_and_never_removed(account: Account, machine: FolderMachine) -> None:
    made = Installation(account, machine)
    names, iot, iam = made.names, client("iot"), client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": []})
    iot.create_thing_group(thingGroupName=names.group)
    iot.create_policy(policyName=names.policy, policyDocument=document)
    role = iam.create_role(RoleName=names.role, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iot.create_role_alias(roleAlias=names.role_alias, roleArn=role)
    client("s3").create_bucket(
        Bucket=made.answers.storage.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    client("logs").create_log_group(logGroupName=made.answers.cloudwatch.log_group)
    before = everything()
    needed = {name for name, verdict in made.verdicts().items() if verdict is Verdict.NEEDED}
    assert needed == {"device-key", "aws-thing"}
    made.install()
    assert iot.get_policy(policyName=names.policy)["policyDocument"] == document
    made.remove()
    assert everything() == before


def test_a_second_camera_shares_what_the_first_has_made_and_the_last_one_takes_it_away(
    account: Account, tmp_path: Path
) -> None:
    before = everything()
    first = Installation(account, FolderMachine(tmp_path / "first"))
    first.install()
    other = Cloud(**{name: getattr(first.names, name) for name in Cloud.__struct_fields__} | {"thing": "second"})
    second = Installation(
        account,
        FolderMachine(tmp_path / "second"),
        cloud=other,
        storage=first.answers.storage,
        cloudwatch=first.answers.cloudwatch,
    )
    needed = {name for name, verdict in second.verdicts().items() if verdict is Verdict.NEEDED}
    assert needed == {"device-key", "aws-thing"}
    second.install()
    lines = first.remove()
    assert sum("other cameras use it" in line for line in lines) == 5
    assert set(second.verdicts().values()) == {Verdict.DONE}
    second.remove()
    assert everything() == before


class Cut(Exception):
    """The connection is lost, or the workstation is gone."""


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_cut_off_at_any_change_in_aws_it_goes_on_from_there_and_leaves_nothing_behind(
    account: Account, machine: FolderMachine, whole: bool
) -> None:
    """Attempts end at the first change, then further on: at every third without `whole`."""
    before = everything()
    made = Installation(account, machine)
    clients = [account.client(service) for service in ("iot", "iam", "s3", "logs")]
    allowed, cuts, left = 0, 0, 0

    def cut(model: Any, **_: Any) -> None:
        nonlocal left
        if not model.name.startswith(("Describe", "List", "Get", "Head")):
            left -= 1
            if left < 0:
                raise Cut

    for each in clients:
        each.meta.events.register("before-call", cut, unique_id="cut")
    try:
        while True:
            left = allowed
            try:
                made.install()
            except Cut:
                allowed, cuts = allowed + (1 if whole else 3), cuts + 1
            else:
                break
    finally:
        for each in clients:
            each.meta.events.unregister("before-call", unique_id="cut")
    assert cuts > 2
    assert set(made.verdicts().values()) == {Verdict.DONE}
    assert len(everything()["certificates"] - before["certificates"]) == 1
    made.remove()
    assert everything() == before


def test_a_connection_to_the_machine_that_is_lost_costs_no_certificate(
    account: Account, machine: FolderMachine
) -> None:
    made = Installation(account, machine)
    lost = iter((True,))

    def lose(path: object) -> None:
        if path == places.CERTIFICATE and next(lost, False):
            raise Unavailable("the connection is lost")

    machine.before_write = lose
    before = everything()["certificates"]
    with pytest.raises(Unavailable):
        made.install()
    made.install()
    assert len(everything()["certificates"] - before) == 1
    made.remove()


def test_a_thing_that_is_there_is_taken_only_if_the_person_says_so_and_stays_afterwards(
    account: Account, machine: FolderMachine
) -> None:
    made = Installation(account, machine)
    client("iot").create_thing(thingName=made.names.thing)
    made.person.yes = False
    with pytest.raises(Conflict, match=r"choose another name \(cloud\.thing\)"):
        made.install()
    made.person.yes = True
    made.install()
    assert made.verdicts()["aws-thing"] is Verdict.DONE
    lines = made.remove()
    assert any("it was there before" in line for line in lines)
    client("iot").delete_thing(thingName=made.names.thing)


def test_a_new_key_gets_a_new_certificate_and_the_old_one_goes(account: Account, machine: FolderMachine) -> None:
    made = Installation(account, machine)
    made.install()
    before = everything()["certificates"]
    machine.path(places.KEY).unlink()
    assert made.verdicts()["aws-thing"] is Verdict.NEEDED
    made.install()
    now = everything()["certificates"]
    assert len(now) == len(before)
    assert now != before
    made.remove()


def test_an_identity_that_was_there_before_is_kept_unless_another_thing_is_named(
    account: Account, machine: FolderMachine
) -> None:
    made = Installation(account, machine)
    made.install()
    home = Ledger(machine).home
    assert home is not None
    machine.path(places.RECORD_FILE).unlink()
    Ledger(machine).keep_home(msgspec.structs.replace(home, thing_name="of-old"))
    assert made.verdicts()["aws-thing"] is Verdict.NEEDED, "another one is asked for"
    unnamed = Installation(account, machine, cloud=msgspec.structs.replace(made.names, thing=""))
    assert unnamed.verdicts()["aws-thing"] is Verdict.DONE
    before = everything()
    for step in reversed(unnamed.steps()[-1:]):
        step.apply(lambda _: None)
        step.undo(lambda _: None)
    assert everything() == before
    assert machine.path(places.CERTIFICATE).exists()


def test_a_certificate_that_was_deactivated_in_the_account_is_seen(account: Account, machine: FolderMachine) -> None:
    made = Installation(account, machine)
    made.install()
    [arn] = client("iot").list_thing_principals(thingName=made.names.thing)["principals"]
    client("iot").update_certificate(certificateId=arn.rpartition("/")[2], newStatus="INACTIVE")
    assert made.verdicts()["aws-thing"] is Verdict.NEEDED
    made.install()
    assert made.verdicts()["aws-thing"] is Verdict.DONE
    made.remove()


def test_clips_are_deleted_only_if_the_person_says_so(account: Account, machine: FolderMachine) -> None:
    made = Installation(account, machine)
    made.install()
    bucket = made.answers.storage.bucket
    client("s3").delete_bucket_policy(Bucket=bucket)  # moto holds it, and speaks no TLS
    client("s3").put_object(
        Bucket=bucket, Key="motion_videos/a/1.mp4", Body=b"clip", Tagging="retention=standard", IfNoneMatch="*"
    )
    made.person.refuses = "bucket"
    lines = made.remove()
    assert f"{bucket} is kept, with the clips in it" in lines
    assert bucket in everything()["buckets"]
    made.person.refuses = None
    made.remove()
    assert bucket not in everything()["buckets"]


def test_what_was_changed_by_hand_is_put_right_again(account: Account, machine: FolderMachine) -> None:
    made = Installation(account, machine)
    made.install()
    iot = client("iot")
    other = json.dumps({"Version": "2012-10-17", "Statement": []})
    for _ in range(4):
        iot.create_policy_version(policyName=made.names.policy, policyDocument=other, setAsDefault=True)
    client("iam").delete_role_policy(RoleName=made.names.role, PolicyName="camera")
    client("s3").delete_bucket_policy(Bucket=made.answers.storage.bucket)
    client("logs").delete_retention_policy(logGroupName=made.answers.cloudwatch.log_group)
    needed = {name for name, verdict in made.verdicts().items() if verdict is Verdict.NEEDED}
    assert needed == {"aws-policy", "aws-role", "aws-media-bucket", "aws-log-group"}
    made.install()
    assert set(made.verdicts().values()) == {Verdict.DONE}
    made.remove()


def test_without_storage_and_logs_nothing_is_made_that_could_cost_money(
    account: Account, machine: FolderMachine
) -> None:
    before = everything()
    made = Installation(account, machine, storage=Storage(enabled=False), cloudwatch=CloudWatch())
    made.install()
    now = everything()
    assert now["buckets"] == before["buckets"]
    assert now["logs"] == before["logs"]
    home = Ledger(machine).home
    assert home is not None
    assert home.bucket == ""
    made.remove()


TEMPLATE = {
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    "Outputs": {
        "ConsoleUrl": {"Value": "https://pits.example.org"},
        "SocketUrl": {"Value": "wss://abc123.execute-api.eu-central-1.amazonaws.com/prod"},
        "MediaBucket": {"Value": "deployed-media"},
        "RoleAlias": {"Value": "DeployedAlias"},
        "CameraPolicy": {"Value": "DeployedPolicy"},
        "CameraGroup": {"Value": "DeployedGroup"},
    },
}


@pytest.fixture
def deployment() -> Iterator[Callable[..., None]]:
    formation = client("cloudformation")

    def deploy(*without: str) -> None:
        outputs = {key: each for key, each in TEMPLATE["Outputs"].items() if key not in without}
        formation.create_stack(StackName="PinTheSky", TemplateBody=json.dumps({**TEMPLATE, "Outputs": outputs}))

    yield deploy
    formation.delete_stack(StackName="PinTheSky")


def test_an_installation_with_the_accounts_credentials_makes_the_key_before_the_thing(
    account: Account, machine: FolderMachine
) -> None:
    answers = Answers(home=Home(kind="aws", region=REGION), cloud=Cloud(thing="ordered"))
    steps = home_steps(answers, machine, Facts(), ledger=Ledger(machine), person=ScriptedPerson())
    assert [step.name for step in steps] == [
        "aws-group",
        "aws-role",
        "aws-role-alias",
        "aws-policy",
        "aws-media-bucket",
        "device-key",
        "aws-thing",
    ]
    assert len({step.title for step in steps}) == 7


def test_where_the_cloud_home_is_deployed_only_thing_and_certificate_are_made(
    account: Account, machine: FolderMachine, deployment: Callable[..., None]
) -> None:
    deployment()
    iot = client("iot")
    iot.create_policy(policyName="DeployedPolicy", policyDocument="{}")
    iot.create_thing_group(thingGroupName="DeployedGroup")
    before = everything()
    made = Installation(account, machine, cloud=Cloud(thing="deployed"), storage=Storage(), cloudwatch=CloudWatch())
    assert [step.name for step in made.steps()] == ["device-key", "aws-thing"]
    made.install()
    now = everything()
    assert {kind for kind in now if now[kind] != before[kind]} == {"things", "certificates"}
    home = Ledger(machine).home
    assert home is not None
    assert (home.bucket, home.role_alias) == ("deployed-media", "DeployedAlias")
    assert home.dataplane_endpoint == "https://abc123.execute-api.eu-central-1.amazonaws.com/prod"
    made.remove()
    assert everything() == before
    made.answers = Answers(home=made.answers.home, cloud=made.answers.cloud, dataplane=DataPlane(enabled=False))
    made.install()
    home = Ledger(machine).home
    assert home is not None
    assert home.dataplane_endpoint == ""
    made.remove()


def test_a_deployment_that_is_not_whole_is_said_before_anything_is_made(
    account: Account, machine: FolderMachine, deployment: Callable[..., None]
) -> None:
    deployment("MediaBucket", "CameraPolicy")
    with pytest.raises(Conflict, match="no output MediaBucket, CameraPolicy: deploy it again"):
        Deployment.find(account)


def test_the_wizard_sees_account_deployment_and_names(
    account: Account, machine: FolderMachine, deployment: Callable[..., None]
) -> None:
    answers = Answers(home=Home(kind="aws", region=REGION))
    alone = look_at_home(answers, machine, ScriptedPerson())
    assert dict(alone.rows)["Account"] == account.id
    assert alone.warnings
    assert alone.answers is not None
    assert alone.answers.cloud.policy == "pinthesky-camera"
    deployment()
    found = look_at_home(answers, machine, ScriptedPerson())
    assert dict(found.rows)["Console"] == "https://pits.example.org"
    assert found.warnings == ()


def test_a_host_name_becomes_the_things_name_as_far_as_it_may(account: Account, machine: FolderMachine) -> None:
    made = Installation(account, machine, cloud=Cloud())
    thing = next(step for step in made.steps() if isinstance(step, ThingStep))
    assert "camera-local" in thing.check().what


@pytest.mark.parametrize(
    "variables, given, kind, what",
    [
        ({}, {"profile": "nobody"}, InvalidInput, r"home\.profile"),
        ({}, {"region": ""}, InvalidInput, r"home\.region"),
        ({"AWS_ACCESS_KEY_ID": ""}, {}, NotAuthorized, "aws configure"),
    ],
)
def test_what_is_missing_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], given: dict[str, str], kind: Any, what: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(kind, match=what):
        assert Account(**{"region": REGION, **given}).id


def test_an_account_that_cannot_be_reached_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(Unavailable, match="Could not connect"):
        assert Account(region=REGION).id


@pytest.mark.parametrize(
    "code, status, kind",
    [
        ("AccessDeniedException", 403, NotAuthorized),
        ("ExpiredToken", 400, NotAuthorized),
        ("ThrottlingException", 400, Unavailable),
        ("InternalFailureException", 500, Unavailable),
        ("DeleteConflictException", 409, Conflict),
        ("ValidationException", 400, InvalidInput),
    ],
)
def test_what_aws_says_becomes_an_error_of_ours(code: str, status: int, kind: type[PinTheSkyError]) -> None:
    from botocore.exceptions import ClientError

    from pitsctl.aws_account import errors

    told: Any = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(kind, match=r"making a test.*why"), errors("making a test"):
        raise ClientError(told, "Make")
