# SPDX-License-Identifier: MIT
"""Disk images that tests boot: CirrOS, and boot sectors of our own."""
import os
import shutil
import subprocess
import sys
import urllib.request

from harness import Skip

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CIRROS = "cirros-0.5.3-x86_64.qcow2"
URL = "https://download.cirros-cloud.net/0.5.3/cirros-0.5.3-x86_64-disk.img"


def find():
    """Where guests' images are: $KITE_GUESTS, else shared/guests beside the sources, else what CirrOS's own site has, which is kept. Says which; None
    without any."""
    kept = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "kite-guests")
    for place in (os.environ.get("KITE_GUESTS"), os.path.join(os.path.dirname(ROOT), "shared", "guests"), kept):
        if place and os.path.exists(os.path.join(place, CIRROS)):
            print(f"run: guests' images are those in {place}", file=sys.stderr)
            return place
    os.makedirs(kept, exist_ok=True)
    image = os.path.join(kept, CIRROS)
    try:
        with urllib.request.urlopen(URL, timeout=60) as source, open(f"{image}.part", "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        print(f"run: no guests' images: {URL}: {error}", file=sys.stderr)
        return None
    os.replace(f"{image}.part", image)
    print(f"run: guests' images are those of {URL}", file=sys.stderr)
    return kept


def cirros():
    """The CirrOS image."""
    image = os.path.join(os.environ.get("KITE_GUESTS", ""), CIRROS)
    if not os.path.exists(image):
        raise Skip(f"no {CIRROS}: put it, or what {URL} has, into a directory and name that in KITE_GUESTS")
    return image


def cirros_raw(t):
    """A raw copy of it in the test's directory."""
    if not shutil.which("qemu-img"):
        raise Skip("no qemu-img: install qemu-utils")
    t.host("qemu-img", "convert", "-O", "raw", cirros(), t.path("cirros.raw"))
    return t.path("cirros.raw")


def boot_sector(t, name, second=b"", size=1 << 20):
    """A disk with bootsector.S, called `name` (four letters), and `second` in its second sector."""
    code = t.path("bootsector")
    if not os.path.exists(code):
        for command in (["as", "--32", "-o", f"{code}.o", f"{HERE}/bootsector.S"],
                        ["ld", "-m", "elf_i386", "--oformat", "binary", "-Ttext", "0x7c00", "-o", code, f"{code}.o"]):
            subprocess.run(command, check=True)
    with open(code, "rb") as file:
        sector = file.read().replace(b"NAME", name.encode())
    return t.write(f"{name}.raw", sector + second.ljust(512, b"\0"), size)
