# SPDX-License-Identifier: MIT
"""What the guest was told is safe, is: Kite is killed at any moment, and started again."""
import random
import re
import signal
import time

from disks import MIB, answer, end, host_fs, let_go, new_file, shell
from harness import case

RECORD = 4096
# Record i goes to its place on a disk, and into a file of its own in a file system on another. What is acknowledged was fsynced.
WRITER = f"""i=$FIRST; while :; do
	printf 'record %{RECORD - 8}d\\n' $i | dd of=/dev/$DISK bs={RECORD} seek=$i conv=fsync 2>/dev/null &&
	echo file $i of $DISK | dd of=/mnt/$DISK-$i conv=fsync 2>/dev/null && echo safe-$DISK-$i-
	i=$((i + 1))
done &
"""
MODES = {"none": "cache=none", "writeback": "cache=writeback,aio=threads", "directsync": "cache=directsync"}


def safe(guest, disk):
    """The records of `disk` that were acknowledged."""
    return [int(n) for n in re.findall(rb"safe-%s-(\d+)-" % disk.encode(), guest.console)]


def kill_writers(t, guest, first, rounds):
    """Starts a writer on each of three disks, and kills Kite somewhere after `rounds` acknowledgements. {disk: the records that are safe}."""
    guest.send("PS2=\n")
    for disk in ("vda", "vdb", "vdc"):
        guest.send(f"DISK={disk} FIRST={first}\n{WRITER}")
    while min(len(safe(guest, disk)) for disk in ("vda", "vdb", "vdc")) < rounds:
        guest.expect(rb"safe-\w+-\d+-")
    time.sleep(random.uniform(0, 0.2))  # anywhere in a request
    guest.kill(signal.SIGKILL)
    guest.wait()
    return {disk: safe(guest, disk) for disk in ("vda", "vdb", "vdc")}


@case
def disk_killed(t):
    """SIGKILL again and again: every record that the guest was told is safe is in the file, and every such file in a journaled file system."""
    seed = random.randrange(1 << 32)
    random.seed(seed)
    directory = host_fs(t, "fs", 120 * MIB)
    options, paths = ["-object", "iothread,id=io0"], []
    for n, (name, mode) in enumerate([*MODES.items(), ("ext4", "cache=none")]):
        paths.append(new_file(f"{directory}/{name}.raw", 24 * MIB))
        options += ["-drive", f"file={paths[-1]},format=raw,if=none,id=d{n},{mode}",
                    "-device", f"virtio-blk-pci,drive=d{n}" + (",iothread=io0" if n % 2 == 0 else "")]
    t.host("mkfs.ext4", "-q", paths[-1])
    acknowledged = {"vda": [], "vdb": [], "vdc": []}
    for turn in range(3):
        guest = shell(t, *options, tools=True)
        check_files(t, guest, acknowledged)
        for disk, records in kill_writers(t, guest, turn * 1000, random.randrange(3, 20)).items():
            acknowledged[disk] += records
        let_go(t, *paths)
        for disk, path in zip(acknowledged, paths):
            check_records(t, f"{path} (seed {seed}, turn {turn})", path, acknowledged[disk])
    guest = shell(t, *options, tools=True)
    check_files(t, guest, acknowledged)
    answer(guest, "umount /mnt")
    end(guest)
    t.host("e2fsck", "-fn", paths[-1])


def check_records(t, what, path, records):
    """Each is in its place."""
    with open(path, "rb") as file:
        for i in records:
            file.seek(i * RECORD)
            t.equal(f"record {i} of {what}", file.read(RECORD), f"record {i:{RECORD - 8}d}\n".encode())


def check_files(t, guest, acknowledged):
    """Mounts the file system, which plays its journal back, and looks for each record's file."""
    t.equal("mount", answer(guest, "mkdir /mnt; mount -t ext4 /dev/vdd /mnt; echo $?"), "0")
    found = set(re.findall(r"(vd.-\d+):file (\S+ of vd.)", answer(guest, "cd /mnt; grep -s . vd*; cd /")))
    missing = {(f"{disk}-{i}", f"{i} of {disk}") for disk, records in acknowledged.items() for i in records} - found
    t.check(not missing, f"files that were safe are gone: {sorted(missing)}")
