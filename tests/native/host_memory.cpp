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
    return nullptr;
}

} // namespace untrap::tests::native
