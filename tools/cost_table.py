"""Write docs/reference/costs.md: a month of the cloud home in dollars, line by line.

    python -m tools.cost_table [--check]

The templates are synthesised for it, with the settings that nobody has changed. With `--check` nothing is written, and
the exit code is 1 if the page is not what it should be; 2 if a resource has no price.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra_cdk.preview import templates_of
from tools.cost_kinds import KINDS
from tools.cost_model import ROOT, CostUnknown, Line, Month, Price, Template, prices, usage, usd
from tools.reference_page import cell, write_or_check

PAGE = ROOT / "docs" / "reference" / "costs.md"
TEXT = Path(__file__).with_name("cost_page.txt")
"""The page, with places for the figures."""

OPTIONS = (
    ("`alarms`: five alarms of CloudWatch", "alarms", 5),
    ("`dashboard`", "dashboards", 1),
    ("`labelDetection`, for each 1000 pictures", "rekognition", 1000),
    ("`googleClientId`, for each person who comes by it", "cognito-google", 1),
    ("`domainName`, for the zone in Route 53, which may be elsewhere", "hosted-zone", 1),
)
"""Settings that cost something while they are on: what, price, how many."""


def page(templates: Mapping[str, Template]) -> str:
    """The page of these templates. Raises CostUnknown."""
    said, known = usage(), prices()
    low, high = said["recording"]["bitrates_mbps"]
    month = {
        (mbps, relayed): Month(templates, said, mbps=mbps, relayed=relayed).lines()
        for mbps in (low, high)
        for relayed in (0.0, 1.0)
    }
    lines = month[low, 1.0]
    standing = [cost for line, cost in zip(lines, usd(lines, known), strict=True) if line.standing]
    clip_gb = said["recording"]["clip_s"] * low * 1e6 / 8 / 2**30
    figures = {
        "region": "us-east-1 (N. Virginia)",
        "as_of": "November 2026",
        "totals": "\n".join(_total(of, known, mbps=mbps, relayed=relayed) for (mbps, relayed), of in month.items()),
        "verdict": _verdict(sum(usd(month[low, 0.0], known)), sum(usd(lines, known))),
        "standing": sum(standing),
        "highest": max(standing),
        "lines": _table(lines, month[high, 1.0], known, heads=(f"{low} Mb/s", f"{high} Mb/s")),
        "options": "\n".join(f"| {what} | {_money(number * _one(known[price]))} |" for what, price, number in OPTIONS),
        "transfer": f"{known['transfer-out'].usd:.2f}",
        "transfer_free": known["transfer-out"].free,
        "clip_usd": clip_gb * known["transfer-out"].usd,
        "storage": known["s3-storage"].usd,
        "ia": known["s3-ia-storage"].usd,
        "ia_retrieval": known["s3-ia-retrieval"].usd,
        "low": low,
        "high": high,
        "ia_low": _saved_by_ia(month[low, 1.0], known),
        "ia_high": _saved_by_ia(month[high, 1.0], known),
        "free": "\n".join(_free_rows(templates)),
        "prices": "\n".join(_price_row(price) for price in known.values()),
    }
    return TEXT.read_text(encoding="utf-8").format(**figures, **_home(templates, said))


def _saved_by_ia(lines: Sequence[Line], known: Mapping[str, Price]) -> float:
    """What a month costs less with the clips in Standard-IA."""

    def amount(what: str) -> float:
        return sum(line.amount for line in lines if line.what.startswith(what))

    kept = amount("clips,") * (_one(known["s3-storage"]) - _one(known["s3-ia-storage"]))
    dearer = amount("uploads of clips") * (_one(known["s3-ia-put"]) - _one(known["s3-put"]))
    return kept - dearer - amount("clips watched") * _one(known["s3-ia-retrieval"])


def _home(templates: Mapping[str, Template], said: Mapping[str, Any]) -> dict[str, Any]:
    recording, watching = said["recording"], said["watching"]
    kept, noncurrent = Month(templates, said, mbps=1, relayed=0).days_of_clips()
    return {
        "cameras": said["cameras"],
        "clips": recording["clips_per_camera_and_day"],
        "clip_s": recording["clip_s"],
        "kept": kept,
        "noncurrent": noncurrent,
        "live": watching["live_minutes_per_day"],
        "live_mbps": watching["live_mbps"],
        "people": said["people"],
        "openings": watching["openings_per_person_and_day"],
    }


def _verdict(webrtc: float, relay: float) -> str:
    aim = 2.0
    if relay <= aim:
        return f"The aim is {aim:.2f} a month at 2 Mb/s without any allowance. It is met."
    met = "met" if webrtc <= aim else f"missed by {webrtc - aim:.2f}"
    return (
        f"The aim is {aim:.2f} a month at 2 Mb/s without any allowance. It is **{met} where live view goes by WebRTC, "
        f"and missed by {relay - aim:.2f} where all of it is relayed.**"
    )


def _total(lines: Sequence[Line], known: Mapping[str, Price], *, mbps: float, relayed: float) -> str:
    way = "all by relay" if relayed else "all by WebRTC"
    return f"| {mbps} Mb/s | {way} | {sum(usd(lines, known)):.2f} | {sum(usd(lines, known, free_tier=True)):.2f} |"


def _table(low: Sequence[Line], high: Sequence[Line], known: Mapping[str, Price], *, heads: tuple[str, str]) -> str:
    """The lines, part by part, with what each part comes to."""
    rows = [f"\n| | how much | paid by | {heads[0]} | {heads[1]} |", "|---|---|---|---|---|"]
    costs = list(zip(low, usd(low, known), usd(high, known), strict=True))
    for part in dict.fromkeys(line.part for line in low):
        mine = [each for each in costs if each[0].part == part]
        rows.append(_sum(part, mine))
        for line, at_low, at_high in mine:
            if not line.amount:
                continue
            price = known[line.price]
            amount = f"{_amount(line.amount)} {cell(price.noun)}"
            rows.append(f"| {line.what} | {amount} | {cell(price.what)} | {_money(at_low)} | {_money(at_high)} |")
    return "\n".join([*rows, _sum("all", costs)]) + "\n"


def _sum(what: str, costs: Sequence[tuple[Line, float, float]]) -> str:
    low, high = sum(cost for _, cost, _ in costs), sum(cost for _, _, cost in costs)
    return f"| **{what}** | | | **{_money(low)}** | **{_money(high)}** |"


def _free_rows(templates: Mapping[str, Template]) -> list[str]:
    there = {each["Type"] for template in templates.values() for each in template["Resources"].values()}
    return [f"| {kind} | {cell(KINDS[kind].free)} |" for kind in sorted(there) if KINDS[kind].free]


def _price_row(price: Price) -> str:
    free = _amount(price.free) if price.free else "–"
    return f"| {cell(price.what)} | {cell(price.unit)} | {price.usd:g} | {free} | [AWS]({price.source}) |"


def _one(price: Price) -> float:
    return price.usd / price.units


def _money(amount: float) -> str:
    return f"{amount:.4f}" if amount < 0.1 else f"{amount:.2f}"


def _amount(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ") if number >= 100 else f"{number:.3g}"


def main() -> int:
    """Synthesise, and write or check the page."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return write_or_check(PAGE, page(templates_of({}, Path(folder))))
    except CostUnknown as error:
        print(f"cost_table: nobody has written down {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
