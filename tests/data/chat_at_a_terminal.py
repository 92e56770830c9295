"""Talks with `warpwright chat` at a terminal of 40 columns: chat_at_a_terminal.py PROGRAM MODEL_THAT_ADDS MODEL_WITHOUT_END"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

program, adder, endless = sys.argv[1:]


class Terminal:
    def __init__(self, *arguments):
        self.shown = b""
        self.child, self.end = pty.fork()
        if self.child == 0:
            os.environ["TERM"] = "xterm"
            os.execv(program, [program, "chat", *arguments])
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 40, 0, 0))

    def read(self):
        if not select.select([self.end], [], [], 0.05)[0]:
            return True
        try:
            data = os.read(self.end, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data
        return bool(data)

    def expect(self, text, seconds=60):
        """Waits for a text after what was expected before."""
        until = time.monotonic() + seconds
        while text.encode() not in self.shown:
            if time.monotonic() > until or not self.read():
                self.fail(f"there is no {text!r}")
        self.shown = self.shown.split(text.encode(), 1)[1]

    def type(self, text):
        os.write(self.end, text.encode())

    def fail(self, what):
        os.kill(self.child, signal.SIGKILL)
        sys.exit(f"{what} in {self.shown[-2000:].decode(errors='replace')!r}")

    def ends(self, seconds=60):
        """Waits for the end of the program, which has to be one in order."""
        until = time.monotonic() + seconds
        while self.read():
            if time.monotonic() > until:
                self.fail("there is no end")
        status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        if status != 0:
            sys.exit(f"it ended with {status}")


chat = Terminal(adder, "--device", "emulator")
chat.expect("> ")
chat.type("12+34=\r")
chat.expect("46\r\n")
chat.expect("> ")
# The line before again, changed to a new conversation.
chat.type("/clear\r")
chat.expect("> ")
chat.type("\x1b[A\x1b[A")
chat.expect("12+34=")
chat.type("\r")
chat.expect("46\r\n")
# A line longer than the terminal is wide, and what the model has no token for.
chat.expect("> ")
chat.type("x" * 50 + "\r")
chat.expect("has no tokens")
chat.expect("> ")
chat.type("\x04")
chat.ends()

chat = Terminal(endless, "--chatml", "--device", "emulator")
chat.expect("> ")
for _ in range(2):
    chat.type("go on\r")
    chat.expect("\r\n")
    chat.read()
    time.sleep(0.5)
    chat.type("\x03")
    chat.expect("(interrupted)", seconds=20)
    chat.expect("> ")
chat.type("\x03")
chat.ends()
