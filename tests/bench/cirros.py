# SPDX-License-Identifier: MIT
"""A disk image through its firmware and boot loader to its login prompt, beside QEMU's machine `pc`."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

from common import KITE, QEMU, CannotMeasure, Figure, Running, ratios, summary

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lab"))
import guests  # noqa: E402
from harness import Skip  # noqa: E402

WORDS = (b"GRUB", b"cirros login:")
ROUNDS = 3      # at most, a boot being minutes where it is emulated
SECONDS = 540   # after which no round is begun that would not fit any more; two there are always
LIMIT = 900     # for one boot, on a busy machine


def prepare_cirros():
    """Finds the image; where it is goes to the lab with LAB_GUESTS."""
    guests.provide(["cirros"])


def commands(directory):
    """The two programs with the same machine: the image, which keeps nothing, and a seed, so that no guest waits for a service that is not there."""
    image, seed = (os.path.join(directory, name) for name in ("cirros.qcow2", "seed.iso"))
    shutil.copy(guests.cirros(), image)
    os.mkdir(f"{directory}/seed")
    with open(f"{directory}/seed/meta-data", "w", encoding="ascii") as file:
        file.write('{"instance-id": "i-bench"}')
    subprocess.run(["genisoimage", "-quiet", "-R", "-V", "cidata", "-o", seed, f"{directory}/seed"], check=True)
    machine = ["-m", "256", "-nographic", "-snapshot", "-drive", f"file={image},format=qcow2,if=virtio", "-drive", f"file={seed},format=raw,if=virtio",
               "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile="]
    return {"kite": KITE + machine, "qemu": QEMU + ["-M", "pc", "-accel", "kvm", "-cpu", "host"] + machine}


def boot(name, argv, words):
    """Seconds from exec to each word."""
    with Running(argv) as vmm:
        took = {word: vmm.until(word, LIMIT) for word in words}
    print(f"bench: cirros: {name}: " + ", ".join(f"{word.decode()} {seconds:.2f} s" for word, seconds in took.items()), file=sys.stderr, flush=True)
    return took


def rounds(programs, most):
    """{program: the seconds of each of its boots}. Who begins changes from round to round, so that what grows or ends meanwhile falls on both."""
    took = {name: [] for name in programs}
    begun = time.monotonic()
    for done in range(most):
        spent = time.monotonic() - begun
        if done >= 2 and spent + spent / done > SECONDS:
            break
        for name in sorted(programs, reverse=bool(done % 2)):
            took[name].append(boot(name, programs[name], WORDS))
    return took


def measure_cirros(runs, where):
    """Seconds from exec to both words, by rounds, as in measure_boot."""
    prepare_cirros()
    try:
        guests.cirros()
    except Skip as why:
        raise CannotMeasure(str(why)) from None
    with tempfile.TemporaryDirectory(prefix="bench-cirros-") as directory:
        programs = commands(directory)
        for name, argv in programs.items():  # files into the cache
            boot(name, argv, WORDS[:1])
        took = rounds(programs, min(runs, ROUNDS))
    figures = []
    for word in WORDS:
        seconds = {name: [boots[word] for boots in of] for name, of in took.items()}
        parts = {name: summary(values) for name, values in seconds.items()}
        parts["ratio"] = ratios(seconds, "kite", "qemu")
        figures.append(Figure(f"CirrOS to '{word.decode()}': Kite / QEMU pc", parts["ratio"]["median"], 0.9, parts=parts, where=where, amounts=" s"))
    return figures
