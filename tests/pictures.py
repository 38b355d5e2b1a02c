"""What pictures and prints show, read from their bytes."""

import re
import struct
import zlib

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert data.startswith(PNG)
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def pdf_text(data: bytes) -> str:
    """Text that stands in a PDF, by the maps of its fonts; enough for plain letters."""
    streams = [_inflated(found) for found in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)]
    letters: dict[bytes, str] = {}
    for stream in streams:
        for code, letter in re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]{4})>\n", stream):
            letters[code.upper()] = chr(int(letter, 16))
        for first, last, letter in re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]{4})> <([0-9A-Fa-f]{4})>", stream):
            for number in range(int(first, 16), int(last, 16) + 1):
                letters[b"%04X" % number] = chr(int(letter, 16) + number - int(first, 16))
    shown = b"".join(re.findall(rb"<([0-9A-Fa-f]+)>", b"".join(stream for stream in streams if b"BT" in stream)))
    return "".join(letters.get(shown[at : at + 4].upper(), "?") for at in range(0, len(shown), 4))


def _inflated(data: bytes) -> bytes:
    try:
        # One that ends in \r loses it to the line end before "endstream", and is whole but for its checksum.
        return zlib.decompressobj().decompress(data)
    except zlib.error:
        return data
