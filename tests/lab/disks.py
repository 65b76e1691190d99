# SPDX-License-Identifier: MIT
"""Guests that use disks: how the tests start them, ask them and end them."""
import hashlib
import os

from harness import BOOT, STEP

MIB = 1 << 20


def drivers_ready(guest):
    """Waits for the guest's prompt, and makes it one that tests can talk to."""
    guest.expect(rb"GUEST-READY", BOOT)
    guest.send("stty -echo; PS1=; echo sta''rt\n")
    guest.expect(rb"start")
    return guest


def shell(t, *options, tools=False, append="", **more):
    """A guest at its prompt, with drivers for what `options` plug in, and with Debian's programs where `tools` says so."""
    modules = "kite.modules=virtio,tools" if tools else "kite.modules=virtio"
    more.setdefault("kernel", f"{t.cloud}/vmlinux")
    return drivers_ready(t.guest(*options, append=f"{modules} {append}".strip(), tools=tools, **more))


def answer(guest, command, seconds=STEP):
    """What a command prints, in one line."""
    guest.send(f"echo \"<$({{ {command}; }} | tr '\\n' ' ')>\"\n")
    return guest.expect(rb"<([^>]*)>", seconds)[1].decode().strip()


def end(guest):
    """Switches the guest off."""
    guest.send("poweroff -f\n")
    guest.ended(0)


def md5(path, length, offset=0):
    """The sum of a piece of a file."""
    with open(path, "rb") as file:
        file.seek(offset)
        return hashlib.md5(file.read(length)).hexdigest()


def blocks(path):
    """How much of a file is there, in bytes."""
    return os.stat(path).st_blocks * 512
