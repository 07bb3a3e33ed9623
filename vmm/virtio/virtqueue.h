// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "vmm/memory/guest_memory.h"

namespace untrap::vmm {

/// One piece of guest memory of a descriptor chain, already checked: `data` is its host view.
struct Segment {
    std::uint64_t gpa;
    std::span<std::uint8_t> data;
};

/// A request: device-readable segments, then device-writable ones, in order.
struct Chain {
    std::uint16_t head = 0;
    std::vector<Segment> readable;
    std::vector<Segment> writable;
    std::uint64_t readable_bytes = 0;
    std::uint64_t writable_bytes = 0;

    void clear();
    /// Copies from the readable part, starting at byte `offset`; returns the bytes copied (short at the end).
    std::uint64_t copy_out(std::uint64_t offset, std::span<std::uint8_t> to) const;
};

/// Writes into the writable part of a chain at byte `offset` and tells the memory's observer; returns bytes written.
std::uint64_t copy_into(const GuestMemory& memory, const Chain& chain, std::uint64_t offset,
                        std::span<const std::uint8_t> from);

/// Split virtqueue, device side. Every access goes through GuestMemory, everything read is hostile. The first broken
/// thing stops the queue: error() then tells what, and the owner puts the device into DEVICE_NEEDS_RESET.
class Virtqueue {
  public:
    enum class Pop { chain, empty, broken };

    static constexpr std::uint16_t size_limit = 1024;
    /// Most entries accepted in one indirect table.
    static constexpr unsigned indirect_limit = 1024;

    struct Layout {
        std::uint16_t size = 0;
        std::uint64_t descriptors = 0;
        std::uint64_t driver_area = 0;
        std::uint64_t device_area = 0;
    };

    Virtqueue(const GuestMemory& memory, std::uint16_t size_max) : memory_(memory), size_max_(size_max) {}

    std::uint16_t size_max() const { return size_max_; }
    bool ready() const { return ready_; }
    /// What is wrong, or null. Static text.
    const char* error() const { return error_; }

    /// Enables the queue after checking sizes, alignment and that all three areas are guest memory. False: error()
    /// says why.
    bool enable(const Layout& layout, bool indirect, bool event_index);
    void reset();

    /// Takes the next available chain.
    Pop pop(Chain& chain);
    /// Gives the chain last popped back: the next pop() returns it again.
    void unpop();
    /// Returns a chain with the number of bytes written into it. False: broken.
    bool push(std::uint16_t head, std::uint32_t written);
    /// Whether the driver wants an interrupt for what was pushed since the last call.
    bool interrupt_wanted();

  private:
    struct Descriptor {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags;
        std::uint16_t next;
    };
    bool read_descriptor(std::uint64_t table, unsigned index, Descriptor& out) const;
    bool append(Chain& chain, const Descriptor& descriptor);
    bool walk(Chain& chain, std::uint64_t table, unsigned table_size, unsigned first, bool in_indirect);
    Pop broken(const char* why);
    bool publish_wanted_available();

    const GuestMemory& memory_;
    std::uint16_t size_max_;
    Layout layout_{};
    bool ready_ = false;
    bool indirect_ = false;
    bool event_index_ = false;
    const char* error_ = nullptr;
    std::uint16_t next_available_ = 0;
    std::uint16_t next_used_ = 0;
    std::uint16_t signalled_used_ = 0;
};

} // namespace untrap::vmm
