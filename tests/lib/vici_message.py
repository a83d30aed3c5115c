# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets and messages of VICI, strongSwan's protocol for clients (libcharon/plugins/vici/README.md).
A message is a dictionary: {"key": "value", "list": ["one", "two"], "section": {...}}."""

import struct

(CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, EVENT_UNKNOWN,
 EVENT) = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)


def frame(data):
    """Returns a packet with its length in front of it."""
    return struct.pack(">I", len(data)) + data


def name_of(text):
    return struct.pack("B", len(text)) + text.encode()


def value_of(text):
    text = text if isinstance(text, bytes) else str(text).encode()
    return struct.pack(">H", len(text)) + text


def encode(message):
    encoded = b""
    for name, value in message.items():
        if isinstance(value, dict):
            encoded += bytes([SECTION_START]) + name_of(name) + encode(value) + bytes([SECTION_END])
        elif isinstance(value, (list, tuple)):
            items = b"".join(bytes([LIST_ITEM]) + value_of(item) for item in value)
            encoded += bytes([LIST_START]) + name_of(name) + items + bytes([LIST_END])
        else:
            encoded += bytes([KEY_VALUE]) + name_of(name) + value_of(value)
    return encoded


class Reader:
    """Decodes a packet from its beginning to its end."""

    def __init__(self, data):
        self.data = data

    def take(self, length):
        taken, self.data = self.data[:length], self.data[length:]
        assert len(taken) == length, "a length reaches beyond the end"
        return taken

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def name(self):
        return self.take(self.number(1)).decode()

    def value(self):
        return self.take(self.number(2)).decode(errors="replace")

    def items(self):
        while (element := self.number(1)) != LIST_END:
            assert element == LIST_ITEM, f"element {element} in a list"
            yield self.value()

    def section(self, outermost=False):
        found = {}
        while self.data or not outermost:
            element = self.number(1)
            if element == SECTION_END and not outermost:
                break
            name = self.name()
            found[name] = {SECTION_START: self.section, KEY_VALUE: self.value,
                           LIST_START: lambda: list(self.items())}[element]()
        return found

    def message(self):
        """Returns the rest of the packet as a message."""
        return self.section(outermost=True)
