# SPDX-License-Identifier: MIT
"""The console: every back end, the escapes, and peers that read nothing or write too much."""
import fcntl
import hashlib
import os
import re
import signal
import socket
import subprocess
import termios
import time
import tty

from harness import BOOT, EXIT, STEP, Failure, Peer, case

F_SETPIPE_SZ = 1031


def shell(t, *options, **more):
    """A guest at its prompt, on a terminal."""
    guest = t.guest(*options, console="-nographic", tty=True, kernel=f"{t.cloud}/vmlinux", **more)
    guest.expect(rb"GUEST-READY", BOOT)
    guest.expect(rb"guest# ")
    return guest


@case
def console_shell(t):
    """Typing at a shell: echo, a long paste in pieces of any size, Ctrl-a h, Ctrl-a Ctrl-a, Ctrl-a x; the terminal is raw, then restored."""
    guest = shell(t)
    flags = termios.tcgetattr(guest.slave)[3]
    t.check(not flags & (termios.ICANON | termios.ECHO | termios.ISIG), "the terminal is not raw")
    guest.send("echo he''llo\n")
    guest.expect(rb"echo he''llo\r+\nhello\r+\n")

    paste = "".join(f"{i:04d} {'abcdefghijklmnopqrstuvwxyz' * 2}12345\n" for i in range(64)) + "x" * 128 + "\n"
    guest.send("stty -echo; echo re''ady; cat >/tmp/paste; md5sum /tmp/paste; stty echo\n")
    guest.expect(rb"ready")
    time.sleep(1)
    guest.send(paste + "\x04")
    got = guest.expect(rb"([0-9a-f]{32})  /tmp/paste")[1].decode()
    t.equal("what arrived of a paste of 4 KiB", got, hashlib.md5(paste.encode()).hexdigest())

    # Ctrl-c and Ctrl-z are the guest's.
    guest.send("echo sle''eps; sleep 1000\n")
    guest.expect(rb"sleeps")
    time.sleep(1)
    guest.send("\x03")
    guest.expect(rb"guest# ")
    guest.send("\x01h")
    guest.expect(rb"(?i)C(trl)?-a h")
    guest.send("head -c 1 | od -An -tx1\n\x01\x01\n")
    guest.expect(rb" 01\b")
    guest.send("\x01x")
    guest.ended(0)


@case
def console_pipe(t):
    """Standard input and output as pipes; input may end, the guest stays. Ctrl-a is nothing special to -serial stdio."""
    guest = t.guest(kernel=f"{t.cloud}/vmlinux")
    guest.expect(rb"GUEST-READY", BOOT)
    guest.expect(rb"guest# ")
    guest.send("stty -echo; echo $((6 * 7)); cat -v\n")
    guest.expect(rb"\b42\b")
    guest.send("\x01x\n")
    guest.expect(rb"\^Ax")
    guest.process.stdin.close()
    time.sleep(1)
    t.check(guest.process.poll() is None, "it ended with its input")
    guest.kill(signal.SIGTERM)
    guest.ended(0)


@case
def console_file(t):
    path = t.write("console", b"old")
    guest = t.guest(do="poweroff", console=f"-serial file:{path}", kernel=f"{t.cloud}/vmlinux")
    guest.ended(0, BOOT)
    with open(path, "rb") as file:
        guest.console += file.read()
    guest.expect(rb"\AGUEST-INIT")
    guest.expect(rb"reboot: Power down\r\n\Z")


@case
def console_pty(t):
    """Says where the pty is; a peer may go and another come."""
    guest = t.guest(console="-serial pty", kernel=f"{t.cloud}/vmlinux")
    deadline = time.monotonic() + EXIT
    while not (match := re.search(r"char device redirected to (/dev/pts/\d+) \(label serial0\)", guest.stderr() + guest.console.decode())):
        t.check(time.monotonic() < deadline, "it does not say where its pty is")
        guest.pump(0.1)
    for number in (1, 2):
        fd = os.open(match[1], os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd)  # as every terminal program does; with echo on, the guest would talk to itself
        peer = Peer(guest, fd)
        if number == 1:
            peer.expect(rb"GUEST-READY", BOOT)
            peer.expect(rb"guest# ")
        for left in range(10, -1, -1):  # nothing tells that the other side has seen us come
            peer.send(f"echo $((6 * 7 * {number}))\n")
            try:
                peer.expect(rf"\b{42 * number}\b", 5 if left else STEP)
                break
            except Failure:
                if not left:
                    raise
        peer.expect(rb"guest# ")
        os.close(fd)
    guest.kill(signal.SIGTERM)
    guest.ended(0)


def connect(t, path):
    """A connection to a Unix socket that will soon be there."""
    deadline = time.monotonic() + EXIT
    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(path)
            return peer
        except OSError as error:
            peer.close()
            t.check(time.monotonic() < deadline, f"{path}: {error}")
            time.sleep(0.1)


@case
def console_socket(t):
    """A server that does not wait: a client sees the guest, goes, and another comes. The socket file is removed."""
    path = t.path("console.sock")
    guest = t.guest(console=f"-serial unix:{path},server=on,wait=off", kernel=f"{t.cloud}/vmlinux")
    with connect(t, path) as client:
        Peer(guest, client.fileno()).expect(rb"GUEST-READY", BOOT)
    with connect(t, path) as client:
        peer = Peer(guest, client.fileno())
        time.sleep(1)
        peer.send("echo $((6 * 7))\n")
        peer.expect(rb"\b42\b")
        peer.send("poweroff -f\n")
        peer.expect(rb"Power down")
        guest.ended(0)
    t.check(not os.path.exists(path), "the socket file is still there")


@case
def console_reader_stuck(t):
    """Nobody reads standard output, a full pipe: the guest writes more than fits anywhere, and still powers off."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    try:
        guest = t.guest(do="flood", append="kite.lines=1100", kernel=f"{t.cloud}/vmlinux", stdout=writer)
        guest.ended(0, BOOT + 60)
        t.check(b"GUEST-INIT" in os.read(reader, 4096), "the pipe does not hold the guest's first words")
    finally:
        os.close(reader)
        os.close(writer)


@case
def console_flood(t):
    """10 MB are pasted at once. What the guest has not taken stays outside: Kite does not grow, and the guest lives."""
    guest = t.guest(kernel=f"{t.cloud}/vmlinux")
    guest.expect(rb"GUEST-READY", BOOT)
    guest.expect(rb"guest# ")
    guest.send("stty -echo; PS1=; echo sta''rt\n")
    guest.expect(rb"start")
    before = guest.memory()
    os.set_blocking(guest.input, True)
    source = subprocess.Popen(["/usr/bin/python3", "-c", "import sys; [sys.stdout.write(': ' + 'x' * 61 + '\\n') for i in range(163840)]"],
                              stdout=guest.process.stdin, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        grown = guest.memory() - before
        t.check(source.poll() is None, "10 MB went in within 5 s, which no serial port takes")
    finally:
        source.kill()
        source.wait()
        os.set_blocking(guest.input, False)
    t.check(grown < 4096, f"it grew by {grown} KiB")
    for _ in range(3):  # the line that the kill cut, then one of ours
        guest.send("\n")
    guest.send("echo al''ive\n")
    guest.expect(rb"alive")
    guest.kill(signal.SIGTERM)
    guest.ended(0)


def ends_by(t, number, when):
    """A signal ends it, with status 0 and the terminal as it was."""
    guest = t.guest(console="-nographic", tty=True, kernel=f"{t.cloud}/vmlinux")
    if when == "running":
        guest.expect(rb"GUEST-INIT", BOOT)
    else:
        deadline = time.monotonic() + EXIT
        while termios.tcgetattr(guest.slave) == guest.before:
            if time.monotonic() > deadline:
                raise Failure("the terminal never became raw")
            time.sleep(0.01)
        time.sleep(0.2)
    guest.kill(number)
    guest.ended(0)


@case
def signal_term(t):
    ends_by(t, signal.SIGTERM, "running")


@case
def signal_int(t):
    ends_by(t, signal.SIGINT, "starting")


@case
def signal_hup(t):
    ends_by(t, signal.SIGHUP, "starting")
