// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/console.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace untrap::vmm {

namespace {
constexpr std::uint32_t console_device_id = 3;
}

VirtioConsole::VirtioConsole(const GuestMemory& memory, CharSink* sink)
    : VirtioDevice(memory, console_device_id, "virtio-console", 0, {64, 64}), sink_(sink) {}

void VirtioConsole::receive(std::span<const std::uint8_t> bytes) {
    const std::size_t room = backlog_limit - backlog_.size();
    if (bytes.size() > room) {
        if (dropped_.first(0)) report("console input dropped: the guest does not read its virtio console");
        bytes = bytes.first(room);
    }
    backlog_.insert(backlog_.end(), bytes.begin(), bytes.end());
    deliver_backlog();
}

void VirtioConsole::handle_queue(unsigned queue_index) {
    if (queue_index == receive_queue) {
        deliver_backlog();
        return;
    }
    while (take(transmit_queue, chain_)) {
        if (sink_)
            for (const Segment& segment : chain_.readable) sink_->write(segment.data);
        if (!give_back(transmit_queue, chain_, 0)) return;
    }
    signal(transmit_queue);
}

void VirtioConsole::deliver_backlog() {
    std::array<std::uint8_t, 512> bytes;
    while (!backlog_.empty() && take(receive_queue, chain_)) {
        std::uint64_t done = 0;
        while (done < chain_.writable_bytes && !backlog_.empty()) {
            const auto count = static_cast<std::size_t>(
                std::min({std::uint64_t{bytes.size()}, chain_.writable_bytes - done, std::uint64_t{backlog_.size()}}));
            std::copy_n(backlog_.begin(), count, bytes.begin());
            backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(count));
            done += copy_into(memory(), chain_, done, std::span(bytes).first(count));
        }
        if (!give_back(receive_queue, chain_, done)) return;
    }
    signal(receive_queue);
}

} // namespace untrap::vmm
