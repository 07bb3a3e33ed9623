// SPDX-License-Identifier: GPL-2.0-only
#include "host_memory.h"

#include <sys/mman.h>

#include <catch2/catch_test_macros.hpp>

namespace untrap::tests::native {

HostMemory::HostMemory() {
    for (auto& base : base_) {
        void* const mapped =
            mmap(nullptr, bank_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        REQUIRE(mapped != MAP_FAILED);
        base = static_cast<std::uint8_t*>(mapped);
    }
}

HostMemory::~HostMemory() {
    for (auto* base : base_) munmap(base, bank_bytes);
}

const HostMemory::Block& HostMemory::allocate(unsigned shift, unsigned bank, unsigned vm, unsigned slot,
                                              std::uint64_t guest_real) {
    constexpr std::uint64_t page = 4096;
    const std::uint64_t size = std::uint64_t{1} << shift;
    const std::uint64_t offset = (next_[bank] + page + size - 1) & ~(size - 1);
    REQUIRE(offset + size <= bank_bytes);
    next_[bank] = offset + size;
    const std::uint64_t real = banks[bank] + offset;
    return blocks_[real] = {real, shift, vm, slot, guest_real};
}

void HostMemory::release(unsigned vm, unsigned slot) {
    std::erase_if(blocks_, [&](const auto& entry) { return entry.second.vm == vm && entry.second.slot == slot; });
}

const HostMemory::Block* HostMemory::find(std::uint64_t real) const {
    auto after = blocks_.upper_bound(real);
    if (after == blocks_.begin()) return nullptr;
    const Block& block = std::prev(after)->second;
    return real - block.real < std::uint64_t{1} << block.shift ? &block : nullptr;
}

std::uint8_t* HostMemory::at(std::uint64_t real) const {
    for (unsigned bank = 0; bank < 2; ++bank)
        if (real - banks[bank] < bank_bytes) return base_[bank] + (real - banks[bank]);
    for (const Window& window : windows_)
        if (real - window.real < window.bytes) return window.at + (real - window.real);
    return nullptr;
}

std::uint32_t HostMemory::linear(const void* memory, std::uint32_t bytes) const {
    const auto* const at = static_cast<const std::uint8_t*>(memory);
    if (at < base_[0] || at + bytes > base_[0] + bank_bytes) return 0;
    return linear_ea + static_cast<std::uint32_t>(at - base_[0]);
}

std::uint8_t* HostMemory::allocate_own(unsigned shift, unsigned vm) {
    return at(allocate(shift, 0, vm, own_++, 0).real);
}

void HostMemory::release_own(const std::uint8_t* block) {
    std::erase_if(blocks_, [&](const auto& entry) { return at(entry.first) == block; });
}

void HostMemory::release_windows(unsigned vm) {
    std::erase_if(blocks_, [&](const auto& entry) {
        if (entry.second.vm != vm || entry.first - window >= 0x10000000) return false;
        for (Window& one : windows_)
            if (one.real == entry.first) one.at = nullptr;
        return true;
    });
}

std::uint64_t HostMemory::real_of(const void* own, unsigned vm, unsigned bytes) {
    auto* const at = const_cast<std::uint8_t*>(static_cast<const std::uint8_t*>(own));
    for (unsigned bank = 0; bank < 2; ++bank)
        if (at >= base_[bank] && at < base_[bank] + bank_bytes)
            return banks[bank] + static_cast<std::uint64_t>(at - base_[bank]);
    // Apart from each other, so that no entry covers two.
    for (const Window& window : windows_)
        if (window.at == at) return window.real;
    const std::uint64_t real = window + 0x10000 * windows_.size();
    windows_.push_back({at, real, bytes});
    unsigned shift = 10;
    while ((1U << shift) < bytes) ++shift;
    blocks_[real] = {real, shift, vm, own_slot, 0};
    return real;
}

} // namespace untrap::tests::native
