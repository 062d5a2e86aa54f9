"""Handlers of the signals that end a run, which environments cannot replace."""

import os
import signal

_set = signal.signal


class Handlers:
    """Handlers of the signals `numbers`.

    C code writes each signal's number to the file `wakeup`, whatever Python is doing.
    `interrupts()` says whether the code that runs is to be interrupted.
    """

    def __init__(self, numbers, wakeup, interrupts):
        self.interrupts = interrupts
        self.wakeup = wakeup
        # Under `nohup` a run goes on after its terminal is closed.
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self.before = {
            number: signal.getsignal(number)
            for number in numbers
            if number != signal.SIGHUP or not nohup
        }
        # Processes that environments fork must not write to `wakeup`.
        os.register_at_fork(after_in_child=self.release)

    def take(self):
        """Sets the handlers, again if an environment's native code has set others."""
        signal.signal = self.refuse
        for number in self.before:
            _set(number, self.handle)
        signal.set_wakeup_fd(self.wakeup, warn_on_full_buffer=False)

    def release(self):
        """Sets the handlers of before."""
        if signal.signal == self.refuse:
            signal.signal = _set
            signal.set_wakeup_fd(-1)
            for number, handler in self.before.items():
                _set(number, signal.SIG_DFL if handler is None else handler)

    def handle(self, number, frame):
        if self.interrupts():
            raise KeyboardInterrupt

    def refuse(self, number, handler):
        """Instead of `signal.signal`."""
        if number in self.before:
            return signal.getsignal(number)
        return _set(number, handler)


def ignore(numbers):
    """Ignores the signals `numbers` for good."""
    for number in numbers:
        _set(number, signal.SIG_IGN)
    signal.signal = lambda number, handler: (
        signal.SIG_IGN if number in numbers else _set(number, handler)
    )
