// SPDX-License-Identifier: GPL-2.0-only
#pragma once

namespace untrap::vmm {

// Puts a terminal into raw mode for as long as it lives. It is set back when it goes, by exit(), and before a fatal
// signal (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT) takes the process away. One at a time; does nothing for a
// descriptor that is no terminal. Output processing stays on, so that plain lines on stderr look right.
class RawTerminal {
  public:
    explicit RawTerminal(int fd);
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
};

} // namespace untrap::vmm
