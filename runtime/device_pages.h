// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "runtime/kvm/untrap_abi.h"

namespace untrap::runtime {

// Device accesses that userspace need not be asked for: stores that it takes from a ring later (coalesced MMIO), and
// loads of registers whose value it keeps in a page (cap_untrap_registers). Both pages are userspace's to write at any
// time: nothing here relies on what stands there, beyond its own guest.
//
// Changed at rest only, but for returned() all in the vCPU's thread.
class DevicePages {
  public:
    static constexpr unsigned most_zones = 32;
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    // Null until the vCPU has its pages. delay: timebase ticks after which a store in the ring ends KVM_RUN.
    void attach(abi::kvm_coalesced_mmio_ring* ring, const abi::UntrapRegisters* registers, std::uint64_t delay) {
        ring_ = ring;
        registers_ = registers;
        delay_ = delay;
    }
    // 0, -EINVAL for what is no range, -ENOSPC.
    int add_zone(const abi::kvm_coalesced_mmio_zone& zone);
    // All zones that contain this range; there may be none.
    int remove_zone(const abi::kvm_coalesced_mmio_zone& zone);

    // A register that userspace tells of.
    struct Register {
        const abi::UntrapRegisterBlock* block = nullptr; // none: userspace tells nothing of it
        std::uint32_t number = 0;                        // in its block
    };
    Register find(std::uint64_t real) const {
        const std::uint32_t count = registers_ != nullptr ? once(registers_->count) : 0;
        for (unsigned index = 0; index < count && index < abi::untrap_most_register_blocks; ++index) {
            const std::uint64_t offset = real - once(registers_->blocks[index].base);
            if (offset < abi::untrap_block_registers)
                return {&registers_->blocks[index], static_cast<std::uint32_t>(offset)};
        }
        return {};
    }
    // Whether it is still what find() said.
    bool is_at(const Register& found, std::uint64_t real) const {
        return real - once(found.block->base) == found.number &&
               static_cast<std::uint32_t>(found.block - registers_->blocks) < once(registers_->count);
    }

    // A load of a register whose value is known.
    static bool load(const Register& found, unsigned size, std::uint32_t& value) {
        // Acquire: what is known is known before the value that it has is read.
        if (found.block == nullptr || size != 1) return false;
        if ((__atomic_load_n(&found.block->loads, __ATOMIC_ACQUIRE) >> found.number & 1) == 0) return false;
        value = once(found.block->values[found.number]);
        return true;
    }
    // A store that does nothing.
    static bool no_store(const Register& found, unsigned size, std::uint64_t value) {
        std::uint32_t known = 0;
        return found.block != nullptr && (once(found.block->keeps) >> found.number & 1) != 0 &&
               load(found, size, known) && known == value;
    }
    // A store that goes into the ring; `now` as time counts for drain_at().
    bool store(const Register& found, std::uint64_t real, unsigned size, std::uint64_t value, std::uint64_t now) {
        return in_zone(real, size) && !exits_all_the_same(found, size, value) && add(real, size, value, now);
    }
    // Whether there is a store that userspace has not been told of, and when it has to be: never if not.
    bool holds() const { return drain_at_ != never; }
    std::uint64_t drain_at() const { return drain_at_; }
    // KVM_RUN ends, which is when userspace looks into the ring.
    void returned() { drain_at_ = never; }

  private:
    // Userspace may write what is read: one read, whose value is used. (A block's address, which a 440 reads in two
    // halves, is never changed by a userspace that means well.)
    template <typename T>
    static T once(const T& value) {
        return *static_cast<const volatile T*>(&value);
    }
    static bool contains(const abi::kvm_coalesced_mmio_zone& zone, std::uint64_t real, std::uint32_t size) {
        const std::uint64_t offset = real - zone.addr;
        return offset < zone.size && size <= zone.size - static_cast<std::uint32_t>(offset);
    }
    bool in_zone(std::uint64_t real, unsigned size) const {
        for (unsigned index = 0; index < zone_count_; ++index)
            if (contains(zones_[index], real, size)) return true;
        return false;
    }
    // What the registers' owner wants to hear of at once, though it lies in a zone.
    static bool exits_all_the_same(const Register& found, unsigned size, std::uint64_t value) {
        if (found.block == nullptr) return false;
        if (size != 1 || (__atomic_load_n(&found.block->exits, __ATOMIC_ACQUIRE) >> found.number & 1) != 0) return true;
        const unsigned ends = once(found.block->end_count);
        for (unsigned end = 0; end < ends && end < abi::untrap_block_ends; ++end)
            if (once(found.block->ends[end]) == static_cast<std::uint32_t>(value)) return true;
        return false;
    }
    bool add(std::uint64_t real, unsigned size, std::uint64_t value, std::uint64_t now);

    abi::kvm_coalesced_mmio_ring* ring_ = nullptr;
    const abi::UntrapRegisters* registers_ = nullptr;
    std::uint64_t delay_ = 0;
    std::uint64_t drain_at_ = never;
    unsigned zone_count_ = 0;
    std::array<abi::kvm_coalesced_mmio_zone, most_zones> zones_{};
};

} // namespace untrap::runtime
