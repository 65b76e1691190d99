# SPDX-License-Identifier: MIT
"""Consoles, ports and random numbers of virtio with Linux's drivers, to peers that read late, write too much, go and come back."""
import base64
import hashlib
import json
import os
import re
import socket
import time
import tty

import disks
from disks import MIB, answer, drivers_ready, end
from harness import STEP, Peer, add_case, case
from test_errors import refused

FLOOD = 10 * MIB
GROWN = 1024  # KiB that Kite may grow while FLOOD waits on either side
HURRY = 2     # seconds for what is stuck to show that it is

# What runs beside the guest's shell is a subshell's child, `(COMMAND &)`: when one of its own ends while it waits for a line, busybox's
# shell takes that for the end of its input.

# Prints the device node of the port called $1.
PORT = ('port() { local p; for p in /sys/class/virtio-ports/*; do '
        '[ "$(cat $p/name)" != "$1" ] || echo /dev/${p##*/}; done; }')


def shell(t, *options, tools=False):
    """A guest at its prompt, that knows `port`."""
    guest = disks.shell(t, *options, tools=tools)
    guest.send(f"{PORT}\n")
    return guest


def connect(path):
    """A peer at a server's socket."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(STEP)
    peer.connect(path)
    return peer


def until(t, what, done, seconds=STEP):
    """Waits for `done()`."""
    deadline = time.monotonic() + seconds
    while not done():
        t.check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.1)


def socket_port(t, name, number):
    """The options of a port called `name` at a socket, and the socket's path."""
    path = t.path(name)
    return (path, "-chardev", f"socket,id=c{number},path={path},server=on,wait=off",
            "-device", f"virtserialport,chardev=c{number},name={name},id=p{number}")


def port_pty(t, guest, label):
    """The pty of chardev `label`, opened and raw."""
    match = re.search(rf"char device redirected to (/dev/pts/\d+) \(label {label}\)", guest.stderr())
    t.check(match, f"it does not say where the pty of {label} is")
    fd = os.open(match[1], os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd)
    return fd


@case
def channel_flow(t):
    """10 MB each way past a side that does not read: the other waits, Kite does not grow, all arrives."""
    path, *options = socket_port(t, "flow", 0)
    guest = shell(t, "-device", "virtio-serial-pci", *options)
    with connect(path) as host:
        guest.send(f"P=$(port flow); yes $(head -c 3000 /dev/urandom | base64) | head -c {FLOOD} >/tmp/f; md5sum </tmp/f; ec''ho made\n")
        want = guest.expect(rb"([0-9a-f]{32})")[1].decode()
        before = guest.own_memory()
        guest.send("((cat /tmp/f >$P; echo $? >/tmp/status) &); echo al''ive\n")
        guest.expect(rb"alive")
        time.sleep(HURRY)
        t.equal("the writer while nobody reads", answer(guest, "ls /tmp/status 2>&1"), "ls: /tmp/status: No such file or directory")
        t.check(guest.own_memory() - before < GROWN, f"it grew by {guest.own_memory() - before} KiB with output that nobody reads")
        got = hashlib.md5()
        left = FLOOD
        while left:
            data = host.recv(min(left, MIB))
            t.check(data, f"the end, {left} bytes too early")
            got.update(data)
            left -= len(data)
        t.equal("what the host read", got.hexdigest(), want)
        until(t, "the writer's end without an error", lambda: answer(guest, "cat /tmp/status") == "0")

        # The other way; first the port is not even open, then it is and nobody reads.
        data = os.urandom(FLOOD)
        host.settimeout(HURRY)
        sent = 0
        for step in ("rm /tmp/f", "exec 5<$P"):
            guest.send(f"{step}; echo do''ne\n")
            guest.expect(rb"done")
            try:
                while sent < FLOOD:
                    sent += host.send(data[sent : sent + 65536])
            except TimeoutError:
                pass
            t.check(sent < 2 * MIB, f"it took {sent} bytes that the guest did not read")
        t.check(guest.own_memory() - before < GROWN, f"it grew by {guest.own_memory() - before} KiB with input that nobody reads")
        guest.send("cat <&5 >/tmp/f; exec 5<&-; echo e''of\n")
        host.settimeout(3 * STEP)
        host.sendall(data[sent:])
        # The end comes after all that was sent, not when the peer is gone.
        host.close()
        guest.expect(rb"eof", 3 * STEP)
        t.equal("what the guest read before the end", answer(guest, "md5sum </tmp/f")[:32], hashlib.md5(data).hexdigest())
    end(guest)


def both_ways(t, guest, name, fd, prompt=None):
    """A line to the guest and one back, at the port called `name`. Its shell is at `prompt`, or where the guest's console is."""
    prompt = prompt or guest
    prompt.send(f"P=$(port {name}); exec 5<>$P; head -n 1 <&5 >/tmp/heard; echo \"{name} speaks\" >&5; exec 5<&-; echo sp''oken\n")
    os.write(fd, f"host to {name}\n".encode())
    Peer(guest, fd).expect(f"{name} speaks\n")
    prompt.expect(rb"spoken")
    t.equal(f"what {name} heard", answer(prompt, "cat /tmp/heard"), f"host to {name}")


@case
def channel_ports(t):
    """Ports with names at a socket, a pty and a file; who is there is seen; a peer comes back; so does the driver."""
    path, *options = socket_port(t, "one.socket", 0)
    log = t.path("log")
    guest = shell(t, "-device", "virtio-serial-pci,id=vs0,max_ports=8", *options,
                  "-chardev", "pty,id=c1", "-device", "virtserialport,bus=vs0.0,nr=5,chardev=c1,name=two.pty",
                  "-chardev", f"file,id=c2,path={log}", "-device", "virtserialport,chardev=c2,name=three.file",
                  "-device", "virtserialport,name=four.nobody")
    t.equal("the names", answer(guest, "cat /sys/class/virtio-ports/*/name"), "one.socket three.file four.nobody two.pty")
    t.equal("the numbers", answer(guest, "cd /sys/class/virtio-ports; echo vport*p1 vport*p5; cd /"), "vport0p1 vport0p5")

    # With nobody there a reader gets the end at once.
    t.equal("reading with nobody there", answer(guest, "P=$(port one.socket); wc -c <$P"), "0")
    for _ in range(2):
        with connect(path) as host:
            both_ways(t, guest, "one.socket", host.fileno())
            guest.send("cat $P >/tmp/all; echo e''of\n")
            host.sendall(b"and farewell\n")
        guest.expect(rb"eof")
        t.equal("what came before the end", answer(guest, "cat /tmp/all"), "and farewell")
    pty = port_pty(t, guest, "c1")
    both_ways(t, guest, "two.pty", pty)
    guest.send("echo 'for the record' >$(port three.file); echo wri''tten\n")
    guest.expect(rb"written")
    until(t, "the line in the file", lambda: open(log, "rb").read() == b"for the record\n")

    # Before it is used again the driver goes and comes back.
    guest.send("cd /modules/$(uname -r); rmmod virtio_console; insmod virtio_console.ko; cd /\n")
    until(t, "the port after the driver was loaded again", lambda: answer(guest, "port two.pty").startswith("/dev/vport"))
    both_ways(t, guest, "two.pty", pty)
    with connect(path) as host:
        both_ways(t, guest, "one.socket", host.fileno())
        end(guest)
        t.equal("the socket after the end", host.recv(1), b"")
    os.close(pty)
    t.check(not os.path.exists(path), "the socket is left behind")


def settle(guest):
    """Reads until nothing more comes."""
    seen = -1
    while seen < len(guest.console):
        seen = len(guest.console)
        guest.pump(1)
    guest.position = seen


@case
def channel_console(t):
    """hvc0 on a terminal: the kernel's messages, a shell, Ctrl-a, a reader that is stuck; all again after a restart, and a
    port whose peer stayed."""
    path = t.path("serial")
    channel, *options = socket_port(t, "channel", 0)
    guest = t.guest(*options, "-chardev", "stdio,id=m,mux=on,signal=off", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=m,name=main",
                    console=f"-nodefaults -serial unix:{path},server=on,wait=off", append="kite.modules=virtio console=hvc0 console=ttyS0",
                    kernel=f"{t.cloud}/vmlinux", tty=True, reboot=True)
    until(t, "the socket of the serial port", lambda: os.path.exists(path))
    with connect(path) as client, connect(channel) as host:
        serial = Peer(guest, client.fileno())
        for turn in (1, 2):
            drivers_ready(serial)
            serial.send(f"{PORT}\n")
            both_ways(t, guest, "channel", host.fileno(), serial)
            guest.position = len(guest.console)
            t.equal("the consoles", answer(serial, "cut -d' ' -f1 /proc/consoles | sort"), "hvc0 ttyS0")
            serial.send(f"dmesg -n 8; echo 'the kernel {turn} says' >/dev/kmsg; dmesg -n 1\n")
            guest.expect(rf"the kernel {turn} says\r+\n")
            serial.send("printf '#!/bin/sh\\nexec sh -i\\n' >/tmp/login; chmod +x /tmp/login; (setsid getty -n -l /tmp/login 0 hvc0 vt100 &)\n")
            guest.expect(rb"list of built-in commands")
            time.sleep(1)
            guest.send("stty -echo; tty; echo $((6 * 7))\n")
            guest.expect(rb"/dev/hvc0\r+\n42\r+\n")
            guest.send("\x01h")
            guest.expect(rb"Ctrl-a h")
            # Nobody reads the terminal: the writer is held up for a while, not for ever, and no CPU spins.
            before = guest.own_memory()
            serial.send("head -c 300000 /dev/zero | tr '\\0' . >/dev/hvc0; echo w''ritten\n")
            serial.expect(rb"written", 2 * STEP)
            t.check(guest.own_memory() - before < GROWN, f"it grew by {guest.own_memory() - before} KiB")
            settle(guest)
            guest.send("echo sti''ll\n")
            guest.expect(rb"still")
            if turn == 1:
                serial.send("reboot -f\n")
        guest.send("\x01x")
        guest.ended(0)


@case
def rng_limit(t):
    """max-bytes and period hold; the builtin and the file source both give bytes that differ."""
    guest = shell(t, "-object", "rng-builtin,id=r0", "-object", "rng-random,id=r1,filename=/dev/urandom",
                  "-device", "virtio-rng-pci,rng=r0,max-bytes=512,period=500", "-device", "virtio-rng-pci,rng=r1", "-device", "virtio-rng-pci")
    t.equal("the sources", answer(guest, "cat /sys/class/misc/hw_random/rng_available"), "virtio_rng.0 virtio_rng.1 virtio_rng.2")
    rng = "/sys/class/misc/hw_random/rng_current"
    sums = set()
    for number in (2, 1):
        guest.send(f"echo virtio_rng.{number} >{rng}\n")
        sums.add(answer(guest, f"cat {rng}; dd if=/dev/hwrng bs=4096 count=1 iflag=fullblock 2>/dev/null >/tmp/r; wc -c </tmp/r; md5sum </tmp/r"))
    t.check(len({s.split()[2] for s in sums}) == 2 and all(s.split()[1] == "4096" for s in sums), f"it is {sums}")
    guest.send(f"echo virtio_rng.0 >{rng}\n")
    got = answer(guest, f"cat {rng} /proc/uptime; dd if=/dev/hwrng bs=4096 count=1 iflag=fullblock 2>/dev/null | wc -c; cat /proc/uptime").split()
    t.equal("the bytes", (got[0], got[3]), ("virtio_rng.0", "4096"))
    seconds = float(got[4]) - float(got[1])
    # 8 windows, the first of which may have begun before; some of what is given goes to the kernel's own pool.
    t.check(3 <= seconds <= 120, f"4096 bytes at 1024 a second took {seconds} s")
    end(guest)


class Agent:
    """qemu-ga in the guest, through its socket."""

    def __init__(self, t, host):
        self.t = t
        self.host = host
        self.input = b""

    def line(self):
        """The next line that it says."""
        while b"\n" not in self.input:
            data = self.host.recv(65536)
            self.t.check(data, "the agent's channel ended")
            self.input += data
        line, self.input = self.input.split(b"\n", 1)
        return line

    def ask(self, command, **arguments):
        """What it returns."""
        self.host.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        reply = json.loads(self.line())
        self.t.check("return" in reply, f"{command}: it says {reply}")
        return reply["return"]

    def sync(self, number):
        """What was half said before is forgotten: a byte that no text has goes before, and one comes back."""
        self.host.sendall(b"\xff" + json.dumps({"execute": "guest-sync-delimited", "arguments": {"id": number}}).encode() + b"\n")
        while True:
            line = self.line()
            if line.startswith(b"\xff"):
                self.t.equal("the number that came back", json.loads(line[1:]), {"return": number})
                return


@case
def channel_agent(t):
    """Debian's qemu-ga on org.qemu.guest_agent.0: it answers, runs programs, survives hosts that go, and switches off."""
    name = "org.qemu.guest_agent.0"
    path, *options = socket_port(t, name, 0)
    guest = shell(t, "-device", "virtio-serial-pci", *options, tools=True)
    # What udev does elsewhere. The agent shuts down by a program that asks the first process.
    guest.send(f"mkdir -p /dev/virtio-ports /var/run /sbin; ln -s $(port {name}) /dev/virtio-ports/{name}\n")
    guest.send("printf '#!/bin/sh\\nexec poweroff -f\\n' >/sbin/shutdown; chmod +x /sbin/shutdown\n")
    guest.send("(qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -l /tmp/ga.log -t /tmp &); echo sta''rted\n")
    guest.expect(rb"started")
    for number in (1, 2):
        with connect(path) as host:
            agent = Agent(t, host)
            agent.sync(number)
            t.equal("guest-ping", agent.ask("guest-ping"), {})
            if number == 1:
                host.sendall(b'{"execute": "guest-pi')  # and goes in the middle of a word
    with connect(path) as host:
        agent = Agent(t, host)
        agent.sync(3)
        commands = {c["name"] for c in agent.ask("guest-info")["supported_commands"] if c["enabled"]}
        t.check({"guest-exec", "guest-shutdown", "guest-file-open"} <= commands, f"it can {commands}")
        t.equal("the kernel that it runs on", agent.ask("guest-get-osinfo")["kernel-release"], answer(guest, "uname -r"))
        text = "kite" * 50000
        pid = agent.ask("guest-exec", path="/bin/busybox", arg=["md5sum"], **{"input-data": b64(text), "capture-output": True})["pid"]
        while not (status := agent.ask("guest-exec-status", pid=pid))["exited"]:
            time.sleep(0.2)
        t.equal("what it ran", (status["exitcode"], unb64(status["out-data"])[:32]), (0, hashlib.md5(text.encode()).hexdigest()))
        host.sendall(b'{"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}\n')
        guest.ended(0)


def b64(text):
    """Text as the agent takes it."""
    return base64.b64encode(text.encode()).decode()


def unb64(text):
    """And gives it."""
    return base64.b64decode(text).decode()


BUS = "-device virtio-serial-pci"
NULL = "-chardev null,id=n"

# Name, options, pattern.
OPTIONS = (
    ("no_bus", "-device virtconsole", r"virtconsole.*virtio-serial"),
    ("unknown_bus", f"{BUS} -device virtserialport,bus=nosuch.0", r"nosuch\.0"),
    ("port_0", f"{BUS} -device virtserialport,nr=0", r"port number 0.*virtconsole"),
    ("port_twice", f"{BUS} -device virtserialport,nr=3 -device virtconsole,nr=3", r"nr=3"),
    ("port_too_high", f"{BUS},max_ports=4 -device virtserialport,nr=4", r"port 4.*max_ports=4"),
    ("ports_full", f"{BUS},max_ports=2 -device virtserialport -device virtserialport", r"max_ports"),
    ("name_twice", f"{BUS} -device virtserialport,name=org.x -device virtserialport,name=org.x", r"'org\.x'"),
    ("max_ports", f"{BUS},max_ports=32", r"max_ports.*31"),
    ("port_property", f"{BUS} -device virtserialport,nme=org.x", r"nme.*did you mean 'name'"),
    ("chardev_unknown", f"{BUS} -device virtserialport,chardev=nosuch", r"nosuch.*-chardev"),
    ("chardev_twice", f"{BUS} {NULL} -device virtconsole,chardev=n -device virtserialport,chardev=n", r"'n' is already used"),
    ("chardev_serial_too", f"{BUS} {NULL} -serial chardev:n -device virtconsole,chardev=n", r"'n' is already used"),
    ("backend", "-chardev telnet,id=x", r"telnet"),
    ("chardev_no_id", "-chardev null", r"'id' is missing"),
    ("chardev_bad_id", "-chardev null,id=5", r"'5' is not an identifier"),
    ("chardev_same_id", f"{NULL} {NULL}", r"chardev.*'n'"),
    ("chardev_property", "-chardev pty,id=x,path=/x", r"path"),
    ("chardev_no_path", "-chardev file,id=x", r"'path' is missing"),
    ("chardev_file", "-chardev file,id=x,path=/nonexistent/log", r"chardev x.*/nonexistent/log.*no such file"),
    ("chardev_socket_tcp", "-chardev socket,id=x,host=localhost,port=1", r"chardev x.*localhost:1.*refused"),
    ("chardev_socket_client", "-chardev socket,id=x,path=/nonexistent/s", r"chardev x.*/nonexistent/s"),
    ("chardev_socket_wait", "-chardev socket,id=x,path=/tmp/x,wait=on", r"wait.*server=on"),
    ("chardev_stdio_twice", "-chardev stdio,id=x -chardev stdio,id=y", r"stdio is already used.*'x'"),
    ("rng_object", "-device virtio-rng-pci,rng=nosuch", r"nosuch.*-object"),
    ("rng_max_bytes", "-device virtio-rng-pci,max-bytes=0", r"max-bytes"),
    ("rng_period", "-device virtio-rng-pci,period=0", r"period"),
    ("rng_file", "-object rng-random,id=r,filename=/nonexistent/rng -device virtio-rng-pci,rng=r", r"/nonexistent/rng.*no such file"),
    ("rng_no_device", "-object rng-random,id=r,filename=/etc/passwd -device virtio-rng-pci,rng=r", r"/etc/passwd.*character device"),
    ("object_type", "-object rng-egd,id=r", r"rng-egd.*rng-random"),
    ("object_id_twice", "-object rng-builtin,id=r -object rng-random,id=r", r"'r'"),
)

for row in OPTIONS:
    add_case(f"channel_error_{row[0]}", lambda t, row=row: refused(t, t.run(*t.linux(), "-nodefaults", "-serial", "none", *row[1].split()), row[2]))
