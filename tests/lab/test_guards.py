# SPDX-License-Identifier: MIT
"""The balloon, pvpanic, the watchdog and memory dumps with Linux's drivers, and a client of QMP beside them."""
import re
import subprocess
import time

from disks import MIB, answer, drivers_ready
from harness import BOOT, EXIT, STEP, case
from qmp import Qmp

MEMORY = 256 * MIB


def start(t, *options, **more):
    """A guest at its prompt with the drivers of all this, and a client of its monitor."""
    path = t.path("qmp")
    more.setdefault("kernel", f"{t.cloud}/vmlinux")
    guest = t.guest("-qmp", f"unix:{path},server=on,wait=off", *options, append="kite.modules=guards", **more)
    return drivers_ready(guest), Qmp(path)


def until(t, what, done, seconds=STEP):
    deadline = time.monotonic() + seconds
    while not done():
        t.check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.3)


def resident(guest):
    """MiB of memory of its own that Kite has."""
    with open(f"/proc/{guest.pid}/status", encoding="ascii") as file:
        return int(re.search(r"^RssAnon:\s+(\d+)", file.read(), re.M).group(1)) // 1024


def free_mib(guest):
    return int(answer(guest, "awk '/MemFree/ { print $2 }' /proc/meminfo")) // 1024


def fill_and_free(guest, mib):
    """Has the guest use so much memory, and use it no more."""
    guest.send(f"mkdir -p /tmp/fs && mount -t tmpfs -o size={mib + 8}m fs /tmp/fs && dd if=/dev/urandom of=/tmp/fs/f bs=1M count={mib} 2>/dev/null; "
               "echo fi''lled\n")
    guest.expect(rb"filled", STEP * 2)
    most = resident(guest)
    guest.send("umount /tmp/fs; echo fre''ed\n")
    guest.expect(rb"freed")
    return most


def balloon_moves(t, *device, **more):
    guest, qmp = start(t, *device, **more)
    t.equal("its size at first", qmp.ask("query-balloon")["actual"], MEMORY)
    most = fill_and_free(guest, 96)
    before = free_mib(guest)
    qmp.ask("balloon", value=160 * MIB)
    until(t, "160 MiB", lambda: qmp.ask("query-balloon")["actual"] == 160 * MIB)
    t.check(free_mib(guest) <= before - 80, "the guest has as much as before")
    t.check(resident(guest) <= most - 60, f"{resident(guest)} MiB resident, of {most}")
    t.check(qmp.event("BALLOON_CHANGE")["data"]["actual"] < MEMORY, "no change was told")
    qmp.ask("qom-set", path="/machine/peripheral/b", property="guest-stats-polling-interval", value=1)
    stats = {}

    def told():
        stats.update(qmp.ask("qom-get", path="/machine/peripheral/b", property="guest-stats")["stats"])
        return stats["stat-free-memory"] > 0 and 0 < stats["stat-total-memory"] < most
    # The driver's first ones are from when it began. What Linux may take back it counts as its own.
    most = MEMORY if "deflate" in str(device) else 160 * MIB
    until(t, "statistics", told)
    qmp.ask("balloon", value=MEMORY)
    until(t, "all of it again", lambda: qmp.ask("query-balloon")["actual"] == MEMORY)
    t.check(free_mib(guest) >= before - 8, "the guest has less than before")
    qmp.ask("quit")
    guest.ended(0)


@case
def balloon_linux(t):
    balloon_moves(t, "-device", "virtio-balloon-pci,id=b,deflate-on-oom=on")


@case
def balloon_microvm(t):
    balloon_moves(t, "-M", "microvm", "-device", "virtio-balloon-device,id=b")


@case
def balloon_reporting(t):
    """What the guest frees goes back to the host, and nobody asks it to."""
    guest, qmp = start(t, "-device", "virtio-balloon-pci,free-page-reporting=on")
    most = fill_and_free(guest, 128)
    until(t, "100 MiB back", lambda: resident(guest) <= most - 100, BOOT)
    print(f"balloon_reporting: {most} MiB resident, then {resident(guest)}", flush=True)
    again = fill_and_free(guest, 128)
    t.check(again >= most - 30, f"{again} MiB resident at the second time, {most} at the first")
    qmp.ask("quit")
    guest.ended(0)


def panics(t, device, action, event, status):
    guest, qmp = start(t, "-device", device, "-action", f"panic={action}")
    guest.send("echo c >/proc/sysrq-trigger\n")
    t.equal("what becomes of it", qmp.event("GUEST_PANICKED")["data"]["action"], event)
    if status is None:
        until(t, "its state", lambda: qmp.ask("query-status")["status"] == "guest-panicked")
        qmp.ask("quit")
    guest.ended(status or 0, EXIT)


@case
def guest_panics_isa(t):
    panics(t, "pvpanic", "pause", "pause", None)


@case
def guest_panics_pci(t):
    panics(t, "pvpanic-pci", "exit-failure", "poweroff", 1)


@case
def watchdog_linux(t):
    """A guest whose watchdog nobody feeds; the cloud kernel has no driver for it."""
    guest, qmp = start(t, "-device", "i6300esb", "-action", "watchdog=pause", kernel=f"{t.generic}/vmlinux")
    guest.send("exec 9>/dev/watchdog0; echo op''en\n")
    guest.expect(rb"open")
    t.equal("the action", qmp.event("WATCHDOG")["data"]["action"], "pause")
    until(t, "its state", lambda: qmp.ask("query-status")["status"] == "watchdog")
    qmp.ask("quit")
    guest.ended(0)


@case
def dump_linux(t):
    """A dump of a guest that runs: an ELF core in which the kernel's banner stands, and the guest goes on."""
    guest, qmp = start(t, "-sandbox", f"on,files={t.path('')}")
    core = t.path("core")
    qmp.ask("dump-guest-memory", paging=False, protocol=f"file:{core}")
    t.equal("the guest says", answer(guest, "echo al''ive"), "alive")
    notes = subprocess.run(["readelf", "-n", core], capture_output=True, text=True, check=True).stdout
    t.equal("notes of vCPUs", notes.count("NT_PRSTATUS"), 1)
    release = answer(guest, "uname -r")
    with open(core, "rb") as file:
        t.check(f"Linux version {release}".encode() in file.read(), "no kernel in the dump")
    qmp.ask("quit")
    guest.ended(0)
