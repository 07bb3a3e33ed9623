// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/terminal.h"

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <termios.h>
#include <unistd.h>

namespace untrap::vmm {
namespace {

constexpr std::array fatal_signals = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

// Reached from signal handlers, hence plain globals.
volatile std::sig_atomic_t raw_fd = -1;
termios saved_mode;
std::array<struct sigaction, fatal_signals.size()> saved_actions;

void set_back() {
    const int fd = raw_fd;
    if (fd < 0) return;
    raw_fd = -1;
    ::tcsetattr(fd, TCSANOW, &saved_mode);
}

// Restores the terminal and lets the former action (a core dump, a sanitizer's report) have the signal: a fault repeats
// on return, a signal that was sent is sent again.
void on_fatal_signal(int signal, siginfo_t* info, void*) {
    set_back();
    for (std::size_t i = 0; i < fatal_signals.size(); ++i) {
        if (fatal_signals[i] == signal) ::sigaction(signal, &saved_actions[i], nullptr);
    }
    if (info->si_code <= 0) ::raise(signal);
}

} // namespace

RawTerminal::RawTerminal(int fd) {
    if (::isatty(fd) == 0 || ::tcgetattr(fd, &saved_mode) != 0) return;
    [[maybe_unused]] static const int registered = std::atexit(set_back);
    struct sigaction action {};
    action.sa_sigaction = on_fatal_signal;
    action.sa_flags = SA_SIGINFO;
    for (std::size_t i = 0; i < fatal_signals.size(); ++i) ::sigaction(fatal_signals[i], &action, &saved_actions[i]);
    raw_fd = fd;
    termios raw = saved_mode;
    ::cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    ::tcsetattr(fd, TCSANOW, &raw);
}

RawTerminal::~RawTerminal() {
    if (raw_fd < 0) return;
    set_back();
    for (std::size_t i = 0; i < fatal_signals.size(); ++i) ::sigaction(fatal_signals[i], &saved_actions[i], nullptr);
}

} // namespace untrap::vmm
