# SPDX-License-Identifier: MIT
"""A disk whose host has no space left: the guest is told (by default), or the machine stops until somebody has made room (werror=stop)."""
import re
import signal
import subprocess
import time

from harness import STEP, case
from disks import MIB, answer, end, md5, shell

SMALL = 4 * MIB
STOPPED = rb"the machine is stopped"


def small_disk(t):
    """A disk of 16 MiB on a file system of SMALL bytes."""
    directory = t.path("small")
    subprocess.run(["mkdir", directory], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", directory], check=True)
    with open(f"{directory}/disk", "wb") as file:
        file.truncate(16 * MIB)
    return f"{directory}/disk"


def make_room(t):
    subprocess.run(["mount", "-o", f"remount,size={32 * MIB}", t.path("small")], check=True)


def clean_up(t):
    subprocess.run(["umount", "-l", t.path("small")], check=True)


def wait_stopped(guest, times):
    """Until it has said so `times` times."""
    deadline = time.monotonic() + STEP
    while guest.stderr().encode().count(STOPPED) < times and time.monotonic() < deadline:
        guest.pump(0.1)
    return guest.stderr().encode().count(STOPPED) == times


def silent(guest):
    """Whether the guest says nothing, although it was asked. What it said before may still be on its way."""
    before = -1
    while before < len(guest.console):
        before = len(guest.console)
        guest.pump(1)
    guest.send("echo al''ive\n")
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        guest.pump(0.2)
    return len(guest.console) == before


def write_too_much(guest):
    guest.send("dd if=/dev/urandom of=/tmp/f bs=1M count=8 2>/dev/null; echo fi''lled\n")
    guest.expect(rb"filled")
    guest.send("dd if=/tmp/f of=/dev/vda bs=64k conv=fsync 2>/dev/null; echo sta''tus=$?\n")


@case
def disk_full_reported(t):
    """ENOSPC is an I/O error in the guest, which goes on."""
    disk = small_disk(t)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=virtio")
    write_too_much(guest)
    t.equal("dd's status", guest.expect(rb"status=(\d)")[1], b"1")
    make_room(t)
    guest.send("dd if=/tmp/f of=/dev/vda bs=64k conv=fsync 2>/dev/null; echo sta''tus=$?\n")
    t.equal("dd's status with room", guest.expect(rb"status=(\d)")[1], b"0")
    t.equal("the file", answer(guest, "md5sum </tmp/f")[:32], md5(disk, 8 * MIB))
    end(guest)
    clean_up(t)


@case
def disk_full_stops(t):
    """werror=enospc: one line says so, nothing runs; it stops again without room; with room the guest never knew. By SIGCONT."""
    disk = small_disk(t)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=none,id=d", "-object", "iothread,id=io",
                  "-device", "virtio-blk-pci,drive=d,werror=enospc,iothread=io", "-smp", "2")
    write_too_much(guest)
    t.check(wait_stopped(guest, 1), f"it says {guest.stderr()!r}")
    t.check(re.search(rf"^kite: virtio-disk\d: '{disk}': write of \d+ bytes at \d+ failed: No space left on device; .*: make room, .*"
                      rf"kill -CONT {guest.pid}$", guest.stderr(), re.M), f"it says {guest.stderr()!r}")
    t.check(silent(guest), "it is not stopped")
    guest.kill(signal.SIGCONT)
    t.check(wait_stopped(guest, 2), "without room it does not stop again")
    make_room(t)
    guest.kill(signal.SIGCONT)
    t.equal("dd's status", guest.expect(rb"status=(\d)")[1], b"0")
    t.equal("the file", answer(guest, "md5sum </tmp/f")[:32], md5(disk, 8 * MIB))
    guest.send("echo 3 >/proc/sys/vm/drop_caches\n")
    t.equal("read back", answer(guest, "dd if=/dev/vda bs=64k count=128 2>/dev/null | md5sum")[:32], md5(disk, 8 * MIB))
    t.equal("the kernel's complaints", answer(guest, "dmesg | grep -c -i -e 'i/o error' -e 'soft lockup' -e 'stall'"), "0")
    end(guest)
    clean_up(t)


@case
def disk_full_terminal(t):
    """Ctrl-a r at the terminal lets it go on; SIGTERM ends a machine that is stopped."""
    disk = small_disk(t)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=virtio,werror=stop", console="-nodefaults -serial mon:stdio", tty=True)
    write_too_much(guest)
    t.check(wait_stopped(guest, 1), f"it says {guest.stderr()!r}")
    t.check(silent(guest), "it is not stopped")
    guest.send(b"\x01r")
    t.check(wait_stopped(guest, 2), "it does not go on")
    make_room(t)
    guest.send(b"\x01r")
    t.equal("dd's status", guest.expect(rb"status=(\d)")[1], b"0")
    end(guest)
    subprocess.run(["fallocate", "-p", "-o", "0", "-l", str(16 * MIB), disk], check=True)
    subprocess.run(["mount", "-o", f"remount,size={SMALL}", t.path("small")], check=True)
    guest = shell(t, "-drive", f"file={disk},format=raw,if=virtio,werror=stop")
    write_too_much(guest)
    t.check(wait_stopped(guest, 1), f"it says {guest.stderr()!r}")
    guest.kill(signal.SIGTERM)
    guest.ended(0)
    clean_up(t)
