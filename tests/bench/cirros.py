# SPDX-License-Identifier: MIT
"""A disk image through its firmware and boot loader to its login prompt, beside QEMU's machine `pc`."""
import os
import shutil
import subprocess
import sys
import tempfile

from common import KITE, QEMU, CannotMeasure, Figure, Running, summary

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lab"))
import guests  # noqa: E402
from harness import Skip  # noqa: E402

WORDS = (b"GRUB", b"cirros login:")
RUNS = 3        # at most: a boot takes minutes
SECONDS = 1200  # for one


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


def measure_cirros(runs, where):
    """Seconds from exec to both words, by rounds, as in measure_boot."""
    prepare_cirros()
    try:
        guests.cirros()
    except Skip as why:
        raise CannotMeasure(str(why)) from None
    times = {name: {word: [] for word in WORDS} for name in ("kite", "qemu")}
    with tempfile.TemporaryDirectory(prefix="bench-cirros-") as directory:
        programs = commands(directory)
        for argv in programs.values():  # files into the cache
            with Running(argv) as vmm:
                vmm.until(WORDS[0], SECONDS)
        for _ in range(min(runs, RUNS)):
            for name, argv in programs.items():
                with Running(argv) as vmm:
                    for word in WORDS:
                        times[name][word].append(vmm.until(word, SECONDS))
    figures = []
    for word in WORDS:
        parts = {name: summary(of[word]) for name, of in times.items()}
        parts["ratio"] = summary([kite / qemu for kite, qemu in zip(times["kite"][word], times["qemu"][word])])
        figures.append(Figure(f"CirrOS to '{word.decode()}': Kite / QEMU pc", parts["ratio"]["median"], 0.9, parts=parts, where=where, amounts=" s"))
    return figures
