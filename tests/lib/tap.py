"""Test results as TAP lines, for test programs written in Python."""

import sys
import threading
import traceback
import unittest


class Tap:
    """Collects results, from any thread, and prints each as it comes."""

    def __init__(self, out=sys.stdout):
        self.out = out
        self.lock = threading.Lock()
        self.count = 0
        self.failures = 0

    def _line(self, good, name, directive="", notes=""):
        with self.lock:
            self.count += 1
            self.failures += not good
            text = "".join(f"# {x}\n" for x in notes.splitlines())
            name = name.replace("#", "\\#")
            text += f"{'ok' if good else 'not ok'} {self.count} {name}{directive}\n"
            self.out.write(text)
            self.out.flush()

    def ok(self, name):
        self._line(True, name)

    def fail(self, name, notes=""):
        self._line(False, name, notes=notes)

    def skip(self, name, reason):
        self._line(True, name, f" # SKIP {reason}")

    def note(self, text):
        with self.lock:
            self.out.write("".join(f"# {x}\n" for x in text.splitlines()))
            self.out.flush()

    def done(self):
        """Print the plan; returns the exit status."""
        self.out.write(f"1..{self.count}\n")
        self.out.flush()
        return 1 if self.failures else 0


def skip_all(reason):
    """The whole program is skipped."""
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


class _Result(unittest.TestResult):
    def __init__(self, tap):
        super().__init__()
        self.tap = tap

    @staticmethod
    def _name(test):
        return test.id().removeprefix("__main__.")

    def addSuccess(self, test):
        self.tap.ok(self._name(test))

    def addSkip(self, test, reason):
        self.tap.skip(self._name(test), reason)

    def addFailure(self, test, err):
        self.tap.fail(self._name(test), "".join(traceback.format_exception(*err)))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.tap.fail(self._name(subtest), "".join(traceback.format_exception(*err)))


def run_unittests():
    """In place of unittest.main(): the same tests, results as TAP."""
    tap = Tap()
    unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]).run(_Result(tap))
    sys.exit(tap.done())
