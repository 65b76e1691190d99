# SPDX-License-Identifier: MIT
"""Machines that are stopped and go on: nothing of a disk's work is lost, and the guest's clocks go on where the time is."""
import time

from disks import MIB, answer, end, host_fs, new_file, shell
from harness import BOOT, case
from qmp import Qmp

CYCLES = 1000
FIO = ("fio --eta=never --output=/tmp/fio --thread --rw=randwrite --verify=crc32c --verify_fatal=1 --verify_backlog=64 --direct=1 --size=8m --loops=3 "
       "--bssplit=512/20:4k/60:64k/20 --bs_unaligned=0 --randrepeat=0 --name=a --filename=/dev/vda --ioengine=libaio --iodepth=32 "
       "--name=b --filename=/dev/vda --offset=8m --ioengine=io_uring --iodepth=32")


@case
def stop_cont_fio(t):
    """A thousand stops under fio, which reads back what it wrote, again and again."""
    disk, path = new_file(f"{host_fs(t, 'fs', 64 * MIB)}/disk", 16 * MIB), t.path("qmp")
    guest = shell(t, "-drive", f"file={disk},format=raw,if=none,id=d,cache=none", "-object", "iothread,id=io",
                  "-device", "virtio-blk-pci,drive=d,iothread=io", "-qmp", f"unix:{path},server=on,wait=off", tools=True)
    qmp = Qmp(path)
    guest.send(f"{FIO} >/tmp/said 2>&1; echo \"<$? of fio>\"\n")
    before = written(qmp)
    for n in range(CYCLES):
        t.check(b" of fio>" not in guest.console, f"fio was done after {n} cycles")
        qmp.ask("stop")
        t.check(not qmp.ask("query-status")["running"], "it runs after stop")
        qmp.ask("cont")
        guest.pump(0.01)
    done = written(qmp) - before
    status = guest.expect(rb"<(\d+) of fio>", 4 * BOOT)[1]
    t.check(status == b"0", f"fio: {status}: {answer(guest, 'cat /tmp/fio | head -c 500')}")
    print(f"stop_cont_fio: {CYCLES} cycles, {done // 1024} KiB written meanwhile, {written(qmp) // 1024} KiB in all", flush=True)
    t.check(done > MIB, f"only {done} bytes were written between the stops")
    start = time.time()
    said = int(answer(guest, "date +%s"))
    t.check(start - 5 < said < time.time() + 5, "the guest's clock is wrong")
    end(guest)
    t.equal("messages", guest.stderr(), "")


def written(qmp):
    return qmp.ask("query-blockstats")[0]["stats"]["wr_bytes"]
