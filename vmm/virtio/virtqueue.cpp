// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/virtqueue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

namespace untrap::vmm {

namespace {

// Layout of the three areas (virtio 1.x, split virtqueues), all fields little-endian.
constexpr std::uint64_t descriptor_size = 16;
constexpr std::uint64_t descriptor_alignment = 16, driver_alignment = 2, device_alignment = 4;
constexpr std::uint64_t ring_flags = 0, ring_index = 2, ring_entries = 4;
constexpr std::uint64_t available_entry_size = 2, used_entry_size = 8;

constexpr std::uint16_t descriptor_next = 1, descriptor_write = 2, descriptor_indirect = 4;
constexpr std::uint16_t available_no_interrupt = 1;

std::uint16_t low16(unsigned value) { return static_cast<std::uint16_t>(value & 0xffff); }

} // namespace

void Chain::clear() {
    head = 0;
    readable.clear();
    writable.clear();
    readable_bytes = writable_bytes = 0;
}

std::uint64_t Chain::copy_out(std::uint64_t offset, std::span<std::uint8_t> to) const {
    std::uint64_t copied = 0;
    for (const Segment& segment : readable) {
        if (offset >= segment.data.size()) {
            offset -= segment.data.size();
            continue;
        }
        const auto from = segment.data.subspan(static_cast<std::size_t>(offset));
        const std::size_t now = std::min(from.size(), to.size() - static_cast<std::size_t>(copied));
        if (now == 0) break;
        std::memcpy(to.data() + copied, from.data(), now);
        copied += now;
        offset = 0;
    }
    return copied;
}

std::uint64_t copy_into(const GuestMemory& memory, const Chain& chain, std::uint64_t offset,
                        std::span<const std::uint8_t> from) {
    std::uint64_t copied = 0;
    for (const Segment& segment : chain.writable) {
        if (offset >= segment.data.size()) {
            offset -= segment.data.size();
            continue;
        }
        const auto to = segment.data.subspan(static_cast<std::size_t>(offset));
        const std::size_t now = std::min(to.size(), from.size() - static_cast<std::size_t>(copied));
        if (now == 0) break;
        std::memcpy(to.data(), from.data() + copied, now);
        memory.notify_written(segment.gpa + offset, now);
        copied += now;
        offset = 0;
    }
    return copied;
}

bool Virtqueue::enable(const Layout& layout, bool indirect, bool event_index) {
    reset();
    const auto refuse = [this](const char* why) {
        error_ = why;
        return false;
    };
    if (layout.size > size_max_ || !std::has_single_bit(layout.size)) return refuse("queue size is not acceptable");
    if (layout.descriptors % descriptor_alignment || layout.driver_area % driver_alignment ||
        layout.device_area % device_alignment)
        return refuse("queue areas are misaligned");
    const std::uint64_t driver_bytes = ring_entries + available_entry_size * layout.size + 2;
    const std::uint64_t device_bytes = ring_entries + used_entry_size * layout.size + 2;
    if (!memory_.contains(layout.descriptors, descriptor_size * layout.size) ||
        !memory_.contains(layout.driver_area, driver_bytes) ||
        !memory_.contains(layout.device_area, device_bytes, true))
        return refuse("queue areas are not in memory");
    layout_ = layout;
    indirect_ = indirect;
    event_index_ = event_index;
    ready_ = true;
    return true;
}

void Virtqueue::reset() {
    layout_ = {};
    ready_ = indirect_ = event_index_ = false;
    error_ = nullptr;
    next_available_ = next_used_ = signalled_used_ = 0;
}

Virtqueue::Pop Virtqueue::broken(const char* why) {
    if (!error_) error_ = why;
    return Pop::broken;
}

bool Virtqueue::read_descriptor(std::uint64_t table, unsigned index, Descriptor& out) const {
    std::uint8_t raw[descriptor_size];
    if (!memory_.read(table + index * descriptor_size, raw)) return false;
    const auto le = [&raw](unsigned offset, unsigned bytes) {
        std::uint64_t value = 0;
        for (unsigned i = bytes; i-- > 0;) value = value << 8 | raw[offset + i];
        return value;
    };
    out = {le(0, 8), static_cast<std::uint32_t>(le(8, 4)), static_cast<std::uint16_t>(le(12, 2)),
           static_cast<std::uint16_t>(le(14, 2))};
    return true;
}

bool Virtqueue::append(Chain& chain, const Descriptor& descriptor) {
    const bool writable = (descriptor.flags & descriptor_write) != 0;
    if (!writable && !chain.writable.empty()) {
        broken("a readable descriptor follows a writable one");
        return false;
    }
    auto& segments = writable ? chain.writable : chain.readable;
    auto& bytes = writable ? chain.writable_bytes : chain.readable_bytes;
    if (!memory_.contains(descriptor.address, descriptor.length, writable)) {
        broken("a descriptor points outside of memory");
        return false;
    }
    for (std::uint64_t done = 0; done < descriptor.length;) {
        const auto piece = memory_.prefix(descriptor.address + done, descriptor.length - done, writable);
        segments.push_back({descriptor.address + done, piece});
        done += piece.size();
    }
    bytes += descriptor.length;
    // Buffers of one request do not overlap, so they cannot be more than there is memory. This bounds the work.
    if (chain.readable_bytes + chain.writable_bytes > memory_.total_size()) {
        broken("a descriptor chain is larger than memory");
        return false;
    }
    return true;
}

bool Virtqueue::walk(Chain& chain, std::uint64_t table, unsigned table_size, unsigned first, bool in_indirect) {
    unsigned index = first;
    for (unsigned steps = 0; steps < table_size; ++steps) {
        if (index >= table_size) {
            broken("a descriptor index is out of range");
            return false;
        }
        Descriptor descriptor;
        if (!read_descriptor(table, index, descriptor)) {
            broken("a descriptor table is outside of memory");
            return false;
        }
        if (descriptor.flags & descriptor_indirect) {
            if (!indirect_ || in_indirect || (descriptor.flags & descriptor_next)) {
                broken("an indirect descriptor is not allowed there");
                return false;
            }
            const std::uint64_t entries = descriptor.length / descriptor_size;
            if (descriptor.length % descriptor_size || entries == 0 || entries > indirect_limit ||
                !memory_.contains(descriptor.address, descriptor.length)) {
                broken("an indirect descriptor table is malformed");
                return false;
            }
            return walk(chain, descriptor.address, static_cast<unsigned>(entries), 0, true);
        }
        if (!append(chain, descriptor)) return false;
        if (!(descriptor.flags & descriptor_next)) return true;
        index = descriptor.next;
    }
    broken("a descriptor chain loops");
    return false;
}

Virtqueue::Pop Virtqueue::pop(Chain& chain) {
    chain.clear();
    if (error_) return Pop::broken;
    if (!ready_) return Pop::empty;
    auto available = memory_.load_acquire_le16(layout_.driver_area + ring_index);
    if (!available) return broken("the available ring is outside of memory");
    if (*available == next_available_) {
        if (!event_index_) return Pop::empty;
        // Ask to be told of the next buffer, then look again: it may have come in between.
        if (!publish_wanted_available()) return broken("the used ring is outside of memory");
        available = memory_.load_acquire_le16(layout_.driver_area + ring_index);
        if (!available || *available == next_available_) return Pop::empty;
    }
    if (low16(*available - next_available_) > layout_.size) return broken("the available index runs ahead");
    const std::uint64_t slot = next_available_ % layout_.size;
    const auto head = memory_.read_le16(layout_.driver_area + ring_entries + slot * available_entry_size);
    if (!head) return broken("the available ring is outside of memory");
    chain.head = *head;
    if (!walk(chain, layout_.descriptors, layout_.size, *head, false)) {
        chain.clear();
        return Pop::broken;
    }
    ++next_available_;
    return Pop::chain;
}

void Virtqueue::unpop() { --next_available_; }

bool Virtqueue::publish_wanted_available() {
    const std::uint64_t event = layout_.device_area + ring_entries + used_entry_size * layout_.size;
    if (!memory_.store_release_le16(event, next_available_)) return false;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return true;
}

bool Virtqueue::push(std::uint16_t head, std::uint32_t written) {
    if (error_ || !ready_) return false;
    const std::uint64_t entry = layout_.device_area + ring_entries + (next_used_ % layout_.size) * used_entry_size;
    if (!memory_.write_le32(entry, head) || !memory_.write_le32(entry + 4, written) ||
        !memory_.store_release_le16(layout_.device_area + ring_index, low16(next_used_ + 1u))) {
        broken("the used ring is outside of memory");
        return false;
    }
    ++next_used_;
    return true;
}

bool Virtqueue::interrupt_wanted() {
    if (error_ || !ready_) return false;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint16_t before = signalled_used_;
    signalled_used_ = next_used_;
    if (before == next_used_) return false;
    if (!event_index_) {
        const auto flags = memory_.load_acquire_le16(layout_.driver_area + ring_flags);
        return flags && !(*flags & available_no_interrupt);
    }
    const std::uint64_t event_address = layout_.driver_area + ring_entries + available_entry_size * layout_.size;
    const auto event = memory_.load_acquire_le16(event_address);
    if (!event) return false;
    // Wanted when the used index passed the event index since the last look.
    return low16(next_used_ - *event - 1u) < low16(next_used_ - before);
}

} // namespace untrap::vmm
