"""What stands in a badge."""

import xml.etree.ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: ET.Element) -> list[str | None]:
    """Return its words: not their shade."""
    return [node.text for node in svg.iter(f"{SVG}text") if node.get("aria-hidden") != "true"]


def fills(svg: ET.Element) -> list[str]:
    """Return the colours of its boxes: not the shade above them, nor what cuts their corners."""
    found = [node.get("fill", "") for node in svg.iter(f"{SVG}rect")]
    return [fill for fill in found if fill.startswith("#")]
