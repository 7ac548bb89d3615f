"""The package: its name, its version's place, what it needs where, and its entry points.

The lists are module constants so that tools/prepare.py can read them; nothing else repeats a requirement.
"""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent

# What `pinthesky.model` and `pinthesky.device` stand on, on every machine.
DEVICE = [
    "inotify-simple>=1.3,<3",
    "msgspec>=0.19,<1",
    "numpy>=1.24,<3",
    "tzdata>=2024.1",
]

# PyAV is published as wheels for 64-bit machines only. On 32-bit ones clips stay .h264 and are converted elsewhere.
VIDEO = [
    'av>=15,<20; platform_machine == "x86_64" or platform_machine == "aarch64" or platform_machine == "arm64"',
]

# PutObject with If-None-Match needs boto3 1.36. The last boto3 for Python 3.9 is 1.42, and it asks for urllib3 1.26.
CLOUD = [
    'boto3>=1.36,<2; python_version >= "3.10"',
    'boto3>=1.36,<1.43; python_version < "3.10"',
    'urllib3>=2,<3; python_version >= "3.10"',
    'urllib3>=1.26.12,<2; python_version < "3.10"',
]

# pits-device-client: MQTT 5, shadow and jobs. awscrt, which is under it, has wheels for 64-bit machines only.
CLIENT = [
    "awsiotsdk>=1.22,<2",
]

# pits-hub: the web side, the authority, the broker's client, and what checks the signatures of S3 clients.
HUB = [
    *VIDEO,
    "cryptography>=44",
    "h11>=0.14,<1",
    "http-ece>=1.2,<2",
    "paho-mqtt>=2.1,<3",
    "prometheus-client>=0.20,<1",
    "pyjwt>=2.9,<3",
    "starlette>=1,<2",
    "uvicorn>=0.54,<1",
    "webauthn>=3,<4",
    "websockets>=13,<17",
    "zeroconf>=0.140,<1",
]

# The planes' functions in AWS Lambda: what verifies access tokens. The function that converts streams has PyAV (VIDEO).
LAMBDA = [
    "cryptography>=44",
    "pyjwt>=2.9,<3",
]

# pitsctl: the guided installation, from a workstation.
CTL = [
    *CLOUD,
    "cryptography>=44",
    "pyyaml>=6,<7",
    "textual>=6,<9",
    "zeroconf>=0.140,<1",
]

# The cloud home's deployment: infra_cdk/. The CLI that goes with it is in infra_cdk/package.json.
CDK = [
    "aws-cdk-lib>=2.275,<3",
    "cdk-nag>=3,<4",
    "constructs>=10.8,<11",
]

# The Pi's camera on the legacy stack of 32-bit systems.
LEGACY_CAMERA = [
    'picamera==1.13; platform_machine == "armv6l" or platform_machine == "armv7l"',
]

# What the suites of `model` and `device` need beside DEVICE, on every Python.
TEST_DEVICE = [
    "hypothesis>=6.100,<7",
    "pytest>=8.3,<10",
    "pytest-timeout>=2.3,<3",
]

# The whole suite, on the main Python.
TEST = [
    *TEST_DEVICE,
    *CLIENT,
    *HUB,
    *LAMBDA,
    *CTL,
    *CDK,
    "aiosmtpd>=1.4,<2",
    "ansible-core>=2.18,<3",
    "cfn-lint>=1.30,<2",
    "coverage>=7.10,<8",
    "httpx2>=2,<3",
    "jsonschema>=4.20,<5",
    "moto[server]>=5.1,<6",
    "playwright>=1.50,<2",
    "pytest>=9,<10",
    "pytest-cov>=7,<8",
    "pytest-xdist>=3.6,<4",
    "schemathesis>=4.30,<5",
]

DEV = [
    "boto3-stubs[apigatewaymanagementapi,dynamodb,iot-data,logs,s3]>=1.40,<2",
    "mypy>=2.4,<2.5",
    "types-pyyaml>=6",
    "ruff>=0.17,<0.18",
    "setuptools>=77",
]

BENCH = [
    "opencv-python-headless>=4.10",
]


# Where units, handlers, the built console and the reference go below the environment; pinthesky/machine/shipped.py
# finds them there.
SHIPPED = {
    "share/pinthesky/console": "console/dist",
    "share/pinthesky/handlers": "service/handlers",
    "share/pinthesky/reference": "docs/reference",
    "share/pinthesky/requirements": "service/requirements",
    "share/pinthesky/sd-card": "service/sd-card",
    "share/pinthesky/systemd": "service/systemd",
}


def shipped_files() -> list[tuple[str, list[str]]]:
    """Each folder below the environment, and the files that go into it. The console is missing until it is built."""
    files: dict[str, list[str]] = {}
    for target, source in SHIPPED.items():
        for path in sorted((HERE / source).rglob("*")):
            if path.is_file():
                below = path.parent.relative_to(HERE / source)
                files.setdefault((Path(target) / below).as_posix(), []).append(str(path.relative_to(HERE)))
    return sorted(files.items())


def version() -> str:
    """Return what pinthesky/version.py says, read as text: importing it would need the dependencies."""
    text = (HERE / "pinthesky" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit('pinthesky/version.py: no line __version__ = "…"')
    return found[1]


if __name__ == "__main__":
    from setuptools import find_packages, setup

    setup(
        name="pinthesky",
        version=version(),
        description="A camera-fleet daemon for Raspberry Pis: motion clips with pre-roll, and nothing lost on the way",
        long_description=(HERE / "README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        license_files=["LICENSE", "NOTICE"],
        python_requires=">=3.9",
        packages=[
            *find_packages(include=["pinthesky", "pinthesky.*"]),
            *find_packages("service", include=["pitsctl", "pitsctl.*"]),
        ],
        package_dir={"pitsctl": "service/pitsctl"},
        package_data={"pinthesky": ["py.typed"]},
        data_files=shipped_files(),
        install_requires=[*DEVICE, *VIDEO, *CLOUD],
        extras_require={
            "client": CLIENT,
            "hub": HUB,
            "lambda": LAMBDA,
            "ctl": CTL,
            "cdk": CDK,
            "picamera": LEGACY_CAMERA,
            "test": TEST,
            "dev": DEV,
            "bench": BENCH,
        },
        entry_points={
            "console_scripts": [
                "pinthesky = pinthesky.device.daemon:main",
                "pinthesky-admin = pinthesky.admin.command:main",
                "pinthesky-doctor = pinthesky.doctor.command:main",
                "pits-device-client = pinthesky.link.client:main",
                "pits-hub = pinthesky.hub.app:main",
                "pitsctl = pitsctl.__main__:main",
            ]
        },
        classifiers=[
            "Development Status :: 3 - Alpha",
            "Environment :: No Input/Output (Daemon)",
            "Intended Audience :: End Users/Desktop",
            "Operating System :: POSIX :: Linux",
            "Programming Language :: Python :: 3",
            *(f"Programming Language :: Python :: 3.{minor}" for minor in range(9, 14)),
            "Topic :: Home Automation",
            "Topic :: Multimedia :: Video :: Capture",
            "Typing :: Typed",
        ],
    )
