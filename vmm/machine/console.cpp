// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/console.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

ConsoleOutput::ConsoleOutput(int fd, std::string until, StopRequest& stop, const std::vector<std::string>& marks)
    : fd_(fd), timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)), stop_(stop),
      until_(std::move(until)) {
    if (timer_ < 0) throw Error(fmt::format("cannot make a timer: {}", std::strerror(errno)));
    for (const std::string& text : marks) marks_.push_back({text, TextWatch(text)});
}

ConsoleOutput::~ConsoleOutput() { ::close(timer_); }

void ConsoleOutput::write(std::span<const std::uint8_t> bytes) {
    const std::lock_guard guard(mutex_);
    for (const std::uint8_t byte : bytes) {
        if (used_ == buffer_.size()) write_out(Patience::until_stop);
        if (failure_ != 0 || used_ == buffer_.size()) return; // lost, or stopping with nobody reading
        if (used_ == 0) arm_timer();
        buffer_[used_++] = byte;
        if (until_.feed(static_cast<char>(byte))) stop_.request(StopCause::until_seen);
        for (MarkWatch& mark : marks_) {
            if (mark.watch.feed(static_cast<char>(byte))) printed_marks_.push_back(mark.text);
        }
        if (byte == '\n') write_out(Patience::until_stop);
    }
}

std::vector<std::string> ConsoleOutput::take_marks() {
    const std::lock_guard guard(mutex_);
    return std::exchange(printed_marks_, {});
}

void ConsoleOutput::arm_timer() {
    itimerspec when{};
    when.it_value.tv_nsec = flush_delay_ms * 1'000'000L;
    ::timerfd_settime(timer_, 0, &when, nullptr);
}

void ConsoleOutput::timer_expired() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(timer_, &count, sizeof count);
    // The I/O thread is what ends a run, so it never waits for a reader that has stopped: neither here nor behind a
    // vCPU thread that does.
    const std::unique_lock guard(mutex_, std::try_to_lock);
    if (!guard.owns_lock()) {
        arm_timer();
    } else if (used_ != 0) {
        write_out(Patience::none);
        if (used_ != 0) arm_timer();
    }
}

void ConsoleOutput::flush() {
    const std::lock_guard guard(mutex_);
    write_out(Patience::last_second);
}

bool ConsoleOutput::writable(int timeout_ms) const {
    pollfd entry{.fd = fd_, .events = POLLOUT, .revents = 0};
    return ::poll(&entry, 1, timeout_ms) == 1;
}

void ConsoleOutput::write_out(Patience patience) {
    std::size_t done = 0;
    while (done < used_ && failure_ == 0) {
        // The buffer is smaller than what a pipe that polls writable takes at once, so the write below cannot block.
        if (patience == Patience::none && !writable(0)) break;
        if (patience == Patience::last_second && !writable(1000)) break;
        const ssize_t wrote = ::write(fd_, buffer_.data() + done, used_ - done);
        if (wrote >= 0) {
            done += static_cast<std::size_t>(wrote);
            continue;
        }
        const int error = errno;
        if (error != EAGAIN && error != EINTR) {
            failure_ = error;
            stop_.request(StopCause::console_lost);
        }
        if (patience == Patience::until_stop && stop_.requested()) break; // the end of the run tries once more
        if (error == EAGAIN) writable(100);
    }
    std::memmove(buffer_.data(), buffer_.data() + done, used_ - done);
    used_ -= done;
    if (failure_ != 0) used_ = 0;
}

KeyFilter::Result KeyFilter::feed(std::span<const std::uint8_t> typed) {
    constexpr std::uint8_t control_a = 1;
    Result result;
    for (const std::uint8_t key : typed) {
        if (!escaped_) {
            escaped_ = key == control_a;
            if (!escaped_) result.for_guest.push_back(static_cast<char>(key));
            continue;
        }
        escaped_ = false;
        if (key == 'x' || key == 'X') {
            result.quit = true;
            return result;
        }
        result.for_guest.push_back(static_cast<char>(control_a));
        if (key != control_a) result.for_guest.push_back(static_cast<char>(key));
    }
    return result;
}

} // namespace untrap::vmm
