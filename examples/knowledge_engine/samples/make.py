"""Writes the sample PDFs: python samples/make.py. The harbour is invented, and so is all that is said of it.

A PDF of plain text needs no library: a page is a list of lines in one of the fonts that every reader has.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

HANDBOOK = [
    """Port of Skarvoy: harbour handbook. Chapter 1, arriving. Vessels longer than 70 metres take a pilot from the
    outer buoy. A pilot is ordered by radio on channel 12 at least two hours ahead; between November and March, at
    least four hours. Vessels that carry dangerous goods take a pilot whatever their length. The speed limit inside the
    breakwater is five knots. A vessel that waits for a berth anchors east of the fairway, never in it. The harbour
    office answers on channel 12 around the clock, and by telephone on weekdays from seven to sixteen.""",
    """Chapter 2, berths and fees. The fish quay has eight berths with 5.5 metres of water, the north quay three
    with 9 metres. The fee for a day is 0.38 crowns for each gross ton; the first four hours are free. Boats of the
    rescue service pay nothing. Shore power is sold at every berth of the north quay, at cost, and a vessel that uses it
    gets a tenth off its fee. Fresh water is free up to ten cubic metres. Fees are due within thirty days; whoever pays
    later pays eight per cent a year.""",
    """Chapter 3, storms. The harbour master closes the port when the mean wind passes 24 metres a second for ten
    minutes, or when the swell at the outer buoy passes four metres. Two red lanterns, one above the other, are then
    shown on the breakwater. Vessels at the north quay double their lines and keep a watch on board. Cranes are lowered
    at 18 metres a second. The port opens again when the wind has stayed below 20 metres a second for an hour.""",
    """Chapter 4, waste and oil. Every vessel may leave its rubbish ashore without a fee, sorted into five kinds.
    Oil that is spilled is reported at once on channel 16, however little it is. The oil boom lies in the red shed at
    the end of the fish quay; the key is with the harbour office. Hulls are not scraped in the water. Whoever pumps
    bilge water into the harbour pays for the cleaning, and a fine of at least twenty thousand crowns.""",
]
FERRY = [
    """The ferry to Little Skarvoy. The ferry Terna sails every forty minutes from six in the morning until ten at
    night, and on Fridays until midnight. The crossing takes twenty-two minutes. She carries 34 cars and 195 people.
    Bicycles travel free, dogs on a lead. Tickets are bought on board; islanders show their card and pay half. When the
    port is closed for a storm the ferry does not sail, and the first departure after it opens is kept for the doctor
    and the post.""",
    """The bus on Little Skarvoy meets every second ferry and goes to the lighthouse in a quarter of an hour. The
    lighthouse was built in 1871 and has had no keeper since 1984. From May to September it is open to visitors on
    Saturdays. There is no bank on the island; the shop takes cards and closes at eighteen.""",
]


def pdf(pages: Sequence[str]) -> bytes:
    """A PDF with a page for each text, of at most some fifty lines."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        lines = textwrap.wrap(" ".join(page.split()), width=88)
        shown = " T* ".join(f"({_escaped(line)}) Tj" for line in lines)
        content = f"BT /F1 11 Tf 14 TL 56 780 Td {shown} ET"
        kids.append(f"{len(objects) + 1} 0 R")
        resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 595 842]"
        objects.append(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {len(objects) + 2} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    return _file(objects)


def _escaped(text: str) -> str:
    for character in "\\()":
        text = text.replace(character, "\\" + character)
    return text


def _file(objects: Sequence[str]) -> bytes:
    """The objects, and the table that says at which byte each begins."""
    file, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(file))
        file += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(file)}\n%%EOF\n"
    return file + (end + trailer).encode("latin-1")


if __name__ == "__main__":
    here = Path(__file__).parent
    for name, pages in {"harbour-handbook.pdf": HANDBOOK, "island-ferry.pdf": FERRY}.items():
        (here / name).write_bytes(pdf(pages))
