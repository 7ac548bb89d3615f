"""Draws the diagrams: every images/*.toml becomes an SVG of the same name.

Two kinds of source. `blocks`: groups, boxes and arrows at places on a plane. `sequence`: lanes, and what passes between
them from top to bottom. Colours follow the reader's light or dark setting; the picture brings its own background.
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

STYLE = """
  .ground { fill: #fcfcfb; }  .panel { fill: #f1f2ef; stroke: #dcded9; }  .frame { fill: none; stroke: #b9bec6; }
  .box { fill: #ffffff; stroke: #b9bec6; }
  .file { fill: #f8f6ee; stroke: #cfc8ae; }  .accent { fill: #c2185b; }  .on { fill: #ffffff; font-weight: 600; }
  .main { fill: none; stroke: #c2185b; stroke-width: 2; }  .line { fill: none; stroke: #8b929c; stroke-width: 1.5; }
  .life { stroke: #d5d8d3; stroke-width: 1.5; }  .later { stroke-dasharray: 6 5; }
  .tip { fill: #8b929c; }  .tip-main { fill: #c2185b; }
  text { fill: #24292f; font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
  .title { font-weight: 600; }  .soft { fill: #5b636d; }
  .label { fill: #5b636d; paint-order: stroke; stroke: #fcfcfb; stroke-width: 5; stroke-linejoin: round; }
  .inside { stroke: #f1f2ef; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14161a; }  .panel { fill: #1c1f25; stroke: #30353d; }  .frame { stroke: #4a515c; }
    .box { fill: #262b33; stroke: #4a515c; }
    .file { fill: #2b2920; stroke: #57513b; }  .accent { fill: #f06292; }  .on { fill: #14161a; }
    .main { stroke: #f06292; }  .line { stroke: #7d8590; }  .life { stroke: #343a43; }
    .tip { fill: #7d8590; }  .tip-main { fill: #f06292; }
    text { fill: #e6e9ed; }  .soft { fill: #a7afba; }
    .label { fill: #a7afba; stroke: #14161a; }  .inside { stroke: #1c1f25; }
  }
""".strip("\n")

TEXT = 14.5
SMALL = 13
LINE_HEIGHT = 18


class Canvas:
    """SVG elements in drawing order."""

    def __init__(self, width: int, height: int, alt: str) -> None:
        self.width = width
        self.height = height
        self.alt = alt
        self.parts: list[str] = []

    def rectangle(self, kind: str, box: list[float], *, radius: int = 8) -> None:
        """Add a rectangle [x, y, width, height]."""
        x, y, width, height = box
        size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self.parts.append(f'<rect class="{kind}" {size} rx="{radius}"/>')

    def text(self, kind: str, x: float, y: float, *, words: str, size: float = TEXT, anchor: str = "middle") -> None:
        """Add one line of text with its baseline at y."""
        place = f'x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"'
        self.parts.append(f'<text class="{kind}" {place}>{escape(words)}</text>')

    def arrow(self, points: list[list[float]], *, main: bool, later: bool) -> None:
        """Add a line through `points` that ends in a tip."""
        route = " ".join(f"{x:g},{y:g}" for x, y in points)
        kind = ("main" if main else "line") + (" later" if later else "")
        tip = "tip-main" if main else "tip"
        self.parts.append(f'<polyline class="{kind}" points="{route}" marker-end="url(#{tip})"/>')

    def svg(self) -> str:
        """Return the whole picture."""
        markers = "\n".join(
            f'  <marker id="{tip}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" '
            f'markerUnits="userSpaceOnUse" orient="auto"><path class="{tip}" d="M0,0.5 L10,5 L0,9.5 z"/></marker>'
            for tip in ("tip", "tip-main")
        )
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.alt, quote=True)}">\n'
            f"<style>\n{STYLE}\n</style>\n<defs>\n{markers}\n</defs>\n"
            f'<rect class="ground" width="{self.width}" height="{self.height}" rx="12"/>\n{body}\n</svg>\n'
        )


def draw_box(canvas: Canvas, box: dict[str, Any]) -> None:
    """Draw a box with a title and lines of small text, centred."""
    x, y, width, height = box["at"]
    canvas.rectangle(box.get("kind", "box") + (" later" if box.get("later") else ""), box["at"])
    lines = box.get("text", [])
    top = y + height / 2 - (LINE_HEIGHT * len(lines)) / 2 + 5
    canvas.text("title", x + width / 2, top, words=box["title"])
    for number, line in enumerate(lines, start=1):
        canvas.text("soft", x + width / 2, top + LINE_HEIGHT * number, words=line, size=SMALL)


def draw_blocks(source: dict[str, Any]) -> str:
    """Draw groups, boxes, arrows and their labels."""
    canvas = Canvas(source["width"], source["height"], source["alt"])
    for group in source["groups"]:
        kind = group.get("kind", "panel") + (" later" if group.get("later") else "")
        canvas.rectangle(kind, group["at"], radius=12)
        x, y = group["at"][:2]
        canvas.text("soft", x + 16, y + 25, words=group["title"], size=SMALL, anchor="start")
    for arrow in source["arrows"]:
        canvas.arrow(arrow["through"], main=arrow.get("main", False), later=arrow.get("later", False))
    for box in source["boxes"]:
        draw_box(canvas, box)
    for arrow in source["arrows"]:
        for number, line in enumerate(arrow.get("label", [])):
            x, y = arrow["label_at"]
            anchor = arrow.get("anchor", "middle")
            kind = "label" if arrow.get("outside") else "label inside"
            canvas.text(kind, x, y + 16 * number, words=line, size=SMALL, anchor=anchor)
    return canvas.svg()


def draw_step(canvas: Canvas, step: dict[str, Any], *, y: float, lanes: dict[str, float]) -> None:
    """Draw what passes from one lane to another, or what one lane does by itself, with its number."""
    start = lanes[step["from"]]
    lines = step["text"]
    first = y - 7 - 16 * (len(lines) - 1)
    if "to" in step:
        end = lanes[step["to"]]
        side = 1 if end > start else -1
        canvas.arrow(
            [[start + side * 13, y], [end - side * 5, y]], main=step.get("main", False), later=step.get("later", False)
        )
        x, anchor = (start + end) / 2 + side * 6, "middle"
    else:
        side = -1 if step.get("beside") == "left" else 1
        x, anchor, first = start + side * 20, "start" if side > 0 else "end", y + 5 - 8 * (len(lines) - 1)
    for number, line in enumerate(lines):
        canvas.text("label", x, first + 16 * number, words=line, size=SMALL, anchor=anchor)
    canvas.parts.append(f'<circle class="accent" cx="{start:g}" cy="{y:g}" r="11"/>')
    canvas.text("on", start, y + 4.5, words=str(step["number"]), size=12)


def draw_sequence(source: dict[str, Any]) -> str:
    """Draw the lanes, then the steps from top to bottom."""
    gap, left, top = source["gap"], source["left"], 64
    lanes = {lane["id"]: left + gap * index for index, lane in enumerate(source["lanes"])}
    rows: list[float] = []
    y = top + 30.0
    for step in source["steps"]:
        above = len(step["text"]) - 1 if "to" in step else (len(step["text"]) - 1) / 2
        y += source["row"] + 16 * above
        rows.append(y)
        y += 0 if "to" in step else 8 * (len(step["text"]) - 1)
    canvas = Canvas(source["width"], int(y + 40), source["alt"])
    for lane in source["lanes"]:
        x = lanes[lane["id"]]
        later = " later" if lane.get("later") else ""
        canvas.parts.append(f'<line class="life{later}" x1="{x:g}" y1="{top}" x2="{x:g}" y2="{y + 24:g}"/>')
    for lane in source["lanes"]:
        x = lanes[lane["id"]]
        draw_box(canvas, {**lane, "at": [x - gap / 2 + 6, 18, gap - 12, top - 8]})
    for number, (step, row) in enumerate(zip(source["steps"], rows, strict=True), start=1):
        draw_step(canvas, {"number": number, **step}, y=row, lanes=lanes)
    return canvas.svg()


KINDS = {"blocks": draw_blocks, "sequence": draw_sequence}


def draw(source: Path) -> str:
    """Return the SVG for one source file."""
    description = tomllib.loads(source.read_text(encoding="utf-8"))
    return KINDS[description["kind"]](description)


def main() -> None:
    """Draw every source beside this file."""
    for source in sorted(HERE.glob("*.toml")):
        target = source.with_suffix(".svg")
        target.write_text(draw(source), encoding="utf-8")
        print(target.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
