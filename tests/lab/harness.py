# SPDX-License-Identifier: MIT
"""What the lab's tests are written with.

A test is a function marked @case that gets a Test, `t`. It starts guests with t.guest(), and fails by raising, most often
through t.check() or a Guest that does not do in time what was expected of it. Whatever it leaves running is killed after it, and what
was typed and printed goes into its log.

Every wait has a time limit. The limits are for a lab on a busy machine, several times what is normal: they tell a hang from a
guest that runs, not a slow guest from a fast one.
"""
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import termios
import time

BOOT = 400  # seconds from exec to the guest's shell
STEP = 120  # for one thing that a running guest does
EXIT = 90   # to end, once told to or once the guest is off


class Failure(Exception):
    """The test failed; the text says how."""


class Skip(Exception):
    """The test cannot run here; the text says why."""


CASES = []
LONG = set()  # names of those that only run when asked for


def case(function):
    """Registers a test. Its name is the function's."""
    CASES.append((function.__name__, function))
    return function


def long_case(function):
    """The same for one that takes long."""
    LONG.add(function.__name__)
    return case(function)


def add_case(name, function):
    """Registers a test that a table describes."""
    CASES.append((name, function))


class Guest:
    """Kite running. Its console is a pipe pair, or with tty=True a terminal; `console` is all that came out of it so far."""

    def __init__(self, command, tty, stdout, stderr, size=None):
        self.command = command
        self.console = b""
        self.position = 0  # expect() looks from here on
        self.status = None
        self.master = self.slave = None
        self.stderr_file = stderr
        if tty:
            self.master, self.slave = pty.openpty()
            if size:
                termios.tcsetwinsize(self.slave, size)
            self.before = termios.tcgetattr(self.slave)
            self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=stderr, start_new_session=True)
            self.output = self.input = self.master
        else:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout or subprocess.PIPE, stderr=stderr,
                                            start_new_session=True)
            self.output = self.process.stdout.fileno() if self.process.stdout else None
            self.input = self.process.stdin.fileno()
        os.set_blocking(self.input, False)  # also for output, where it is a terminal: pump() asks before it reads
        self.pid = self.process.pid

    def stderr(self):
        """What it wrote to standard error so far."""
        return os.pread(self.stderr_file.fileno(), 1 << 20, 0).decode(errors="replace")

    def pump(self, seconds):
        """Waits for output, at most `seconds`. False at its end."""
        if self.output is None:
            time.sleep(min(seconds, 0.1))
            return True
        if not select.select([self.output], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.output, 65536)
        except OSError:  # EIO: the last one closed the terminal's other side
            data = b""
        self.console += data
        return bool(data)

    def expect(self, pattern, seconds=STEP):
        """Waits until `pattern` (a regular expression) comes on the console, after what was expected before. The match."""
        return expect_in(self, pattern, seconds, self.stderr)

    def send(self, data, seconds=STEP):
        """Types `data`."""
        data = data.encode() if isinstance(data, str) else data
        deadline = time.monotonic() + seconds
        while data:
            if time.monotonic() > deadline:
                raise Failure(f"does not take input: {len(data)} bytes left after {seconds} s")
            if select.select([], [self.input], [], 0.1)[1]:
                try:
                    data = data[os.write(self.input, data[:512]) :]
                except BlockingIOError:  # there was room, but not for so much
                    time.sleep(0.05)
            if self.output is not None and select.select([self.output], [], [], 0)[0]:
                self.pump(0)

    def resize(self, rows, columns):
        """Gives the terminal another size."""
        termios.tcsetwinsize(self.slave, (rows, columns))

    def kill(self, number):
        """Sends a signal."""
        self.process.send_signal(number)

    def wait(self, seconds=EXIT):
        """Waits for its end; the exit status, negative for a signal."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f"still runs {seconds} s later")
            if not self.pump(0.05):
                time.sleep(0.02)
        while self.output is not None and select.select([self.output], [], [], 0)[0] and self.pump(0):
            pass
        self.status = self.process.returncode
        return self.status

    def ended(self, status=0, seconds=EXIT):
        """Checks that it ends with `status`, and that the terminal is as it was."""
        got = self.wait(seconds)
        if got != status:
            raise Failure(f"exit status {got}, not {status}: {self.stderr().strip()[-300:]}")
        self.check_terminal()

    def check_terminal(self):
        """Checks that the terminal's settings are those from before."""
        if self.slave is not None and termios.tcgetattr(self.slave) != self.before:
            raise Failure("the terminal is not as it was")

    def facts(self, seconds=BOOT):
        """What guest-init says of the guest, by name. Waits for the last of it."""
        self.expect(rb"GUEST-INIT", seconds)
        self.expect(rb"guest\.uptime=.*\n")
        text = self.console.decode(errors="replace").replace("\r", "")
        return dict(re.findall(r"^guest\.(\w+)=(.*?) *$", text, re.M))

    def memory(self, field="VmRSS"):
        """A line of /proc/PID/status, in KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(rf"^{field}:\s*(\d+) kB", file.read(), re.M)[1])

    def own_memory(self):
        """What of it is resident without the guest's memory, in KiB."""
        with open(f"/proc/{self.pid}/smaps", encoding="ascii", errors="replace") as file:
            maps = re.findall(r"^Size: *(\d+) kB.*?^Rss: *(\d+) kB", file.read(), re.M | re.S)
        return sum(int(rss) for size, rss in maps if int(size) < 128 << 10)

    def close(self):
        """Kills what still runs."""
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            try:
                self.process.wait(EXIT)
            except subprocess.TimeoutExpired:  # stuck in the kernel; the next tests may still say something
                self.console += b"\n--- cannot be killed\n"
        for fd in (self.master, self.slave):
            if fd is not None:
                os.close(fd)
        self.master = self.slave = None

    def log(self):
        """All of it, for people."""
        head = f"$ {shlex.join(self.command)}\n"
        return head.encode() + self.console + f"\n--- standard error\n{self.stderr()}--- status {self.process.returncode}\n".encode()


class Peer:
    """The other end of a console that is not Kite's own standard output: a socket or a pty, by its descriptor."""

    def __init__(self, guest, fd):
        self.guest = guest
        self.fd = fd
        self.console = b""
        self.position = 0

    def pump(self, seconds):
        """As Guest.pump."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.console += data
        self.guest.console += data
        return bool(data)

    def expect(self, pattern, seconds=STEP):
        """As Guest.expect."""
        return expect_in(self, pattern, seconds, self.guest.stderr)

    def send(self, text):
        """Types `text`."""
        os.write(self.fd, text.encode())


def expect_in(stream, pattern, seconds, stderr):
    """Guest.expect and Peer.expect."""
    pattern = pattern.encode() if isinstance(pattern, str) else pattern
    deadline = time.monotonic() + seconds
    alive = True
    while True:
        match = re.compile(pattern).search(stream.console, stream.position)
        if match:
            stream.position = match.end()
            return match
        if not alive:
            raise Failure(f"ended without {pattern.decode()!r}: {stderr().strip()[-300:]}")
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failure(f"no {pattern.decode()!r} in {seconds} s")
        alive = stream.pump(min(left, 1))


class Test:
    """One run of one test."""

    def __init__(self, name, config):
        self.name = name
        self.kite = config["kite"]
        self.cloud = config["cloud"]      # directories as `kernels` prints them
        self.generic = config["generic"]
        self.initramfs = config["initramfs"]
        self.tools = config["tools"]      # the same with Debian's programs, for linux() and guest() to take with tools=True
        self.dir = tempfile.mkdtemp(prefix="kite-")  # for this test's files; readable by all, as some tests are nobody
        os.chmod(self.dir, 0o755)
        self.guests = []
        self.undo = []                    # commands that take back what the test did to this machine, last first

    def path(self, name):
        """A name in the test's directory."""
        return os.path.join(self.dir, name)

    def write(self, name, data, size=None):
        """A file in the test's directory, with a hole at its end up to `size`."""
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(data)
            if size is not None:
                file.truncate(size)
        return path

    def host(self, *command, undo=()):
        """Runs a command here; what it prints. `undo` is run at the test's end."""
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.check(done.returncode == 0, f"{shlex.join(command)}: {done.stdout.strip()[-300:]}")
        if undo:
            self.undo.append(undo)
        return done.stdout.strip()

    def share(self):
        """From now on the test uses copies of Kite, the cloud kernel and the initramfs that every user can read."""
        os.mkdir(self.path("cloud"))
        shutil.copy(f"{self.cloud}/vmlinuz", self.path("cloud"))
        self.kite, self.initramfs, self.cloud = shutil.copy(self.kite, self.path("kite")), shutil.copy(self.initramfs, self.dir), \
            self.path("cloud")

    def run(self, *options, tty=False, stdout=None, wrap=(), size=None):
        """Starts Kite with just these options. `wrap` is a command in front of it; `size` the terminal's rows and columns."""
        stderr = open(self.path(f"stderr{len(self.guests)}"), "w+b")
        guest = Guest([*wrap, self.kite, *map(str, options)], tty, stdout, stderr, size)
        self.guests.append(guest)
        return guest

    def guest(self, *options, do="shell", append="", kernel=None, memory=256, console="-nodefaults -serial stdio", reboot=False,
              tools=False, facts=False, **more):
        """Starts a Linux guest: the cloud kernel, the initramfs, kite.do=`do`, and `options` after all that. With `facts` it says what the
        kernel found, for Guest.facts(), which takes a while."""
        return self.run(*self.linux(do, append, kernel, memory, tools, facts), *shlex.split(console), *(() if reboot else ("-no-reboot",)),
                        *options, **more)

    def linux(self, do="shell", append="", kernel=None, memory=256, tools=False, facts=False):
        """The options of guest() that say what runs in it."""
        return ("-m", memory, "-kernel", kernel or f"{self.cloud}/vmlinuz", "-initrd", self.tools if tools else self.initramfs,
                "-append", f"console=ttyS0 quiet loglevel=1 panic=-1 kite.do={do} {'kite.facts=yes ' if facts else ''}{append}".strip())

    @staticmethod
    def check(condition, text):
        """Fails with `text` unless `condition`."""
        if not condition:
            raise Failure(text)

    def equal(self, what, got, want):
        """Fails unless they are the same."""
        self.check(got == want, f"{what} is {got!r}, not {want!r}")

    def log(self):
        """Everything that its guests said."""
        return b"\n".join(guest.log() for guest in self.guests)

    def close(self):
        """Kills its guests, and takes back what it did to this machine."""
        for guest in self.guests:
            guest.close()
        while self.undo:
            subprocess.run(self.undo.pop(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def remove(self):
        """Removes its files."""
        shutil.rmtree(self.dir, ignore_errors=True)
