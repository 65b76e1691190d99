#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the benchmarks compute, on numbers that are known: no guests, no programs but cpio. Part of make check."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "guest")]
import boot  # noqa: E402
import cirros  # noqa: E402
import compare  # noqa: E402
import net  # noqa: E402
import net_linux  # noqa: E402
import run  # noqa: E402
from common import CannotMeasure, Figure, ratios, same_work, summary  # noqa: E402
from plot import plot  # noqa: E402

BOOT_TEXT = """kite: boot: 1.000 ms, CPU 0.900 ms: main
kite: boot: 2.000 ms, CPU 1.900 ms: kernel file open
kite: boot: 101.000 ms, CPU 90.000 ms: machine made, kernel in its memory
kite: boot: 102.000 ms, CPU 91.000 ms: files and networks open
kite: boot: 103.000 ms, CPU 92.000 ms: devices made, the guest begins
kite: boot: 603.000 ms, CPU 500.000 ms: 0x60 user space
GUEST-INIT\r
mark drivers 0.200000\r
mark init 0.450000\r
"""


class Cirros(unittest.TestCase):
    def rounds(self, seconds):
        """How many rounds there are, and in what order, when one takes `seconds`."""
        clock, order = [0.0], []

        def boot_of(name, *_):
            order.append(name)
            clock[0] += seconds / 2
            return {}

        with mock.patch.object(cirros, "boot", boot_of), mock.patch.object(cirros.time, "monotonic", lambda: clock[0]):
            took = cirros.rounds({"kite": [], "qemu": []}, 3)
        self.assertEqual([len(boots) for boots in took.values()], [len(order) // 2] * 2)
        return order

    def test_no_round_that_does_not_fit(self):
        self.assertEqual(self.rounds(cirros.SECONDS / 3), ["kite", "qemu", "qemu", "kite", "kite", "qemu"])
        self.assertEqual(self.rounds(cirros.SECONDS / 3 + 1), ["kite", "qemu", "qemu", "kite"])

    def test_two_rounds_at_least(self):
        self.assertEqual(len(self.rounds(2 * cirros.SECONDS)), 4)


class Common(unittest.TestCase):
    def test_ratio_is_that_of_the_rounds(self):
        # A slow round slows both: the ratio of the medians would be 0.2.
        values = {"kite": [1.0, 10.0, 1.0, 10.0, 1.0], "qemu": [2.0, 20.0, 2.0, 20.0, 5.0]}
        self.assertEqual(ratios(values, "kite", "qemu")["median"], 0.5)

    def test_summary(self):
        got = summary([1, 2, 3, 4, 5, 6, 7])
        self.assertEqual((got["q1"], got["median"], got["q3"], got["runs"]), (2, 4, 6, 7))

    def test_other_work_has_no_ratio(self):
        same_work("reads", {"kite": 100, "qemu": 100, "floor": 100})
        with self.assertRaisesRegex(CannotMeasure, "reads: not the same work.*kite 100, qemu 99"):
            same_work("reads", {"kite": 100, "qemu": 99})

    def test_verdicts(self):
        self.assertEqual(Figure("a", 1.2, 1.3).verdict(), "reached")
        self.assertEqual(Figure("a", 1.4, 1.3).verdict(), "missed")
        self.assertEqual(Figure("a", 1.2, 1.3, more=True).verdict(), "missed")
        self.assertEqual(Figure("a", 1.2, None).verdict(), "-")

    def test_figures_survive_the_lab(self):
        figure = Figure("a", 1.2, 1.3, "MiB", {"kite": summary([1, 2])}, "lab", True, " us")
        figure.group = "block"
        self.assertEqual(Figure.undump(figure.dump()).dump(), figure.dump())


class Groups(unittest.TestCase):
    def test_names(self):
        class Parser:
            def error(self, text):
                raise ValueError(text)
        self.assertEqual(run.chosen(["memory", "size"], Parser()), ["memory", "idle", "crowd", "idle-linux", "size"])
        self.assertEqual(run.chosen(["disk", "start"], Parser()), ["start", "disk"])
        with self.assertRaisesRegex(ValueError, "no nonsense"):
            run.chosen(["nonsense"], Parser())

    def test_table(self):
        text = run.table([Figure("start", 1.25, 1.3, parts={"kite": summary([2.0, 2.2])}), Figure("size", 1106, 600, "KiB")])
        self.assertRegex(text, r"start +here +1.25 +<= 1.3 +reached +kite 2.10 \[")
        self.assertRegex(text, r"size +here +1106 KiB +<= 600 +missed")

    def test_plot(self):
        figures = [Figure("a", 0.5, 1.0, parts={"ratio": summary([0.4, 0.5, 0.6])}), Figure("b", 700, 600, "KiB"), Figure("c", 3, None, "")]
        with tempfile.TemporaryDirectory() as directory:
            if not plot("group", figures, f"{directory}/group.svg"):
                self.skipTest("python3-matplotlib is not installed")
            with open(f"{directory}/group.svg", encoding="utf-8") as file:
                self.assertIn("</svg>", file.read())


class Boot(unittest.TestCase):
    def test_phases(self):
        got = boot.phases(BOOT_TEXT)
        for phase, seconds in zip(boot.PHASES, (0.003, 0.1, 0.2, 0.25, 0.05)):
            self.assertAlmostEqual(got[phase], seconds, msg=phase)
        self.assertAlmostEqual(sum(got.values()), 0.603)
        self.assertEqual(boot.phases(BOOT_TEXT.replace("mark init", "mark")), {})

    @unittest.skipUnless(shutil.which("cpio"), "cpio is not installed")
    def test_archive(self):
        archive = boot.newc([("init", 0o100755, b"12345"), ("empty", 0o100644, b"")])
        got = subprocess.run(["cpio", "-itv", "--quiet"], input=archive, stdout=subprocess.PIPE, check=True).stdout.decode()
        self.assertRegex(got, r"-rwxr-xr-x +1 root +root +5 .* init\n-rw-r--r-- +1 root +root +0 .* empty\n")


class Net(unittest.TestCase):
    def test_said(self):
        self.assertEqual(net.rate_of("go\ndone 12 34 56\r\n"), (12, 34, 56))
        self.assertEqual(net.rate_of("ready\ndone 12 34\n"), (12, 34, 0))
        self.assertIsNone(net.rate_of("done 12 34"))  # the line is not whole yet

    def test_figures(self):
        # (rate, CPU, amount), twice as fast with half of the time in each of three rounds of which each is another.
        results = {name: {"kite": [(2.0 * n, 1.0, 10**9) for n in (1, 5, 3)], "qemu": [(1.0 * n, 2.0, 10**9) for n in (1, 5, 3)]}
                   for name, *_ in net.OPERATIONS}
        made = {figure.name: figure for figure in net.figures("tap", results, "here")}
        tcp, ping = made["tap, TCP to the guest: Kite / QEMU"], made["tap, ping round trip: Kite / QEMU"]
        self.assertEqual((tcp.value, tcp.goal, tcp.verdict()), (2.0, 1.2, "reached"))
        self.assertEqual((ping.value, ping.goal, ping.verdict()), (2.0, 1.0, "missed"))
        self.assertEqual(made["tap, CPU a gigabyte, TCP from the guest: Kite / QEMU"].verdict(), "reached")
        self.assertEqual(made["tap, CPU a packet, 64-byte UDP to the guest: Kite / QEMU"].verdict(), "-")
        user = {figure.name: figure.goal for figure in net.figures("user", results, "here")}
        self.assertEqual(user["user, TCP to the guest: Kite / QEMU"], 1.0)

    def test_linux_figures_of_few_rounds(self):
        results = {"vhost": {}, "tap": {"TCP to the guest": {"kite": [3e6], "qemu": [2e6]}, "ping round trip": {"kite": [5.0, 6.0], "qemu": [10.0]}}}
        made = {figure.name: figure for figure in net_linux.figures(results, "lab")}
        self.assertEqual(made["Linux, tap, TCP to the guest: Kite / QEMU"].value, 1.5)
        self.assertEqual(made["Linux, tap, ping round trip: Kite / QEMU"].value, 0.5)
        self.assertEqual(len(made), 2)
        self.assertIn("TCP", run.table(list(made.values())))

    def test_a_round_that_fails_in_part(self):
        class Guest:
            def __init__(self, broken):
                self.broken = broken

            def iperf(self, options):
                if self.broken and "-u" in options:
                    raise CannotMeasure("nobody there")
                return 1.0, None if "-u" in options else 2.0

            @staticmethod
            def ping():
                return 3.0
        got = []
        failed = net_linux.one_round({"kite": Guest(False), "qemu": Guest(True)}, lambda *what: got.append(what))
        self.assertEqual(len(failed), 2)
        self.assertNotIn("64-byte UDP to the guest", [what for what, _, _ in got])  # of both, or of none
        self.assertEqual(got.count(("ping round trip", "qemu", 3.0)), 1)

    def test_parts_are_kept(self):
        def parts(_runs, _where):
            yield [Figure("a", 1, 1)], ["not all"]
            raise CannotMeasure("the time was up")
        kept = []
        with mock.patch.dict(run.MEASURES, {"net-linux": ("network", parts, "apart")}), mock.patch("sys.stderr"):
            figures, missing = run.measure_here(["net-linux"], 2, "lab", lambda *what: kept.append(what))
        self.assertEqual([figure.group for figure in figures], ["network"])
        self.assertEqual(missing, {"net-linux": "lab: not all; the time was up"})
        self.assertEqual((kept[0][0][0].name, kept[0][1]), ("a", {"net-linux": "lab: not all"}))


class Compare(unittest.TestCase):
    @staticmethod
    def line(base, now, more=False):
        return compare.Line("x", {"base": base, "now": now}, "ms", more)

    def test_worse(self):
        self.assertTrue(self.line([1.0] * 5, [1.06] * 5).worse(5))
        self.assertFalse(self.line([1.0] * 5, [1.04] * 5).worse(5))
        self.assertFalse(self.line([1.06] * 5, [1.0] * 5).worse(5))
        self.assertTrue(self.line([106.0] * 5, [100.0] * 5, more=True).worse(5))
        # Rounds that differ more than the programs say nothing.
        self.assertFalse(self.line([1.0] * 5, [0.8, 0.9, 1.06, 1.2, 1.3]).worse(5))

    def test_text(self):
        self.assertRegex(self.line([1.0] * 5, [1.1] * 5).text(5), r"^WORSE +1\.100 \[1\.100-1\.100\]  x: 1 to 1\.1 ms")
        self.assertRegex(self.line([1.0] * 5, [0.9] * 5).text(5), r"^better 0\.900")


if __name__ == "__main__":
    unittest.main(verbosity=0)
