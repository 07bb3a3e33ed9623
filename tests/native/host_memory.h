// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace untrap::tests::native {

// The memory of a 440 host, by real address: two banks, one of them above 4 GB. It is handed out in naturally aligned
// blocks with gaps between them, so that whoever maps more than a block is found out.
class HostMemory {
  public:
    static constexpr std::uint64_t bank_bytes = std::uint64_t{1} << 30;
    static constexpr std::uint64_t banks[] = {0x0'40000000, 0x3'80000000};

    struct Block {
        std::uint64_t real = 0;
        unsigned shift = 0; // log2 of its bytes
        // What the block is to its owner: guest real memory from here on.
        unsigned vm = 0, slot = 0;
        std::uint64_t guest_real = 0;
    };

    HostMemory();
    ~HostMemory();
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;

    // shift: 12 to 28. gap: leaves at least a page free before it.
    const Block& allocate(unsigned shift, unsigned bank, unsigned vm, unsigned slot, std::uint64_t guest_real);
    // Memory of the host's own, which a VM's patches may use: allocated like a slot's, and where it lies. The address
    // of what is not in the banks is given one in a third place.
    std::uint8_t* allocate_own(unsigned shift, unsigned vm);
    void release_own(const std::uint8_t* block);
    std::uint64_t real_of(const void* own, unsigned vm, unsigned bytes);
    // The places of a VM outside of the banks.
    void release_windows(unsigned vm);
    static constexpr unsigned own_slot = 1000;
    static constexpr std::uint64_t window = 0x2'00000000; // to 256 MB above
    // All blocks of a slot: nothing may map them from now on.
    void release(unsigned vm, unsigned slot);
    // The block that holds this real address, nullptr if none does.
    const Block* find(std::uint64_t real) const;
    std::uint8_t* at(std::uint64_t real) const;
    // The host's addresses of what is in its linear mapping: the first bank. 0, nullptr: it is not.
    static constexpr std::uint32_t linear_ea = 0x80000000;
    std::uint32_t linear(const void* memory, std::uint32_t bytes) const;
    static constexpr bool is_linear(std::uint32_t ea) { return ea - linear_ea < bank_bytes; }
    static constexpr std::uint64_t real_of_linear(std::uint32_t ea) { return banks[0] + (ea - linear_ea); }

  private:
    std::uint8_t* base_[2] = {};
    std::uint64_t next_[2] = {};
    std::map<std::uint64_t, Block> blocks_; // by real address
    struct Window {
        std::uint8_t* at;
        std::uint64_t real;
        unsigned bytes;
    };
    std::vector<Window> windows_;
    unsigned own_ = own_slot + 1;
};

} // namespace untrap::tests::native
