// SPDX-License-Identifier: GPL-2.0-only
#include "translator/fp/fpscr.h"

namespace untrap::fp {

void mtfsf(std::uint32_t& fpscr, std::uint32_t flm, std::uint64_t frb) {
    std::uint32_t mask = 0;
    for (std::uint32_t bit = 0; bit < 8; ++bit) {
        if (flm >> bit & 1) mask |= 0xfu << (4 * bit);
    }
    fpscr = with_summaries((fpscr & ~mask) | (static_cast<std::uint32_t>(frb) & mask));
}

void mtfsfi(std::uint32_t& fpscr, std::uint32_t bf, std::uint32_t u) {
    const std::uint32_t shift = 4 * (7 - (bf & 7));
    fpscr = with_summaries((fpscr & ~(0xfu << shift)) | (u & 0xf) << shift);
}

void mtfsb0(std::uint32_t& fpscr, std::uint32_t bt) { fpscr = with_summaries(fpscr & ~(0x8000'0000u >> (bt & 31))); }

void mtfsb1(std::uint32_t& fpscr, std::uint32_t bt) {
    const std::uint32_t bit = 0x8000'0000u >> (bt & 31);
    if (bit & fpscr_exceptions)
        raise(fpscr, bit);
    else
        fpscr = with_summaries(fpscr | bit);
}

std::uint32_t mcrfs(std::uint32_t& fpscr, std::uint32_t bfa) {
    const std::uint32_t shift = 4 * (7 - (bfa & 7));
    const std::uint32_t field = fpscr >> shift & 0xf;
    fpscr = with_summaries(fpscr & ~((0xfu << shift) & (fpscr_exceptions | fpscr_fx)));
    return field;
}

} // namespace untrap::fp
