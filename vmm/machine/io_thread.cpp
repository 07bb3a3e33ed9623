// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/io_thread.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <vector>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

// How often a stop is repeated and a full input is looked at again.
constexpr int retry_ms = 20;

sigset_t signal_set(std::initializer_list<int> signals) {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : signals) ::sigaddset(&set, signal);
    return set;
}

int checked(int fd, const char* what) {
    if (fd < 0) throw Error(fmt::format("cannot make {}: {}", what, std::strerror(errno)));
    return fd;
}

void set_deadline(int fd, double seconds) {
    itimerspec when{};
    double whole = 0;
    const double fraction = std::modf(seconds, &whole);
    when.it_value.tv_sec = static_cast<time_t>(whole);
    when.it_value.tv_nsec = static_cast<long>(fraction * 1e9);
    ::timerfd_settime(fd, 0, &when, nullptr);
}

} // namespace

IoThread::IoThread(Board& board, MachineLock& lock, ConsoleOutput& console, StopRequest& stop,
                   const RunOptions& options)
    : board_(board), lock_(lock), console_(console), stop_(stop), input_open_(options.console_input) {
    const sigset_t ending = signal_set({SIGINT, SIGTERM, SIGHUP, SIGQUIT});
    try {
        wake_fd_ = checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "an event descriptor");
        signal_fd_ = checked(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK), "a signal descriptor");
        deadline_fd_ = checked(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "a timer");
    } catch (...) {
        release();
        throw;
    }
    if (options.timeout) set_deadline(deadline_fd_, *options.timeout);

    struct sigaction kick {};
    kick.sa_handler = [](int) {}; // no SA_RESTART: it is there to interrupt
    ::sigaction(StopRequest::kick_signal, &kick, &former_kick_);
    // The new thread inherits a mask without the kick signal's delivery; only the vCPU thread gets that.
    sigset_t in_thread = ending;
    ::sigaddset(&in_thread, StopRequest::kick_signal);
    ::pthread_sigmask(SIG_BLOCK, &in_thread, &former_mask_);
    for (IoSource* source : board_.io_sources()) source->set_waker([this] { wake(); });
    thread_ = std::thread([this] { loop(); });
    const sigset_t kick_only = signal_set({StopRequest::kick_signal});
    ::pthread_sigmask(SIG_UNBLOCK, &kick_only, nullptr);
}

IoThread::~IoThread() {
    finish_ = true;
    wake();
    thread_.join();
    for (IoSource* source : board_.io_sources()) source->set_waker({});
    ::sigaction(StopRequest::kick_signal, &former_kick_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &former_mask_, nullptr);
    release();
}

void IoThread::release() {
    for (const int fd : {wake_fd_, signal_fd_, deadline_fd_}) {
        if (fd >= 0) ::close(fd);
    }
}

void IoThread::wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t wrote = ::write(wake_fd_, &one, sizeof one); // full means awake
}

std::string IoThread::failure() const {
    const std::lock_guard guard(failure_mutex_);
    return failure_;
}

void IoThread::loop() {
    try {
        while (!finish_) round();
    } catch (const std::exception& error) {
        {
            const std::lock_guard guard(failure_mutex_);
            failure_ = error.what();
        }
        stop_.request(StopCause::io_failed);
    }
    // Until the vCPU thread comes to join: the kick may have come just before it entered the guest.
    while (!finish_) {
        if (stop_.requested()) stop_.kick();
        std::this_thread::sleep_for(std::chrono::milliseconds(retry_ms));
    }
}

std::unique_lock<MachineLock> IoThread::take_lock() {
    std::unique_lock lock(lock_, std::defer_lock);
    while (!lock.try_lock_for(std::chrono::milliseconds(retry_ms)) && !finish_) check_stop_sources();
    return lock;
}

void IoThread::check_stop_sources() {
    signalfd_siginfo info{};
    if (::read(signal_fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        stop_.request(StopCause::signal, static_cast<int>(info.ssi_signo));
    }
    std::uint64_t expirations = 0;
    if (::read(deadline_fd_, &expirations, sizeof expirations) > 0) stop_.request(StopCause::timeout);
    if (stop_.requested()) stop_.kick();
}

void IoThread::read_input() {
    std::array<std::uint8_t, 4096> typed{};
    const ssize_t got = ::read(STDIN_FILENO, typed.data(), typed.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
        input_open_ = false;
        return;
    }
    const KeyFilter::Result keys = keys_.feed(std::span(typed).first(static_cast<std::size_t>(got)));
    if (!keys.for_guest.empty()) {
        board_.console_input().receive(
            {reinterpret_cast<const std::uint8_t*>(keys.for_guest.data()), keys.for_guest.size()});
    }
    if (keys.quit) {
        stop_.request(StopCause::quit_key);
        stop_.kick();
    }
}

void IoThread::round() {
    enum Own : std::size_t { wake_entry, signal_entry, deadline_entry, flush_entry, input_entry, own_count };
    std::vector<pollfd> fds(own_count);
    fds[wake_entry] = {.fd = wake_fd_, .events = POLLIN, .revents = 0};
    fds[signal_entry] = {.fd = signal_fd_, .events = POLLIN, .revents = 0};
    fds[deadline_entry] = {.fd = deadline_fd_, .events = POLLIN, .revents = 0};
    fds[flush_entry] = {.fd = console_.timer_fd(), .events = POLLIN, .revents = 0};
    fds[input_entry] = {.fd = -1, .events = POLLIN, .revents = 0};
    int timeout_ms = stop_.requested() ? retry_ms : -1;

    std::vector<std::size_t> firsts;
    {
        const std::unique_lock lock = take_lock();
        if (!lock.owns_lock()) return;
        if (input_open_ && !board_.console_input_full()) {
            fds[input_entry].fd = STDIN_FILENO;
        } else if (input_open_ && timeout_ms < 0) {
            timeout_ms = retry_ms;
        }
        for (IoSource* source : board_.io_sources()) {
            firsts.push_back(fds.size());
            source->fill(fds, timeout_ms);
        }
    }
    const int ready = ::poll(fds.data(), fds.size(), timeout_ms);
    if (ready < 0) {
        for (pollfd& entry : fds) entry.revents = 0;
    }

    if (fds[wake_entry].revents != 0) {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
    }
    if ((fds[signal_entry].revents | fds[deadline_entry].revents) != 0 || stop_.requested()) check_stop_sources();
    if (fds[flush_entry].revents != 0) console_.timer_expired();

    const std::unique_lock lock = take_lock();
    if (!lock.owns_lock()) return;
    if (fds[input_entry].revents != 0) read_input();
    for (std::size_t i = 0; i < firsts.size(); ++i) {
        const std::size_t end = i + 1 < firsts.size() ? firsts[i + 1] : fds.size();
        board_.io_sources()[i]->ready(std::span(fds).subspan(firsts[i], end - firsts[i]));
    }
}

} // namespace untrap::vmm
