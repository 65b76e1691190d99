# SPDX-License-Identifier: MIT
"""A client of Kite's control socket."""
import json
import socket

from harness import BOOT, Failure


class Qmp:
    """A client of the monitor at `path`."""

    def __init__(self, path):
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(BOOT)
        self.socket.connect(path)
        self.lines = self.socket.makefile()
        self.lines.readline()
        self.ask("qmp_capabilities")

    def read(self):
        line = self.lines.readline()
        if not line:
            raise Failure("the monitor has closed")
        return json.loads(line)

    def ask(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            reply = self.read()
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise Failure(f"{command}: {reply['error']['desc']}")
            else:
                return reply["return"]

    def event(self, name):
        """The next event of that name."""
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(i)
            self.events.append(self.read())
