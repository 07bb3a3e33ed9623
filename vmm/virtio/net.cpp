// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/net.h"

#include <algorithm>

#include <fmt/format.h>

namespace untrap::vmm {

namespace {

constexpr std::uint32_t net_device_id = 1;
constexpr std::uint64_t feature_mac = 1ull << 5, feature_mergeable = 1ull << 15, feature_status = 1ull << 16;
constexpr std::size_t status_field = 6;
constexpr std::uint8_t link_up = 1;
constexpr std::size_t buffer_count_field = 10;

enum Oddity : std::uint64_t { short_transmit, long_transmit, no_room };

} // namespace

VirtioNet::VirtioNet(const GuestMemory& memory, NetBackend& backend, MacAddress mac)
    : VirtioDevice(memory, net_device_id, "virtio-net", feature_mac | feature_mergeable | feature_status, {256, 256}),
      backend_(backend) {
    std::copy(mac.begin(), mac.end(), config_.begin());
    config_[status_field] = link_up;
    backend_.set_frame_handler([this](std::span<const std::uint8_t> frame) { frame_arrived(frame); });
}

VirtioNet::~VirtioNet() { backend_.set_frame_handler({}); }

void VirtioNet::handle_activate() { deliver_backlog(); }

void VirtioNet::handle_reset() { backlog_.clear(); }

void VirtioNet::handle_queue(unsigned queue_index) {
    if (queue_index == receive_queue)
        deliver_backlog();
    else
        transmit();
}

void VirtioNet::transmit() {
    while (take(transmit_queue, chain_)) {
        if (chain_.readable_bytes < header_size) {
            if (odd_frames_.first(short_transmit))
                report("virtio-net: guest sends a frame without its header; dropped");
        } else if (chain_.readable_bytes - header_size > frame_limit) {
            if (odd_frames_.first(long_transmit))
                report("virtio-net: guest sends a frame of more than 64 KiB; dropped");
        } else {
            // No offload is on offer, so the header says nothing.
            frame_.resize(static_cast<std::size_t>(chain_.readable_bytes) - header_size);
            chain_.copy_out(header_size, frame_);
            backend_.send(frame_);
        }
        if (!give_back(transmit_queue, chain_, 0)) return;
    }
    signal(transmit_queue);
}

void VirtioNet::frame_arrived(std::span<const std::uint8_t> frame) {
    if (!active() || broken() || frame.size() > frame_limit) return;
    if (backlog_.empty() && deliver(frame)) {
        signal(receive_queue);
        return;
    }
    // A guest that does not keep up loses frames, as on any wire.
    if (backlog_.size() < backlog_limit) backlog_.emplace_back(frame.begin(), frame.end());
}

void VirtioNet::deliver_backlog() {
    bool any = false;
    while (!backlog_.empty() && deliver(backlog_.front())) {
        backlog_.pop_front();
        any = true;
    }
    if (any) signal(receive_queue);
}

bool VirtioNet::deliver(std::span<const std::uint8_t> frame) {
    const std::uint64_t total = header_size + frame.size();
    const bool mergeable = has_feature(feature_mergeable);
    std::uint64_t room = 0;
    std::size_t count = 0;
    // All buffers first, since the header in the first one tells their number.
    while (room < total && (mergeable || count == 0)) {
        if (receive_chains_.size() == count) receive_chains_.emplace_back();
        if (!take(receive_queue, receive_chains_[count])) {
            for (; count > 0; --count) queue(receive_queue).unpop();
            return false;
        }
        room += receive_chains_[count++].writable_bytes;
    }
    std::array<std::uint8_t, header_size> header{};
    header[buffer_count_field] = static_cast<std::uint8_t>(count & 0xff);
    header[buffer_count_field + 1] = static_cast<std::uint8_t>(count >> 8 & 0xff);
    if (room < total) {
        if (odd_frames_.first(no_room)) report("virtio-net: guest's receive buffer is smaller than a frame; dropped");
        return give_back(receive_queue, receive_chains_[0], 0);
    }
    std::span<const std::uint8_t> head(header);
    for (std::size_t i = 0; i < count; ++i) {
        const Chain& chain = receive_chains_[i];
        std::uint64_t written = copy_into(memory(), chain, 0, head);
        head = head.subspan(static_cast<std::size_t>(written));
        if (head.empty()) {
            const std::uint64_t data = copy_into(memory(), chain, written, frame);
            frame = frame.subspan(static_cast<std::size_t>(data));
            written += data;
        }
        if (!give_back(receive_queue, chain, written)) return false;
    }
    return true;
}

} // namespace untrap::vmm
