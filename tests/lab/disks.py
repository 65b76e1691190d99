# SPDX-License-Identifier: MIT
"""Guests that use disks: how the tests start them, ask them and end them, and where the disks' files are."""
import hashlib
import os
import re
import time

from harness import BOOT, STEP, Skip

MIB = 1 << 20


def drivers_ready(guest):
    """Waits for the guest's prompt, and makes it one that tests can talk to."""
    guest.expect(rb"GUEST-READY", BOOT)
    guest.send("stty -echo; PS1=; echo sta''rt\n")
    guest.expect(rb"start")
    return guest


def shell(t, *options, tools=False, append="", drivers="virtio", **more):
    """A guest at its prompt, with drivers for what `options` plug in, and with Debian's programs where `tools` says so."""
    modules = f"kite.modules={drivers},tools" if tools else f"kite.modules={drivers}"
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


def new_file(path, size):
    """A hole of `size` bytes. Its path."""
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def host_fs(t, name, size):
    """A directory with an ext4 of its own: direct I/O works there (on the lab's tmpfs it does not), and it can be full."""
    if os.getuid() != 0:
        raise Skip("only root can mount a file system")
    image, directory = new_file(t.path(f"{name}.img"), size), t.path(name)
    os.mkdir(directory)
    t.host("mkfs.ext4", "-q", "-E", "root_owner=0:0", "-m", "0", image)
    t.host("mount", "-o", "loop", image, directory, undo=("umount", "-l", directory))
    return directory


def let_go(t, *paths):
    """Waits until nobody has locks on files: of who was killed, the kernel closes an io_uring, and the files with it, a moment later."""
    inodes = {os.stat(path).st_ino for path in paths}
    deadline = time.monotonic() + STEP
    while True:
        with open("/proc/locks", encoding="ascii") as file:
            held = {int(inode) for inode in re.findall(r" \w+:\w+:(\d+) ", file.read())}
        if not held & inodes:
            return
        t.check(time.monotonic() < deadline, f"locks on {' or '.join(paths)} outlive who had them")
        time.sleep(0.05)


def loop_device(t, path, *options):
    """A block device over a file."""
    if os.getuid() != 0:
        raise Skip("only root can make a loop device")
    device = t.host("losetup", "--find", "--show", *options, path)
    t.undo.append(("losetup", "--detach", device))
    return device


def fio(t, guest, options, jobs, seconds=STEP):
    """Runs fio in the guest, `jobs` being {name: options}; it has to find no fault. Its output stays in /tmp/fio."""
    words = " ".join(f"--name={name} {job}" for name, job in jobs.items())
    got = answer(guest, f"fio --output=/tmp/fio --thread {options} {words}; echo $?", seconds)
    if got != "0":
        guest.send("cat /tmp/fio; echo fio-pri''nted\n")
        guest.expect(rb"fio-printed")
    t.equal(f"fio's status ({', '.join(jobs)})", got, "0")
