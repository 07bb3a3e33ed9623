// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/virtio_device.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {

VirtioDevice::VirtioDevice(const GuestMemory& memory, std::uint32_t device_id, std::string name, std::uint64_t features,
                           std::initializer_list<std::uint16_t> queue_sizes)
    : memory_(memory), device_id_(device_id), name_(std::move(name)), features_(features) {
    for (const std::uint16_t size : queue_sizes) queues_.emplace_back(memory, size);
}

std::uint64_t VirtioDevice::offered_features() const {
    return features_ | virtio_feature::version_1 | virtio_feature::ring_indirect | virtio_feature::ring_event_index;
}

void VirtioDevice::read_config(std::uint64_t offset, std::span<std::uint8_t> out) const {
    const auto bytes = config();
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::uint64_t at = offset + i;
        out[i] = at < bytes.size() ? bytes[static_cast<std::size_t>(at)] : 0;
    }
}

// None of the devices here has a field that drivers may write.
void VirtioDevice::write_config(std::uint64_t, std::span<const std::uint8_t>) {}

void VirtioDevice::activate(std::uint64_t accepted_features) {
    if (active_ || broken_) return;
    accepted_ = accepted_features;
    active_ = true;
    handle_activate();
}

void VirtioDevice::notify(unsigned queue_index) {
    if (active_ && !broken_ && queue_index < queues_.size() && queues_[queue_index].ready()) handle_queue(queue_index);
}

void VirtioDevice::reset() {
    active_ = broken_ = false;
    accepted_ = 0;
    for (Virtqueue& queue : queues_) queue.reset();
    handle_reset();
}

void VirtioDevice::fail(const char* why) {
    if (broken_) return;
    broken_ = true;
    report(fmt::format("{}: stopped until its driver resets it: {}", name_, why));
    if (handler_) handler_(Event::needs_reset);
}

bool VirtioDevice::take(unsigned queue_index, Chain& chain) {
    if (!active_ || broken_) return false;
    switch (queues_[queue_index].pop(chain)) {
    case Virtqueue::Pop::chain: return true;
    case Virtqueue::Pop::empty: return false;
    case Virtqueue::Pop::broken: fail(queues_[queue_index].error()); return false;
    }
    return false;
}

bool VirtioDevice::give_back(unsigned queue_index, const Chain& chain, std::uint64_t written) {
    if (broken_) return false;
    const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(written, 0xffffffff));
    if (queues_[queue_index].push(chain.head, length)) return true;
    const char* why = queues_[queue_index].error();
    fail(why ? why : "a queue vanished");
    return false;
}

void VirtioDevice::signal(unsigned queue_index) {
    if (active_ && !broken_ && queues_[queue_index].interrupt_wanted() && handler_) handler_(Event::used_buffers);
}

void VirtioDevice::signal_config_change() {
    if (active_ && !broken_ && handler_) handler_(Event::config_changed);
}

} // namespace untrap::vmm
