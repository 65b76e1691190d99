# SPDX-License-Identifier: MIT
"""A guest at work for as long as LAB_SOAK_SECONDS says (make soak HOURS=n): disks that fio verifies, iperf3 both ways, stop and cont, and resets, over and
over. Nothing that was written may be lost, and neither Kite's memory nor its descriptors may grow. Without LAB_SOAK_SECONDS there is no such test."""
import json
import os
import random
import socket
import subprocess
import time

from disks import MIB, answer, drivers_ready, md5, new_file
from harness import BOOT, STEP, add_case
from net import address, guest, iperf, ping, serve, tap

SECONDS = int(os.environ.get("LAB_SOAK_SECONDS", "0"))
ROUND = 60        # seconds of fio between two resets
SIZE = 32 * MIB   # of a disk
GROWTH = 8192     # KiB that Kite may have more than after its second round: pools that fill late
RESETS = ("reboot -f", "echo b >/proc/sysrq-trigger", "system_reset")
HOST, IP = "10.8.0.1", "10.8.0.2"


class Monitor:
    """A client of QMP."""

    def __init__(self, t, path):
        self.t = t
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(STEP)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw", encoding="utf-8")
        self.t.check("QMP" in json.loads(self.file.readline()), "no greeting of QMP")
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        """Does a command; what it returns."""
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            said = json.loads(self.file.readline())
            if "event" not in said:
                self.t.check("return" in said, f"{command}: {said}")
                return said["return"]


def descriptors(pid):
    """How many a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def sums(g):
    """What the guest reads from its disks, past its cache."""
    return answer(g, "for d in /dev/vda /dev/vdb; do dd if=$d bs=1M iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1; done", 4 * STEP)


def load(t, g, monitor, seconds, rng):
    """fio on both disks, that verifies what it wrote; meanwhile frames both ways, and the machine stopped and continued."""
    # In the foreground, as disks.fio does it; nothing else is typed until it ends.
    g.send("echo \"<$(fio --output=/tmp/fio --thread --time_based --rw=randrw --bs=4k --direct=1 --ioengine=libaio --iodepth=8 --verify=crc32c "
           f"--verify_fatal=1 --verify_backlog=64 --runtime={seconds} --randseed={rng.randrange(1 << 30)} --name=raw --filename=/dev/vda --name=qcow2 "
           "--filename=/dev/vdb >/dev/null 2>&1; echo $?)>\"\n")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for way in ((), ("-R",)):
            iperf(t, IP, *way, seconds=2)
        monitor.do("stop")
        time.sleep(rng.random())
        t.equal("the machine's state", monitor.do("query-status")["status"], "paused")
        monitor.do("cont")
        ping(t, IP)
    status = g.expect(rb"<([^>]*)>", seconds + 4 * STEP)[1].decode().strip()
    if status != "0":
        g.send("cat /tmp/fio; echo fio-pri''nted\n")
        g.expect(rb"fio-printed")
    t.equal("fio's status", status, "0")


def reset(g, monitor, how):
    """Starts the machine again, and waits for its prompt."""
    if how == "system_reset":
        monitor.do(how)
    else:
        g.send(f"{how}\n")
    g.expect(rb"GUEST-INIT", BOOT)
    drivers_ready(g)


def soak(t):
    """Rounds of load and reset until the time is up."""
    rng = random.Random(int(os.environ.get("SOAK_SEED", "1")))
    tap(t, "soak0", f"{HOST}/24")
    raw, qcow2 = new_file(t.path("a.raw"), SIZE), t.path("b.qcow2")
    t.host("qemu-img", "create", "-q", "-f", "qcow2", qcow2, str(SIZE))
    g = guest(t, "-smp", 2, "-object", "iothread,id=io", "-drive", f"file={raw},format=raw,if=none,id=a", "-device", "virtio-blk-pci,drive=a,iothread=io",
              "-drive", f"file={qcow2},format=qcow2,if=none,id=b", "-device", "virtio-blk-pci,drive=b,iothread=io",
              "-netdev", "tap,id=n,ifname=soak0,script=no", "-device", "virtio-net-pci,netdev=n", "-device", "virtio-rng-pci",
              "-qmp", f"unix:{t.path('qmp')},server=on,wait=off", memory=512, reboot=True)
    monitor, end, rounds, before = Monitor(t, t.path("qmp")), time.monotonic() + SECONDS, 0, None
    while time.monotonic() < end or rounds < 3:
        address(t, g, "eth0", f"{IP}/24")
        serve(t, g)
        load(t, g, monitor, min(ROUND, SECONDS), rng)
        written = sums(g)
        t.equal("the raw file", md5(raw, SIZE), written.split()[0])
        reset(g, monitor, RESETS[rounds % len(RESETS)])
        t.equal("the disks after a reset", sums(g), written)
        rounds += 1
        now = (g.own_memory(), descriptors(g.pid))
        print(f"    soak: round {rounds}: {now[0]} KiB beside the guest's memory, {now[1]} descriptors", flush=True)
        before = before if rounds > 2 else now
        t.check(now[0] <= before[0] + GROWTH, f"grew from {before[0]} to {now[0]} KiB in {rounds} rounds")
        t.check(now[1] <= before[1], f"{before[1]} descriptors became {now[1]} in {rounds} rounds")
    monitor.do("quit")
    g.ended(0)
    t.equal("messages", g.stderr(), "")
    done = subprocess.run(["qemu-img", "check", "-q", qcow2], capture_output=True, text=True, check=False)
    t.check(done.returncode == 0, f"qemu-img check: {done.stdout}{done.stderr}")


if SECONDS:
    add_case("soak", soak)
