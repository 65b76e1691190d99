# SPDX-License-Identifier: MIT
"""A client of QMP, and a VMM with a socket for it."""
import ctypes
import json
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("B", "build")
VMM = shlex.split(os.environ.get("KITE", f"{BUILD}/kite"))
PATIENCE = 180
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Fail(Exception):
    """Why a case failed, in words."""


def connect(path):
    """A connection to a socket that somebody listens at, or is about to: it has its name a moment before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(path)
            return sock
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Client:
    """A client that reads everything; events are kept in .events."""

    def __init__(self, path, negotiate=True):
        self.sock = connect(path)
        self.buf, self.events = b"", []
        self.greeting = self.message()
        if negotiate:
            self.run("qmp_capabilities")

    def message(self):
        while b"\r\n" not in self.buf:
            try:
                data = self.sock.recv(65536)
            except TimeoutError as e:
                raise Fail(f"nothing came for {PATIENCE} s") from e
            if not data:
                raise Fail("the connection ended")
            self.buf += data
        line, self.buf = self.buf.split(b"\r\n", 1)
        return json.loads(line)

    def reply(self):
        while True:
            m = self.message()
            if "event" not in m:
                return m
            self.events.append(m)

    def ask(self, name, args=None, ident=None):
        request = {"execute": name}
        if args is not None:
            request["arguments"] = args
        if ident is not None:
            request["id"] = ident
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        try:
            return self.reply()
        except Fail as e:
            raise Fail(f"while waiting for the reply to {name}: {e}") from e

    def run(self, name, **args):
        r = self.ask(name, args)
        if "return" not in r:
            raise Fail(f"{name}: {r}")
        return r["return"]

    def wait(self, event):
        deadline = time.monotonic() + PATIENCE
        while not any(e["event"] == event for e in self.events):
            if time.monotonic() > deadline:
                raise Fail(f"no {event}")
            try:
                m = self.message()
            except Fail as e:
                raise Fail(f"while waiting for {event}: {e}") from e
            if "event" in m:
                self.events.append(m)
        self.events = [e for e in self.events if e["event"] != event]


class Kite:
    """A VMM with a QMP socket, ended at the end of a with statement."""

    def __init__(self, *args, guest=True, payload="flood", append="", disk_size=1 << 20, devices=True, qmp=True, werror="report", limit=None):
        # A runner that is ended, as by timeout(1), leaves neither the directory nor the VMM; one that is killed leaves no VMM.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self.dir = tempfile.TemporaryDirectory(prefix="kite-qmp-")
        self.path = f"{self.dir.name}/qmp"
        disk = f"{self.dir.name}/disk"
        with open(disk, "wb") as f:
            f.truncate(disk_size)
        argv = VMM + ["-nodefaults"] + (["-qmp", f"unix:{self.path},server=on,wait=off"] if qmp else [])
        if guest:
            argv += ["-kernel", f"{BUILD}/guest/{payload}.elf", "-append", append, "-m", "64", "-object", "iothread,id=io1",
                     "-chardev", f"socket,id=s,path={self.dir.name}/serial,server=on,wait=off,logfile={self.dir.name}/log", "-serial", "chardev:s",
                     "-drive", f"file={disk},format=raw,if=virtio,id=d0,werror={werror}"]
            argv += ["-device", "virtio-balloon-pci,id=b0", "-device", "i6300esb", "-device", "pvpanic"] if devices else []
        else:
            argv += ["-machine", "none"]
        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        self.proc = subprocess.Popen(argv + list(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     preexec_fn=prepare)
        deadline = time.monotonic() + PATIENCE
        while qmp and not os.path.exists(self.path):
            if self.proc.poll() is not None or time.monotonic() > deadline:
                self.proc.kill()
                raise Fail(f"did not start: {self.proc.stdout.read().decode()}")
            time.sleep(0.01)

    def client(self, **kw):
        return Client(self.path, **kw)

    def type_in(self, expected, line=""):
        """Waits until the guest's console has `expected`, and sends it a line."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with open(f"{self.dir.name}/log", "rb") as f:
                    if expected in f.read():
                        break
            except FileNotFoundError: # not there yet
                pass
            if time.monotonic() > deadline:
                raise Fail(f"the guest does not say {expected}")
            time.sleep(0.05)
        with connect(f"{self.dir.name}/serial") as s:
            for char in line:
                s.sendall(char.encode())
                time.sleep(0.002)

    def end(self):
        """Its exit status after quit or by itself."""
        return self.proc.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()
        self.dir.cleanup()
