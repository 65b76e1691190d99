# SPDX-License-Identifier: MIT
"""Disk figures: Kite beside QEMU, with the same image, the same options (aio=io_uring, cache=none, an iothread) and the same guest.

  disk         a bare-metal guest that polls its ring (tests/guest/blkbench.c), beside fio on the host: what the VMM itself costs
  disk-qcow2   the same guest on a qcow2 image that has all its clusters, beside a raw file of the same bytes, and QEMU with its own copy
  disk-linux   fio in a Linux guest

All programs stay up, and one operation is measured in each in turn. CPU time is that of the VMM's own threads: vCPUs belong to the guest.
1 MiB requests are four at a time.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from common import DEBUG_EXIT, GUEST, OUT, CannotMeasure, Figure, Running, kite, qemu, summary, thread_times
from vmmproc import resident_beside_ram

MIB = 1 << 20
SIZE = 1024     # MiB of the image, where it is a file
QCOW2_SIZE = 256
RAM_SIZE = 512  # MiB, where it is in memory
SECONDS = 1.5
# Name, fio's word, bytes, depth, the goal to QEMU, the goal to fio on the host.
OPERATIONS = (
    ("4 KiB random read, depth 1", "randread", 4096, 1, 1.0, None),
    ("4 KiB random read, depth 32", "randread", 4096, 32, 1.2, 0.8),
    ("4 KiB random write, depth 1", "randwrite", 4096, 1, 1.0, None),
    ("4 KiB random write, depth 32", "randwrite", 4096, 32, 1.2, 0.8),
    ("1 MiB sequential read", "read", MIB, 4, 1.0, None),
    ("1 MiB sequential write", "write", MIB, 4, 1.0, None),
)


PAYLOAD_GUEST = ["-m", "256", "-name", "bench,debug-threads=on", "-kernel", f"{GUEST}/blkbench.elf", "-serial", "stdio", *DEBUG_EXIT]


def disk_options(image, form="raw"):
    return ["-object", "iothread,id=io0", "-drive", f"file={image},format={form},if=none,id=d,cache=none,aio=io_uring",
            "-device", "virtio-blk-pci,drive=d,iothread=io0"]


class Vmm:
    """A VMM with a guest that answers a line `OPERATION BYTES DEPTH MILLISECONDS` with `done REQUESTS MICROSECONDS`."""

    def __init__(self, argv):
        self.vmm = Running(argv)

    def stop(self):
        self.vmm.__exit__()

    def send(self, line):
        self.vmm.proc.stdin.write(line.encode() + b"\n")
        self.vmm.proc.stdin.flush()

    def run(self, kind, size, depth, seconds):
        """(requests a second, microseconds of CPU a request)."""
        self.vmm.text = b""
        self.vmm.start = time.monotonic()
        before = thread_times(self.vmm.proc.pid)
        self.send(f"{kind} {size} {depth} {int(seconds * 1000)}")
        self.vmm.until(b"done ", 60 + seconds * 4)
        while not (found := re.search(rb"done (\d+) (\d+)\r?\n", self.vmm.text)):
            self.vmm.text += os.read(self.vmm.proc.stdout.fileno(), 4096)
        cpu = thread_times(self.vmm.proc.pid) - before
        if not int(found[1]):
            raise CannotMeasure(f"no requests done: {self.vmm.text!r}")
        return int(found[1]) / (int(found[2]) / 1e6), cpu * 1e6 / int(found[1])


class PayloadVmm(Vmm):
    """The same with tests/guest/blkbench.c, which needs no words about that."""

    def __init__(self, argv):
        super().__init__(argv)
        self.vmm.until(b"blkbench: ready")


class HostFio:
    """fio with io_uring on the file itself."""

    def __init__(self, image):
        self.image = image

    def stop(self):
        pass

    def run(self, kind, size, depth, seconds):
        text = subprocess.run(["fio", "--name=x", f"--filename={self.image}", "--direct=1", "--ioengine=io_uring", f"--rw={kind}",
                               f"--bs={size}", f"--iodepth={depth}", f"--runtime={int(seconds * 1000)}ms", "--time_based", "--output-format=json"],
                              stdout=subprocess.PIPE, check=True, timeout=60 + seconds * 4).stdout
        job = json.loads(text)["jobs"][0]
        done = job["read"]["total_ios"] + job["write"]["total_ios"]
        took = max(job["read"]["runtime"], job["write"]["runtime"]) / 1000
        return done / took, (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1000 / done


def figures(kind, results, where):
    """`results[operation][program]` are lists of (rate, CPU)."""
    made = []
    for name, _, _, _, goal, host_goal in OPERATIONS:
        got = results[name]
        rates = {program: summary([rate for rate, _ in values]) for program, values in got.items()}
        cpus = {program: summary([cpu for _, cpu in values]) for program, values in got.items()}

        def ratio(index, other):
            # By rounds, as the machine's other work falls on all of a round.
            return summary([k[index] / o[index] for k, o in zip(got["kite"], got[other])])
        to_qemu = ratio(0, "qemu")
        made.append(Figure(f"{kind}, {name}: Kite / QEMU", to_qemu["median"], goal, "x", dict(rates, ratio=to_qemu), where, more=True,
                           amounts="/s"))
        if "fio" in got and host_goal:
            to_fio = ratio(0, "fio")
            made.append(Figure(f"{kind}, {name}: Kite / fio on the host", to_fio["median"], host_goal, "x", dict(rates, ratio=to_fio), where,
                               more=True, amounts="/s"))
        cpu = ratio(1, "qemu")
        made.append(Figure(f"{kind}, {name}: CPU a request, Kite / QEMU", cpu["median"], 1.0, "x", dict(cpus, ratio=cpu), where,
                           amounts=" us"))
    return made


def measure(programs, runs, seconds=SECONDS):
    results = {name: {program: [] for program in programs} for name, *_ in OPERATIONS}
    for n in range(runs + 1):
        for name, kind, size, depth, _, _ in OPERATIONS:
            for program, vmm in programs.items():
                value = vmm.run(kind, size, depth, seconds if n else min(seconds, 0.3))
                if n:  # the first round only warms up
                    results[name][program].append(value)
    return results


def make_image(path, size=SIZE):
    """A file of random bytes, fully allocated."""
    if os.path.exists(path) and os.path.getsize(path) == size * MIB:
        return
    with open(path, "wb") as file:
        for _ in range(size):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())


def measure_beside(start_kite, start_qemu, others, image, kind, runs, where):
    """The figures of Kite, QEMU and `others`, all at work on one image, of which only Kite holds the lock."""
    programs = {}
    try:
        programs["kite"] = start_kite(disk_options(image))
        programs["qemu"] = start_qemu([o.replace("format=raw", "format=raw,file.locking=off") for o in disk_options(image)])
        programs.update(others)
        made = figures(kind, measure(programs, runs), where)
        resident = {name: resident_beside_ram(programs[name].vmm.proc.pid) / 1024 for name in ("kite", "qemu")}
        made.append(Figure(f"{kind}: memory beside the guest's, after all that", resident["kite"], 4.0, "MiB",
                           {name: {"median": value, "runs": 1} for name, value in resident.items()}, where))
        return made
    finally:
        for vmm in programs.values():
            vmm.stop()


def measure_disk(runs, where):
    if not shutil.which("fio"):
        raise CannotMeasure("fio is not installed")
    image = f"{OUT}/disk.raw"
    make_image(image)
    return measure_beside(lambda options: PayloadVmm(kite(*PAYLOAD_GUEST, *options)), lambda options: PayloadVmm(qemu(*PAYLOAD_GUEST, *options)),
                          {"fio": HostFio(image)}, image, "disk", runs, where)


def qcow2_figures(results, where):
    """Of each operation, by rounds: against raw, against QEMU, and the CPU time that the format takes."""
    made = []
    for name, _, _, _, _, _ in OPERATIONS:
        got = results[name]

        def parts(index, other):
            values = {program: summary([value[index] for value in got[program]]) for program in ("kite", other)}
            return dict(values, ratio=summary([k[index] / o[index] for k, o in zip(got["kite"], got[other])]))
        for index, other, text, goal, more in ((0, "raw", "Kite / Kite on raw", 0.9, True), (0, "qemu", "Kite / QEMU", 1.0, True),
                                               (1, "raw", "CPU a request, Kite / Kite on raw", None, False)):
            part = parts(index, other)
            made.append(Figure(f"qcow2, {name}: {text}", part["ratio"]["median"], goal, "x", part, where, more=more,
                               amounts="/s" if index == 0 else " us"))
    return made


def measure_disk_qcow2(runs, where):
    if not shutil.which("qemu-img"):
        raise CannotMeasure("qemu-img is not installed")
    # In memory where that takes direct I/O (Linux 6.6 and later): what a request costs is then what the programs make of it.
    with tempfile.TemporaryDirectory(dir=memory_directory()) as directory:
        return measure_qcow2_in(directory, runs, where)


def memory_directory():
    try:
        os.close(os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE | os.O_DIRECT))
    except OSError:
        return OUT
    return "/dev/shm"


def measure_qcow2_in(directory, runs, where):
    raw, images = f"{directory}/disk.raw", {program: f"{directory}/disk-{program}.qcow2" for program in ("kite", "qemu")}
    make_image(raw, QCOW2_SIZE)
    for image in images.values():
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-S", "0", raw, image], check=True)
    programs = {}
    try:
        programs["kite"] = PayloadVmm(kite(*PAYLOAD_GUEST, *disk_options(images["kite"], "qcow2")))
        programs["raw"] = PayloadVmm(kite(*PAYLOAD_GUEST, *disk_options(raw)))
        programs["qemu"] = PayloadVmm(qemu(*PAYLOAD_GUEST, *disk_options(images["qemu"], "qcow2")))
        # Short turns and many of them: the ratios are nearer to one than what else the machine does lets one turn be to the next.
        return qcow2_figures(measure(programs, 4 * runs, 0.25), where)
    finally:
        for vmm in programs.values():
            vmm.stop()


# A guest's shell becomes one that obeys Vmm's lines.
OBEY = r"""
stty -echo
while read -r kind size depth ms; do
	fio --name=x --thread --filename=/dev/vda --direct=1 --ioengine=io_uring --rw=$kind --bs=$size --iodepth=$depth --time_based \
		--runtime=${ms}ms --randrepeat=0 --output-format=json --output=/tmp/out
	set -- $(sed -n 's/.*"\(total_ios\|runtime\)" : \([0-9]*\),.*/\2/p' /tmp/out)
	case $kind in
	*read) echo "done" $2 ${1}000 ;;
	*) echo "done" $4 ${3}000 ;;
	esac
done
"""


class LinuxVmm(Vmm):
    """The same with Linux and its fio."""

    def __init__(self, argv):
        super().__init__(argv)
        self.vmm.until(b"GUEST-READY")
        for line in OBEY.strip().splitlines():
            self.send(line)


def ram_disk():
    """A disk in memory: what a request costs is then what the programs make of it."""
    if not os.path.exists("/dev/ram0"):
        subprocess.run(["modprobe", "brd", "rd_nr=1", f"rd_size={RAM_SIZE * 1024}"], check=True, stderr=subprocess.PIPE)
    with open("/dev/ram0", "wb", buffering=0) as file:
        for _ in range(RAM_SIZE):
            file.write(os.urandom(MIB))
    return "/dev/ram0"


def measure_disk_linux(runs, where):
    try:
        image = ram_disk()
    except (subprocess.CalledProcessError, OSError) as why:
        raise CannotMeasure(f"no RAM disk: {why}") from None
    with open(f"{OUT}/linux.json", encoding="ascii") as file:
        files = json.load(file)
    guest = ["-m", "512", "-name", "bench,debug-threads=on", "-cpu", "host", "-kernel", files["kernel"], "-initrd", files["tools"],
             "-append", "console=ttyS0 quiet panic=-1 kite.do=shell kite.modules=virtio,tools", "-serial", "stdio"]
    return measure_beside(lambda options: LinuxVmm(kite(*guest, *options)), lambda options: LinuxVmm(qemu(*guest, *options)), {}, image,
                          "fio in Linux", runs, where)
