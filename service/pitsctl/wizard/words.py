"""Every text that the wizard says, for both renderers; a `{name}` is filled in where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pitsctl.steps import Verdict


@dataclass(frozen=True)
class PageWords:
    """A screen's title, and the sentence below it."""

    title: str
    intro: str = ""


@dataclass(frozen=True)
class FieldWords:
    """A field: at most 16 characters beside it, a sentence of help, and what an empty one stands for."""

    label: str
    help: str
    empty: str = ""


PAGES: Final[dict[str, PageWords]] = {
    "connection": PageWords(
        "Connection", "Which machine becomes a camera? It is only looked at now; nothing is changed before the review."
    ),
    "home": PageWords("Home", "Where the camera belongs: where its recordings go, and where you watch them."),
    "cloud": PageWords("Cloud names", "What things are called in your account. Empty fields are chosen for you."),
    "storage": PageWords("Storage", "Where clips and stills go. Without storage they stay on the camera's disk."),
    "camera": PageWords("Camera", "What is left empty is the preset of this Raspberry Pi and this camera."),
    "cloudwatch": PageWords("CloudWatch", "Logs and metrics in your account. Off, since AWS charges for them."),
    "dataplane": PageWords("Data plane", "The line over which live view and answers go; it is idle while nobody asks."),
    "paths": PageWords("Paths", "Where it is put on the machine. The defaults are right for nearly everybody."),
    "review": PageWords("Review", "What was found, and what will be done. Nothing has been changed so far."),
    "progress": PageWords("Progress"),
    "result": PageWords("Result"),
}

FIELDS: Final[dict[str, FieldWords]] = {
    "connection.host": FieldWords(
        "Host", "user@host, or a name of your ~/.ssh/config. Empty: this very machine.", "this machine"
    ),
    "connection.port": FieldWords(
        "Port", "Only where ssh is not reached as your ssh configuration says.", "as ssh says"
    ),
    "connection.identity_file": FieldWords(
        "Key file", "A private key that ssh would not find by itself.", "the agent's, or ssh's own"
    ),
    "home.kind": FieldWords(
        "Belongs to",
        "AWS: with the credentials of this computer. Hub and code: without any, you let the camera in by a code.",
    ),
    "home.address": FieldWords(
        "Address", "https://… of the hub, or of your control plane in AWS. A hub in this network is found by itself."
    ),
    "home.authority_sha256": FieldWords(
        "Fingerprint",
        "SHA-256 of the hub's authority, which `pits-hub` prints. Empty: you are asked whether you trust it.",
        "you are asked",
    ),
    "home.profile": FieldWords(
        "Profile", "A profile of your AWS configuration on this computer.", "the default profile"
    ),
    "home.region": FieldWords("Region", "Such as eu-central-1.", "the profile's"),
    "cloud.thing": FieldWords("Thing", "The camera's own name. Each camera has another.", "the machine's name"),
    "cloud.group": FieldWords("Group", "The thing group that cameras belong to.", "the deployment's"),
    "cloud.policy": FieldWords(
        "Policy", "The IoT policy: each camera reaches its own topics only.", "the deployment's"
    ),
    "cloud.role": FieldWords("Role", "The IAM role whose temporary credentials the camera gets.", "the deployment's"),
    "cloud.role_alias": FieldWords("Role alias", "Under which name the camera asks for them.", "the deployment's"),
    "storage.enabled": FieldWords("Store clips", "No: recordings stay on the camera until its disk needs the room."),
    "storage.bucket": FieldWords(
        "Bucket", "The S3 bucket. One that does not exist is created, private.", "the deployment's"
    ),
    "storage.video_prefix": FieldWords("Clips below", "First part of a clip's key."),
    "storage.image_prefix": FieldWords("Stills below", "First part of a still's key."),
    "camera.device": FieldWords(
        "Camera", "auto: the Pi's own. Else a device such as /dev/video0, or an rtsp:// address without its password."
    ),
    "camera.rotation": FieldWords("Rotation", "Degrees clockwise. How a camera hangs cannot be found out from here."),
    "camera.resolution": FieldWords("Resolution", "Width x height, such as 1280x720.", "as the preset"),
    "camera.framerate": FieldWords("Frames a second", "From 1 to 120.", "as the preset"),
    "camera.bitrate": FieldWords(
        "Bits a second", "From 100000 to 25000000. More is sharper, and takes more room.", "as the preset"
    ),
    "camera.sensitivity": FieldWords("Sensitivity", "From 1 to 100: higher is less sensitive to motion.", "10"),
    "camera.recording_window": FieldWords(
        "Records from-to", "Hours in which motion is recorded, such as 22-6.", "all day"
    ),
    "cloudwatch.enabled": FieldWords("Send to AWS", "No: logs stay in the journal of the machine."),
    "cloudwatch.log_group": FieldWords("Log group", "It is created where it does not exist."),
    "cloudwatch.namespace": FieldWords("Namespace", "Under which metrics are shown."),
    "cloudwatch.level": FieldWords("Level", "The least severe lines that are sent."),
    "cloudwatch.event_type": FieldWords("What", "logs: lines. emf: metrics. all: both."),
    "dataplane.enabled": FieldWords("Live view", "No: the camera records, and cannot be watched live from elsewhere."),
    "dataplane.endpoint": FieldWords("Endpoint", "https://… of the data plane.", "the home's"),
    "paths.root": FieldWords("Root", "/ is the machine itself; another folder prepares a mounted card or an image."),
    "paths.spool_max_mb": FieldWords(
        "Spool at most", "Megabytes of clips that wait for upload; then the oldest go.", "4096 MB"
    ),
    "paths.client": FieldWords(
        "Device client",
        "python: ours, nothing to compile. cpp: awslabs', where it is installed.",
        "cpp where it is there, else python",
    ),
    "paths.upgrade_sources": FieldWords(
        "Upgrades from", "https:// addresses that an upgrade job may fetch from, with spaces between them.", "none"
    ),
}

CHOICES: Final[dict[str, dict[str, str]]] = {
    "home.kind": {
        "aws": "my AWS account",
        "hub": "a hub in this network",
        "code": "by a code typed in the console",
    },
    "paths.client": {"": "as found", "python": "python", "cpp": "cpp"},
}
"""What is said in place of a value; other values speak for themselves."""

NEEDED: Final[dict[str, str]] = {
    "home.kind": "choose one of the three",
    "home.address": "an address is needed, such as https://hub.local:8443",
}
"""What is said of a field that may not be empty as things are."""

VERDICTS: Final[dict[Verdict, tuple[str, str]]] = {
    Verdict.DONE: ("✓", "is there"),
    Verdict.NEEDED: ("+", "will do"),
    Verdict.IMPOSSIBLE: ("✗", "cannot"),
}
"""A mark and a word for each verdict, the word at most 8 characters."""

STATES: Final[dict[str, tuple[str, str]]] = {
    "there": ("✓", "is there"),
    "waiting": ("·", "waits"),
    "doing": ("▸", "works"),
    "done": ("✓", "done"),
    "failed": ("✗", "failed"),
}
"""A mark and a word for each state of a step while a plan is carried out."""

COST: Final[dict[str, str]] = {
    "off": "Off costs nothing.",
    "logs": (
        "AWS charges about 0.50 $ for each GB of log lines, and 0.03 $ a month for each GB kept. "
        "At INFO a camera writes some MB a month; DEBUG writes many times as much."
    ),
    "emf": (
        "AWS charges about 0.30 $ a month for each metric. There are some dozens, which all cameras share, "
        "and their documents are charged as log lines: about 0.50 $ for each GB."
    ),
}
COST_SOURCE: Final = "List prices of most regions; yours are at aws.amazon.com/cloudwatch/pricing."

PROGRAM: Final = "Pi In The Sky"
HEAD: Final = "Pi In The Sky · a camera is set up"
THIS_MACHINE: Final = "this machine"
PRESET: Final = "{preset} (preset)"
NO_PRESET: Final = "No preset for this machine: 640x480 at 20 frames a second, unless you say otherwise."
AUTO: Final = "the Pi's own camera"
NOTHING_SEEN: Final = "The machine was not looked at yet: go back to Connection."
HUBS_LISTENING: Final = "Listening for hubs in this network …"
HUBS_NONE: Final = "No hub announces itself in this network: type its address."

REACHING_MACHINE: Final = "Looking at {name} …"
REACHING_HOME: Final = "Looking at {name} …"
PLANNING: Final = "Each step looks what is there …"
GIVING_UP: Final = "Giving up …"
HOMES: Final[dict[str, str]] = {"aws": "your AWS account", "hub": "the hub", "code": "the address"}
WAIT_HINT: Final = "Esc gives up and goes back."

PLAN_COUNT: Final = "{needed} to do, {done} there already."
PLAN_STUCK: Final = "{impossible} impossible, {needed} to do, {done} there already."
PLAN_NOTHING: Final = "Everything is there already: nothing to do."
PLAN_IMPOSSIBLE: Final = (
    "Nothing can be installed while a step is impossible. Do what stands beside it, then look again."
)
PLAN_WHERE: Final = "On {machine}, for {home}."

WORKING_ON: Final = "{done} of {total} done."
STOPPING: Final = "Stopping after this step …"
TAKING_BACK: Final = "Taking back, last step first."
LOG_OF: Final = "Log of: {title}"
NO_LOG: Final = "(nothing said yet)"

LOST: Final = "The connection was lost while: {title}."
FAILED: Final = "This step failed: {title}."
STOPPED: Final = "Stopped, as you asked."
FAILED_BEFORE: Final = "It failed before the first step."
KEPT: Final = "What is done stays done; nothing is done twice when you go on."
DONE_STEPS: Final = "{over} of {total} steps are done, the last of them: {title}."
DONE_NONE: Final = "Nothing was changed."
TAKEN_BACK: Final = "Everything that this installation did was taken back."
CUT_OFF: Final = "Cut off while: {title}. The same command goes on from there."
GO_ON: Final = "Go on later"
GO_BACK: Final = "Undo later"
SUCCESS: Final = "The camera is set up. Where to look now:"
LEFT_EARLY: Final = "Left before anything was changed."

KEPT_NOWHERE: Final = "It is used for this installation, and kept nowhere."
TRUST_WARNING: Final = "Compare it with what the machine itself shows. If it differs, somebody may be in between."
REGISTER_TITLE: Final = "Let the camera in"
REGISTER_HOW: Final = "Open this address, sign in as an owner, and type the code:"
REGISTER_CHECK: Final = "The console shows the camera's key. It has to be this one:"
REGISTER_WAITS: Final = "Waiting for you to approve it · {left} left"
REGISTER_HIDDEN: Final = "Waiting for the code {code} at {address}"

LEAVE_NOW: Final = "Leave the installation? Nothing has been changed on the machine."
LEAVE_WORKING: Final = (
    "A step is being done. Stopping waits until it is done; leaving at once cuts it off, which is no harm either: "
    "the same command goes on from there."
)
SAVE_HOW: Final = "Everything you typed, as YAML, for `pitsctl install --answers FILE --yes`. No password is in it."
SAVED: Final = "Written: {path}"
SAVE_OVER: Final = "It exists. Press Save again to overwrite it."
SAVE_EXISTS: Final = "{path} exists. Overwrite it?"

BUTTONS: Final[dict[str, str]] = {
    "next": "Continue",
    "back": "Back",
    "install": "Install",
    "look": "Look again",
    "resume": "Go on",
    "retry": "Try again",
    "change": "Change",
    "take-back": "Take back",
    "finish": "Finish",
    "stay": "Stay",
    "leave": "Leave",
    "stop": "Stop after this step",
    "now": "Leave at once",
    "save": "Save",
    "cancel": "Cancel",
    "yes": "Yes, trust it",
    "no": "No",
    "ok": "OK",
    "keep": "Save answers",
    "hide": "Hide",
}
KEYS: Final[dict[str, tuple[str, str]]] = {
    "go_on": ("Enter", "Continue"),
    "go_back": ("Esc", "Back"),
    "move": ("↑ ↓", "Look at a step's log"),
    "code": ("F4", "Show the code"),
    "save": ("F2", "Save answers"),
    "scroll": ("PgDn", "More"),
    "leave": ("Ctrl-C", "Leave"),
}
"""What each key does, by its action."""
SAVE_TITLE: Final = "Save answers"
SAVE_LABEL: Final = "File"
SAVE_NAME: Final = "pitsctl-answers.yaml"
SWITCH: Final[dict[str, str]] = {"yes": "yes", "no": "no"}

# Plain prompts
TEXT_HOW: Final = 'Enter keeps what stands in [brackets]. < goes back, ? explains, "" empties a field, ^C leaves.'
TEXT_MANY: Final = "{label} ({choices})"
TEXT_NO_MORE: Final = "The input ended."
TEXT_NEXT: Final = "What now? ({choices})"
TEXT_YES_NO: Final = "{question} (yes/no)"
TEXT_AGAIN: Final = "Stopping after this step; Ctrl-C again leaves at once."
TEXT_UNKNOWN: Final = "one of {choices}"
