# SPDX-License-Identifier: MIT
"""What the benchmarks share: the programs that are compared, how they are run, and what a figure is."""
import os
import re
import select
import shlex
import statistics
import subprocess
import time

BUILD = os.environ.get("B", "build")
KITE = shlex.split(os.environ.get("KITE", f"{BUILD}/kite"))
QEMU = shlex.split(os.environ.get("QEMU", "qemu-system-x86_64"))
OUT = f"{BUILD}/bench"
GUEST = f"{BUILD}/guest"
DEBUG_EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


class CannotMeasure(Exception):
    """Why, in words."""


def kite(*args, program=None):
    return (program or KITE) + ["-nodefaults", "-no-reboot", *args]


def qemu(*args):
    return QEMU + ["-M", "q35", "-nodefaults", "-no-reboot", "-accel", "kvm", "-display", "none", *args]


def kite_microvm(*args, program=None):
    return kite("-M", "microvm", *args, program=program)


def qemu_microvm(*args):
    """With the options that its documentation gives for the fastest start."""
    return QEMU + ["-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=off", "-nodefaults", "-no-reboot", "-accel", "kvm", "-display", "none",
                   *args]


BOARDS = {"pc": (kite, qemu), "microvm": (kite_microvm, qemu_microvm)}


def summary(values):
    q1, _, q3 = statistics.quantiles(values, n=4)
    return {"median": statistics.median(values), "q1": q1, "q3": q3, "runs": len(values)}


def same_work(what, done):
    """Raises unless every program has done the same: `done` is {program: what it did}. A ratio of different work says nothing."""
    if len({repr(work) for work in done.values()}) > 1:
        raise CannotMeasure(f"{what}: not the same work, so no ratio: " + ", ".join(f"{program} {work}" for program, work in done.items()))


def ratios(values, a, b):
    """Of each round, `a` to `b`: what else the machine did fell on both."""
    return summary([x / y for x, y in zip(values[a], values[b])])


class Figure:
    """A ratio or an amount with its goal, at most or with `more` at least; `parts` are the values that it comes from."""

    def __init__(self, name, value, goal, unit="x", parts=None, where="here", more=False, amounts=" ms"):
        self.name, self.value, self.goal, self.unit, self.parts, self.where = name, value, goal, unit, parts or {}, where
        self.more, self.amounts, self.group = more, amounts, None

    def verdict(self):
        if self.goal is None:
            return "-"
        return "reached" if (self.value >= self.goal if self.more else self.value <= self.goal) else "missed"

    def dump(self):
        return dict(vars(self), verdict=self.verdict())

    @classmethod
    def undump(cls, dumped):
        made = cls(*(dumped[key] for key in ("name", "value", "goal", "unit", "parts", "where", "more", "amounts")))
        made.group = dumped["group"]
        return made


# Running things ----------------------------------------

def timed(argv, status):
    """Runs a program to its end: (CPU seconds, wall seconds)."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1, 2)]
    start = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    _, code, usage = os.wait4(pid, 0)
    wall = time.monotonic() - start
    os.close(null)
    if os.waitstatus_to_exitcode(code) != status:
        raise CannotMeasure(f"status {os.waitstatus_to_exitcode(code)} instead of {status} from: {shlex.join(argv)}")
    return usage.ru_utime + usage.ru_stime, wall


class Running:
    """A VMM in the background; use with `with`."""

    def __init__(self, argv):
        self.argv, self.text = argv, b""
        self.start = time.monotonic()
        self.proc = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()

    def until(self, word, timeout=120):
        """Seconds from the start until `word` is on the console."""
        fd = self.proc.stdout.fileno()
        while word not in self.text:
            left = self.start + timeout - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise CannotMeasure(f"no {word.decode()} within {timeout} s from: {shlex.join(self.argv)}")
            data = os.read(fd, 65536)
            if not data:
                tail = self.text.decode(errors="replace").strip().splitlines()[-6:]
                raise CannotMeasure(f"ended early ({' / '.join(tail)}): {shlex.join(self.argv)}")
            self.text += data
        return time.monotonic() - self.start


def switches(pid):
    """Context switches of each thread but the vCPUs, which belong to the guest."""
    result = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii", errors="replace") as f:
            text = f.read()
        name = re.search(r"^Name:\s*(.*)$", text, re.M).group(1)
        if not re.search(r"cpu", name, re.I):
            result[f"{name}/{tid}"] = sum(int(n) for n in re.findall(r"ctxt_switches:\s*(\d+)", text))
    return result


def wakeups(pid, seconds):
    before = switches(pid)
    time.sleep(seconds)
    after = switches(pid)
    return sum(after[t] - before.get(t, 0) for t in after)


def thread_times(pid):
    """Seconds of CPU time that the threads but the vCPUs have used, those of the kernel that work for them included."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii", errors="replace") as f:
                name = f.read()
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                nanoseconds = int(f.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # a worker that has ended
        if "CPU" not in name:
            total += nanoseconds
    return total / 1e9
