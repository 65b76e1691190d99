# SPDX-License-Identifier: MIT
"""qcow2 disks under Linux: every way of caching, chains, overlays that are thrown away, full hosts, kills. qemu-img has the last word on each."""
import os
import random
import re
import signal
import time

from disks import MIB, answer, blocks, drivers_ready, end, fio, host_fs, let_go, loop_device, md5, new_file, shell
from harness import STEP, case
from test_resize import controlled, order, wait_size

SIZE = 8 * MIB
VERIFY = ("--rw=randwrite --verify=crc32c --verify_fatal=1 --verify_backlog=32 --direct=1 --size=1536k --bssplit=512/20:4k/40:20k/20:64k/15:300k/5 "
          "--bs_unaligned=0 --randrepeat=0 --loops=1 --end_fsync=1")
ENGINES = ("--ioengine=libaio --iodepth=32", "--ioengine=io_uring --iodepth=32", "--ioengine=psync")
IMPORTS = {"vmdk": "-o subformat=streamOptimized", "vdi": "", "vpc": "-o force_size=on", "vhdx": ""}
WHOLE_MD5 = "dd if=/dev/{} bs=1M iflag=direct 2>/dev/null | md5sum"


def make(t, path, *options, size=SIZE):
    """An image made by qemu-img. Its path."""
    t.host("qemu-img", "create", "-q", "-f", "qcow2", *options, path, *((str(size),) if size else ()))
    return path


def check_image(t, path, leaks=False):
    """qemu-img finds nothing wrong; after a kill, leaked clusters are no fault."""
    text = t.host("sh", "-c", f"qemu-img check -q -f qcow2 {path} 2>&1; echo $?")
    t.check(text in (("0", "3") if leaks else ("0",)) or (leaks and text.endswith("\n3")), f"qemu-img check {path}: {text}")


def make_bases(t, directory):
    """Random bytes; text, compressed; and the random bytes under an image of smaller clusters that has a MiB of its own."""
    raw = f"{directory}/base.raw"
    with open(raw, "wb") as file:
        file.write(random.randbytes(SIZE))
    packed, layered = f"{directory}/packed.qcow2", f"{directory}/layered.qcow2"
    with open(f"{directory}/text", "wb") as file:
        file.write(b"".join(b"%511d\n" % n for n in range(SIZE // 512)))
    t.host("qemu-img", "convert", "-q", "-c", "-O", "qcow2", f"{directory}/text", packed)
    make(t, layered, "-b", raw, "-F", "raw", "-o", "cluster_size=4096", size=None)
    t.host("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 1M 1M", layered)
    return raw, packed, layered


@case
def qcow2_disks(t):
    """fio with every cache mode, over raw, qcow2 and compressed files, with four queues, on a block device; a discard; sizes; a restart."""
    seed = random.randrange(1 << 32)
    random.seed(seed)
    fifo = controlled(t)
    directory = host_fs(t, "fs", 400 * MIB)
    raw, packed, layered = make_bases(t, directory)
    device = loop_device(t, new_file(f"{directory}/loop", 2 * SIZE), "--sector-size", "4096")
    make(t, device, "-o", "preallocation=off")
    over = {  # the disk's file: what it is over, its drive's options, its device's
        "none": (f"-b {raw} -F raw", "cache=none", "num-queues=4,iothread=io0"),
        "writeback": (f"-b {layered} -F qcow2", "cache=writeback,l2-cache-size=64k,l2-cache-entry-size=512", "iothread=io0"),
        "writethrough": (f"-b {packed} -F qcow2", "cache=writethrough,aio=threads", ""),
        "directsync": (f"-b {layered} -F qcow2 -o cluster_size=2M,lazy_refcounts=on", "cache=directsync", "iothread=io0"),
        "unsafe": ("-o cluster_size=512", "cache=unsafe,discard=unmap,detect-zeroes=unmap", ""),
    }
    options = ["-object", "iothread,id=io0"]
    for n, (name, (base, drive, dev)) in enumerate(over.items()):
        path = make(t, f"{directory}/{name}.qcow2", *base.split(), size=None if "-b" in base else SIZE)
        options += ["-drive", f"file={path},format=qcow2,if=none,id=d{n},{drive}", "-device", f"virtio-blk-pci,drive=d{n},{dev}".rstrip(",")]
    options += ["-drive", f"file={device},format=qcow2,if=virtio,cache=none",                # vdf
                "-drive", f"file={layered},format=qcow2,if=virtio,snapshot=on,cache=none"]   # vdg
    kept = {path: md5(path, -1) for path in (raw, packed, layered)}
    guest = shell(t, "-smp", "2", *options, tools=True, reboot=True, memory=384)

    wants = {"vda": md5(raw, -1), "vdc": md5(f"{directory}/text", -1)}
    t.equal("what is read from below", {disk: answer(guest, WHOLE_MD5.format(disk))[:32] for disk in wants}, wants)
    fio(t, guest, VERIFY, {f"{disk}-{half}": f"--filename=/dev/{disk} --offset={half * 4}m {ENGINES[(n + half) % 3]}"
                           for n, disk in enumerate(f"vd{c}" for c in "abcdefg") for half in range(2)}, 150)
    t.equal("blkdiscard", answer(guest, "sync; /tools/blkdiscard -o 4194304 -l 4194304 /dev/vde; echo $?"), "0")
    t.check(blocks(f"{directory}/unsafe.qcow2") < 5 * MIB, f"after a discard {blocks(f'{directory}/unsafe.qcow2')} bytes are there")
    order(t, guest, fifo, f"resize d0 {16 * MIB}", "ok")
    wait_size(t, guest, "vda", 16 * MIB)
    guest.send("printf kite >/tmp/s; dd if=/tmp/s of=/dev/vda bs=1M seek=15 conv=sync,fsync 2>/dev/null\n")
    all_md5 = "; ".join(WHOLE_MD5.format(f"vd{c}") for c in "abcdefg")
    sums = answer(guest, all_md5, 120)
    guest.send("reboot -f\n")
    drivers_ready(guest)
    t.equal("the disks after a restart", answer(guest, all_md5, 120), sums)
    end(guest)
    t.equal("messages", re.sub(r"kite: control: .*\n", "", guest.stderr()), "")

    t.equal("what is only read", {path: md5(path, -1) for path in kept}, kept)
    for n, path in enumerate([f"{directory}/{name}.qcow2" for name in over] + [device]):
        check_image(t, path)
        t.host("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, f"{directory}/out")
        t.equal(f"{path} as qemu-img reads it (seed {seed})", md5(f"{directory}/out", -1), sums.replace(" -", "").split()[n])


RECORD = 4096
# Record i goes to its place, and what is acknowledged was fsynced. Other writes go on beside it.
WRITER = f"""i=0; while :; do
	printf 'record %{RECORD - 8}d\\n' $i | dd of=/dev/$DISK bs={RECORD} seek=$((i * 5 % 700)) conv=fsync 2>/dev/null && echo safe-$DISK-$i-
	i=$((i + 1))
done &
fio --output=/dev/null --name=x --filename=/dev/$DISK --offset=4m --size=4m --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --direct=1 --time_based --runtime=1000 &
"""


def safe(guest, disk):
    """The records of `disk` that were acknowledged."""
    return [int(n) for n in re.findall(rb"safe-%s-(\d+)-" % disk.encode(), guest.console)]


@case
def qcow2_space_and_kill(t):
    """A full host is an I/O error, and the image stays whole; a device that its owner makes larger; images that are only read; SIGKILL under
    load leaves what was fsynced, and leaks at most."""
    seed = random.randrange(1 << 32)
    random.seed(seed)
    directory = host_fs(t, "fs", 200 * MIB)
    raw, _, layered = make_bases(t, directory)
    os.mkdir(t.path("tmpfs"))
    t.host("mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", t.path("tmpfs"), undo=("umount", "-l", t.path("tmpfs")))
    full = make(t, t.path("tmpfs") + "/full.qcow2", "-b", layered, "-F", "qcow2", size=None)
    killed = {
        "vda": (make(t, f"{directory}/a.qcow2", "-b", raw, "-F", "raw", size=None), "cache=none"),
        "vdb": (make(t, f"{directory}/b.qcow2", "-b", layered, "-F", "qcow2", "-o", "lazy_refcounts=on", size=None), "cache=writeback,aio=threads"),
        "vdc": (make(t, f"{directory}/c.qcow2", "-o", "extended_l2=on"), "cache=writethrough,discard=unmap"),
    }
    options = ["-object", "iothread,id=io0"]
    for n, (path, mode) in enumerate(killed.values()):
        options += ["-drive", f"file={path},format=qcow2,if=none,id=d{n},{mode}", "-device", f"virtio-blk-pci,drive=d{n}" + (",iothread=io0" if n else "")]
    thin = new_file(f"{directory}/thin", 3 * MIB)
    device = make(t, loop_device(t, thin))
    options += ["-drive", f"file={full},format=qcow2,if=virtio", "-drive", f"file={layered},format=qcow2,if=virtio,readonly=on",
                "-drive", f"file={device},format=qcow2,if=virtio,cache=none,werror=enospc"]
    for form, how in IMPORTS.items():  # vdg and on
        path = f"{directory}/base.{form}"
        t.host("qemu-img", "convert", "-q", "-f", "raw", "-O", form, *how.split(), raw, path)
        options += ["-drive", f"file={path},format={form},if=virtio,readonly=on"]
    guest = shell(t, *options, tools=True)

    t.equal("formats that are only read", {form: answer(guest, WHOLE_MD5.format(f"vd{disk}"))[:32] for form, disk in zip(IMPORTS, "ghij")},
            dict.fromkeys(IMPORTS, md5(raw, -1)))
    t.equal("a read-only disk", answer(guest, "cat /sys/block/vde/ro; blockdev --setrw /dev/vde; dd if=/dev/zero of=/dev/vde bs=4096 count=1 "
                                       "conv=fsync 2>/dev/null; echo $?; dd if=/dev/vde bs=1M skip=1 count=1 2>/dev/null | head -c 1 | od -An -tx1"),
            "1 1  07")
    t.equal("writing on a full host", answer(guest, "dd if=/dev/zero of=/dev/vdd bs=64k oflag=direct >/tmp/dd 2>&1; echo $?; "
                                             "grep -c 'error\\|No space' /tmp/dd"), "1 1")
    t.equal("reading there", answer(guest, "dd if=/dev/vdd of=/dev/null bs=64k iflag=direct 2>&1 | sed 1q"), "128+0 records in")

    guest.send("dd if=/dev/urandom of=/dev/vdf bs=64k count=128 oflag=direct 2>/dev/null; echo fill''ed-$?\n")
    deadline = time.monotonic() + STEP
    while "is stopped" not in guest.stderr() and time.monotonic() < deadline:
        guest.pump(0.1)
    t.check(f"{device}': write" in guest.stderr() and "No space left" in guest.stderr(), f"with a device that is too small it says {guest.stderr()!r}")
    os.truncate(thin, 2 * SIZE)
    t.host("losetup", "-c", device)
    guest.kill(signal.SIGCONT)
    guest.expect(rb"filled-0")

    guest.send("PS2=\n")
    for disk in killed:
        guest.send(f"DISK={disk}\n{WRITER}")
    rounds = random.randrange(4, 10)
    while min(len(safe(guest, disk)) for disk in killed) < rounds:
        guest.expect(rb"safe-\w+-\d+-")
    time.sleep(random.uniform(0, 0.3))
    guest.kill(signal.SIGKILL)
    guest.wait()
    let_go(t, full, device, *(path for path, _ in killed.values()))
    for path in (full, device):
        check_image(t, path, leaks=True)
    for disk, (path, _) in killed.items():
        if "b.qcow2" in path:  # lazy refcounts are to be made anew, which Kite itself does when it next opens the image
            t.host(os.path.join(os.path.dirname(t.kite), "kite-img"), "check", "-q", "-r", "all", path)
        check_image(t, path, leaks=True)
        t.host("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, f"{directory}/out")
        with open(f"{directory}/out", "rb") as file:
            for i in safe(guest, disk):
                file.seek(i * 5 % 700 * RECORD)
                t.equal(f"record {i} of {path} (seed {seed})", file.read(RECORD), f"record {i:{RECORD - 8}d}\n".encode())
