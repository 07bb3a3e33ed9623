// SPDX-License-Identifier: GPL-2.0-only
#include "tests/vmm_devices/virtio_driver.h"

namespace untrap::vmm::test {

namespace {
constexpr std::uint16_t flag_next = 1, flag_write = 2, flag_indirect = 4;

std::uint16_t low16(unsigned value) { return static_cast<std::uint16_t>(value & 0xffff); }
} // namespace

std::uint32_t VirtioDriver::reg(std::uint64_t offset) {
    return __builtin_bswap32(static_cast<std::uint32_t>(transport_.read(offset, 4)));
}

void VirtioDriver::set_reg(std::uint64_t offset, std::uint32_t value) {
    transport_.write(offset, 4, __builtin_bswap32(value));
}

std::uint64_t VirtioDriver::offered() {
    set_reg(0x014, 1);
    const std::uint64_t high = reg(0x010);
    set_reg(0x014, 0);
    return high << 32 | reg(0x010);
}

void VirtioDriver::place_queue(unsigned index, const Queue& queue) {
    set_reg(0x030, index);
    set_reg(0x038, queue.size);
    set_reg(0x080, static_cast<std::uint32_t>(queue.descriptors));
    set_reg(0x084, static_cast<std::uint32_t>(queue.descriptors >> 32));
    set_reg(0x090, static_cast<std::uint32_t>(queue.driver_area));
    set_reg(0x094, static_cast<std::uint32_t>(queue.driver_area >> 32));
    set_reg(0x0a0, static_cast<std::uint32_t>(queue.device_area));
    set_reg(0x0a4, static_cast<std::uint32_t>(queue.device_area >> 32));
    set_reg(0x044, 1);
}

std::uint32_t VirtioDriver::start(std::uint64_t wanted_features, unsigned queues, std::uint16_t size) {
    set_reg(0x070, 0);
    set_reg(0x070, 3);
    set_reg(0x024, 1);
    set_reg(0x020, static_cast<std::uint32_t>(wanted_features >> 32));
    set_reg(0x024, 0);
    set_reg(0x020, static_cast<std::uint32_t>(wanted_features));
    set_reg(0x070, 0x0b);
    if (!(status() & 8)) return status();
    queues_.assign(queues, {});
    for (unsigned i = 0; i < queues; ++i) {
        const std::uint64_t base = rings_ + i * 0x1000;
        queues_[i] = {.size = size, .descriptors = base, .driver_area = base + 0x800, .device_area = base + 0xc00};
        memory_.fill(base, 0, 0x1000);
        place_queue(i, queues_[i]);
    }
    set_reg(0x070, status_ok);
    return status();
}

void VirtioDriver::set_descriptor(std::uint64_t table, unsigned index, std::uint64_t gpa, std::uint32_t length,
                                  std::uint16_t flags, std::uint16_t next) {
    const std::uint64_t at = table + 16ull * index;
    memory_.write_le64(at, gpa);
    memory_.write_le32(at + 8, length);
    memory_.write_le16(at + 12, flags);
    memory_.write_le16(at + 14, next);
}

std::uint16_t VirtioDriver::add(unsigned index, const std::vector<Buffer>& readable,
                                const std::vector<Buffer>& writable, std::optional<std::uint64_t> table) {
    Queue& queue = queues_[index];
    std::vector<Buffer> all(readable);
    all.insert(all.end(), writable.begin(), writable.end());
    const std::uint16_t head = queue.next_descriptor;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool last = i + 1 == all.size();
        const auto flags = low16((i >= readable.size() ? flag_write : 0u) | (last ? 0u : flag_next));
        const unsigned here = table ? static_cast<unsigned>(i) : (head + static_cast<unsigned>(i)) % queue.size;
        const unsigned next = table ? here + 1 : (here + 1) % queue.size;
        set_descriptor(table ? *table : queue.descriptors, here, all[i].gpa, all[i].length, flags, low16(next));
    }
    const unsigned taken = table ? 1 : static_cast<unsigned>(all.size());
    if (table)
        set_descriptor(queue.descriptors, head, *table, static_cast<std::uint32_t>(16 * all.size()), flag_indirect, 0);
    queue.next_descriptor = low16((head + taken) % queue.size);
    make_available(index, head);
    return head;
}

void VirtioDriver::make_available(unsigned index, std::uint16_t head) {
    Queue& queue = queues_[index];
    memory_.write_le16(queue.driver_area + 4 + 2ull * (queue.available % queue.size), head);
    ++queue.available;
    memory_.store_release_le16(queue.driver_area + 2, queue.available);
}

std::uint16_t VirtioDriver::used_index(unsigned index) {
    return memory_.load_acquire_le16(queues_[index].device_area + 2).value_or(0);
}

std::optional<VirtioDriver::Used> VirtioDriver::next_used(unsigned index) {
    Queue& queue = queues_[index];
    if (used_index(index) == queue.used) return std::nullopt;
    const std::uint64_t entry = queue.device_area + 4 + 8ull * (queue.used % queue.size);
    ++queue.used;
    return Used{memory_.read_le32(entry).value_or(0), memory_.read_le32(entry + 4).value_or(0)};
}

std::uint32_t VirtioDriver::take_interrupt() {
    const std::uint32_t pending = reg(0x060);
    set_reg(0x064, pending);
    return pending;
}

} // namespace untrap::vmm::test
