// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <bit>
#include <cstdint>

// Guest memory is big-endian, the host may be either. Sizes are 1, 2, 4 or 8 bytes, values right-aligned.
namespace untrap::runtime {

constexpr std::uint64_t reverse_bytes(std::uint64_t value, unsigned size) {
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

inline std::uint64_t load_big_endian(const std::uint8_t* from, unsigned size) {
    constexpr bool swap = std::endian::native == std::endian::little;
    switch (size) {
    case 1: return *from;
    case 2: {
        std::uint16_t half;
        __builtin_memcpy(&half, from, sizeof half);
        return swap ? __builtin_bswap16(half) : half;
    }
    case 4: {
        std::uint32_t word;
        __builtin_memcpy(&word, from, sizeof word);
        return swap ? __builtin_bswap32(word) : word;
    }
    default: {
        std::uint64_t doubleword;
        __builtin_memcpy(&doubleword, from, sizeof doubleword);
        return swap ? __builtin_bswap64(doubleword) : doubleword;
    }
    }
}

inline void store_big_endian(std::uint8_t* to, unsigned size, std::uint64_t value) {
    constexpr bool swap = std::endian::native == std::endian::little;
    switch (size) {
    case 1: *to = static_cast<std::uint8_t>(value); break;
    case 2: {
        const auto plain = static_cast<std::uint16_t>(value);
        const std::uint16_t half = swap ? __builtin_bswap16(plain) : plain;
        __builtin_memcpy(to, &half, sizeof half);
        break;
    }
    case 4: {
        const auto plain = static_cast<std::uint32_t>(value);
        const std::uint32_t word = swap ? __builtin_bswap32(plain) : plain;
        __builtin_memcpy(to, &word, sizeof word);
        break;
    }
    default: {
        const std::uint64_t doubleword = swap ? __builtin_bswap64(value) : value;
        __builtin_memcpy(to, &doubleword, sizeof doubleword);
        break;
    }
    }
}

} // namespace untrap::runtime
