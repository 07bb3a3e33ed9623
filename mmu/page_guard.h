// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

namespace untrap::mmu {

// Which parts of a 4 KB guest page have been translated or patched, in granules of 64 bytes. Stores to a guarded page
// take the slow path; only those that meet a set granule make translations stale, so data beside code stays cheap.
class PageGuard {
  public:
    static constexpr unsigned page_shift = 12;
    static constexpr unsigned granule_shift = 6;
    static_assert(page_shift - granule_shift == 6, "one bit of a 64-bit word per granule");

    // [offset, offset + length) within the page; length > 0, offset + length <= 4096.
    static constexpr std::uint64_t granules(std::uint32_t offset, std::uint32_t length) {
        const unsigned first = offset >> granule_shift;
        const unsigned last = (offset + length - 1) >> granule_shift;
        const std::uint64_t up_to_last = last == 63 ? ~std::uint64_t{0} : (std::uint64_t{1} << (last + 1)) - 1;
        return up_to_last & ~((std::uint64_t{1} << first) - 1);
    }

    void guard(std::uint32_t offset, std::uint32_t length) { bits_ |= granules(offset, length); }
    bool hit(std::uint32_t offset, std::uint32_t length) const { return (bits_ & granules(offset, length)) != 0; }
    bool empty() const { return bits_ == 0; }
    void clear() { bits_ = 0; }

  private:
    std::uint64_t bits_ = 0;
};

static_assert(PageGuard::granules(0, 4096) == ~std::uint64_t{0});
static_assert(PageGuard::granules(60, 8) == 3);

} // namespace untrap::mmu
