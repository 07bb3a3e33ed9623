// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/slirp_backend.h"

#include <algorithm>
#include <ctime>
#include <functional>
#include <list>
#include <string_view>

#include <fmt/format.h>
#include <slirp/libslirp.h>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

namespace {

struct Timer {
    SlirpTimerCb callback;
    void* opaque;
    std::int64_t due_ms = -1; // -1: not running
};

constexpr std::int64_t nanoseconds_per_millisecond = 1'000'000;

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

in_addr address(unsigned a, unsigned b, unsigned c, unsigned d) {
    return in_addr{htonl(a << 24 | b << 16 | c << 8 | d)};
}

} // namespace

struct SlirpBackend::Impl {
    explicit Impl(SlirpBackend& backend) : owner(backend) {
        callbacks.send_packet = [](const void* data, std::size_t length, void* opaque) {
            self(opaque).owner.deliver({static_cast<const std::uint8_t*>(data), length});
            return static_cast<ssize_t>(length);
        };
        callbacks.guest_error = [](const char* message, void* opaque) {
            if (self(opaque).guest_errors.first(std::hash<std::string_view>{}(message)))
                report(fmt::format("user network: {}", message));
        };
        callbacks.clock_get_ns = [](void*) { return now_ns(); };
        callbacks.timer_new = [](SlirpTimerCb callback, void* callback_opaque, void* opaque) -> void* {
            return &self(opaque).timers.emplace_back(Timer{callback, callback_opaque});
        };
        callbacks.timer_free = [](void* timer, void* opaque) {
            self(opaque).timers.remove_if([timer](const Timer& t) { return &t == timer; });
        };
        callbacks.timer_mod = [](void* timer, std::int64_t due_ms, void* opaque) {
            static_cast<Timer*>(timer)->due_ms = due_ms;
            self(opaque).owner.wake();
        };
        // Every round collects the descriptors anew.
        callbacks.register_poll_fd = [](int, void*) {};
        callbacks.unregister_poll_fd = [](int, void*) {};
        callbacks.notify = [](void* opaque) { self(opaque).owner.wake(); };

        SlirpConfig config{};
        config.version = 3;
        config.in_enabled = true;
        config.vnetwork = address(10, 0, 2, 0);
        config.vnetmask = address(255, 255, 255, 0);
        config.vhost = address(10, 0, 2, 2);
        config.vdhcp_start = address(10, 0, 2, 15);
        config.vnameserver = address(10, 0, 2, 3);
        slirp = slirp_new(&config, &callbacks, this);
        if (!slirp) throw Error("user network: libslirp does not start");
    }
    ~Impl() { slirp_cleanup(slirp); }

    static Impl& self(void* opaque) { return *static_cast<Impl*>(opaque); }

    static int add_poll(int fd, int events, void* opaque) {
        short wanted = 0;
        if (events & SLIRP_POLL_IN) wanted |= POLLIN;
        if (events & SLIRP_POLL_OUT) wanted |= POLLOUT;
        if (events & SLIRP_POLL_PRI) wanted |= POLLPRI;
        Impl& impl = self(opaque);
        impl.filling->push_back({fd, wanted, 0});
        return static_cast<int>(impl.filling->size() - impl.fill_base) - 1;
    }

    // A connection made since fill() has no entry: slirp asks for index -1.
    static int get_events(int index, void* opaque) {
        const auto& polled = self(opaque).polled;
        if (index < 0 || static_cast<std::size_t>(index) >= polled.size()) return 0;
        const short events = polled[static_cast<std::size_t>(index)].revents;
        int result = 0;
        if (events & POLLIN) result |= SLIRP_POLL_IN;
        if (events & POLLOUT) result |= SLIRP_POLL_OUT;
        if (events & POLLPRI) result |= SLIRP_POLL_PRI;
        if (events & (POLLERR | POLLNVAL)) result |= SLIRP_POLL_ERR;
        if (events & POLLHUP) result |= SLIRP_POLL_HUP;
        return result;
    }

    // Appends what there is to wait for, and lowers the timeout.
    void collect(std::vector<pollfd>& fds, std::uint32_t& timeout) {
        filling = &fds;
        fill_base = fds.size();
        slirp_pollfds_fill(slirp, &timeout, add_poll, this);
        filling = nullptr;
        const std::int64_t now = now_ns() / nanoseconds_per_millisecond;
        for (const Timer& timer : timers) {
            if (timer.due_ms < 0) continue;
            const std::int64_t left = timer.due_ms > now ? timer.due_ms - now : 0;
            if (left < timeout) timeout = static_cast<std::uint32_t>(left);
        }
    }

    static std::int64_t end_of(std::uint32_t timeout) {
        if (timeout == UINT32_MAX) return INT64_MAX;
        return now_ns() / nanoseconds_per_millisecond + timeout;
    }

    // Whether the I/O thread waits for all that is to be waited for by now, and not for longer.
    bool waits_well() {
        wanted.clear();
        std::uint32_t timeout = UINT32_MAX;
        collect(wanted, timeout);
        renumbered = !std::ranges::equal(
            wanted, waited_for, [](const pollfd& a, const pollfd& b) { return a.fd == b.fd && a.events == b.events; });
        return !renumbered && end_of(timeout) >= waits_until_ms;
    }

    void run_timers() {
        const std::int64_t now = now_ns() / nanoseconds_per_millisecond;
        // A callback may start, stop, add or free timers, so look afresh after each.
        for (bool fired = true; fired;) {
            fired = false;
            for (Timer& timer : timers) {
                if (timer.due_ms < 0 || timer.due_ms > now) continue;
                timer.due_ms = -1;
                timer.callback(timer.opaque);
                fired = true;
                break;
            }
        }
    }

    SlirpBackend& owner;
    SlirpCb callbacks{};
    Slirp* slirp = nullptr;
    std::list<Timer> timers;
    std::vector<pollfd>* filling = nullptr;
    std::size_t fill_base = 0;
    std::span<const pollfd> polled;
    std::vector<pollfd> waited_for, wanted; // by the I/O thread; and what it ought to wait for
    std::int64_t waits_until_ms = INT64_MAX;
    bool renumbered = false; // slirp asks by other numbers than those of waited_for
    ReportOnce guest_errors{8};
};

SlirpBackend::SlirpBackend() : impl_(std::make_unique<Impl>(*this)) {}
SlirpBackend::~SlirpBackend() = default;

void SlirpBackend::send(std::span<const std::uint8_t> frame) {
    slirp_input(impl_->slirp, frame.data(), static_cast<int>(frame.size()));
    // A round of the I/O thread for each frame would be in the way of the guest's next one.
    if (!impl_->waits_well()) wake();
}

void SlirpBackend::fill(std::vector<pollfd>& fds, int& timeout_ms) {
    std::uint32_t timeout = timeout_ms < 0 ? UINT32_MAX : static_cast<std::uint32_t>(timeout_ms);
    const auto first = static_cast<std::ptrdiff_t>(fds.size());
    impl_->collect(fds, timeout);
    impl_->waited_for.assign(fds.begin() + first, fds.end());
    impl_->waits_until_ms = Impl::end_of(timeout);
    impl_->renumbered = false;
    timeout_ms = timeout > INT32_MAX ? -1 : static_cast<int>(timeout);
}

void SlirpBackend::ready(std::span<const pollfd> fds) {
    // What is ready by old numbers is so still at the next round.
    impl_->polled = impl_->renumbered ? std::span<const pollfd>() : fds;
    slirp_pollfds_poll(impl_->slirp, 0, Impl::get_events, impl_.get());
    impl_->polled = {};
    impl_->run_timers();
}

} // namespace untrap::vmm
