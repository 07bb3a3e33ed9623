// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "vmm/devices/char_backend.h"
#include "vmm/machine/stop_request.h"
#include "vmm/machine/text_watch.h"

namespace untrap::vmm {

// The guest's console output on a file descriptor (stdout). A guest prints byte by byte: bytes are gathered up to the
// end of the line, and what stays longer than flush_delay_ms is written by the I/O thread, woken by timer_fd().
class ConsoleOutput final : public CharSink {
  public:
    static constexpr int flush_delay_ms = 5;

    // Requests StopCause::until_seen when `until` has been printed, StopCause::console_lost when `fd` takes no more.
    // Throws Error when the host has no timer.
    ConsoleOutput(int fd, std::string until, StopRequest& stop, const std::vector<std::string>& marks = {});
    ~ConsoleOutput() override;
    ConsoleOutput(const ConsoleOutput&) = delete;
    ConsoleOutput& operator=(const ConsoleOutput&) = delete;

    void write(std::span<const std::uint8_t> bytes) override;

    // Those of `marks` that have been printed since the last call, in their order.
    std::vector<std::string> take_marks();

    int timer_fd() const { return timer_; }
    void timer_expired();
    // Everything printed so far goes out, unless nobody reads it for a second.
    void flush();

    // The error that ended output, 0 for none.
    int failure() const { return failure_; }

  private:
    struct MarkWatch {
        std::string text;
        TextWatch watch;
    };
    enum class Patience { none, until_stop, last_second };

    bool writable(int timeout_ms) const;
    void write_out(Patience patience); // mutex held
    void arm_timer();

    int fd_;
    int timer_ = -1;
    StopRequest& stop_;
    TextWatch until_;
    std::vector<MarkWatch> marks_;
    std::vector<std::string> printed_marks_;
    std::mutex mutex_;
    std::array<std::uint8_t, 1024> buffer_{};
    std::size_t used_ = 0;
    int failure_ = 0;
};

// Keys typed on stdin: Ctrl-A X asks to quit, Ctrl-A Ctrl-A is one Ctrl-A for the guest, Ctrl-A and anything else
// passes on both.
class KeyFilter {
  public:
    struct Result {
        std::string for_guest;
        bool quit = false;
    };
    Result feed(std::span<const std::uint8_t> typed);

  private:
    bool escaped_ = false;
};

} // namespace untrap::vmm
