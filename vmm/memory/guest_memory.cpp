// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/memory/guest_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "vmm/devices/diagnostics.h"
#include "vmm/memory/descriptor.h"

namespace untrap::vmm {

namespace {

template <typename T>
constexpr T swap_bytes(T value) {
    if constexpr (sizeof(T) == 2)
        return __builtin_bswap16(value);
    else if constexpr (sizeof(T) == 4)
        return __builtin_bswap32(value);
    else
        return __builtin_bswap64(value);
}

template <std::endian Order, typename T>
constexpr T ordered(T value) {
    if constexpr (Order == std::endian::native)
        return value;
    else
        return swap_bytes(value);
}

template <std::endian Order, typename T>
std::optional<T> read_scalar(const GuestMemory& memory, std::uint64_t gpa) {
    std::array<std::uint8_t, sizeof(T)> bytes;
    if (!memory.read(gpa, bytes)) return std::nullopt;
    return ordered<Order>(std::bit_cast<T>(bytes));
}

template <std::endian Order, typename T>
bool write_scalar(const GuestMemory& memory, std::uint64_t gpa, T value) {
    const auto bytes = std::bit_cast<std::array<std::uint8_t, sizeof(T)>>(ordered<Order>(value));
    return memory.write(gpa, bytes);
}

} // namespace

GuestMemory::~GuestMemory() {
    for (const Region& region : regions_) munmap(region.host, static_cast<std::size_t>(region.size));
}

GuestMemory::Region GuestMemory::add_region(std::uint64_t base, std::uint64_t size, bool read_only, int file) {
    const Descriptor opened(file);
    constexpr std::uint64_t space = 1ull << address_bits;
    if (size == 0) throw Error(fmt::format("memory region at {:#x} is empty", base));
    if (base % page_size || size % page_size)
        throw Error(fmt::format("memory region {:#x} of {:#x} bytes is not made of whole pages", base, size));
    if (base >= space || size > space - base)
        throw Error(fmt::format("memory region {:#x} of {:#x} bytes passes the {}-bit address space", base, size,
                                address_bits));
    for (const Region& other : regions_)
        if (base < other.base + other.size && other.base < base + size)
            throw Error(fmt::format("memory regions at {:#x} and {:#x} overlap", base, other.base));
    if constexpr (sizeof(std::size_t) < sizeof(std::uint64_t)) {
        if (size > SIZE_MAX) throw Error(fmt::format("memory region of {:#x} bytes does not fit this host", size));
    }
    void* host = mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE,
                      file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, std::max(file, -1), 0);
    if (host == MAP_FAILED)
        throw Error(fmt::format("no host memory for a region of {} MiB: {}", size >> 20, std::strerror(errno)));
    // Large pages where the host has them: a booting guest touches most of its memory's beginning, and each page of its
    // own costs the host a fault. A wish only.
    madvise(host, static_cast<std::size_t>(size), MADV_HUGEPAGE);
    const Region region{base, static_cast<std::uint8_t*>(host), size, read_only};
    const auto place = std::upper_bound(regions_.begin(), regions_.end(), base,
                                        [](std::uint64_t b, const Region& r) { return b < r.base; });
    regions_.insert(place, region);
    return region;
}

std::uint64_t GuestMemory::total_size() const {
    std::uint64_t sum = 0;
    for (const Region& region : regions_) sum += region.size;
    return sum;
}

const GuestMemory::Region* GuestMemory::find(std::uint64_t gpa) const {
    for (const Region& region : regions_)
        if (gpa >= region.base && gpa - region.base < region.size) return &region;
    return nullptr;
}

std::span<std::uint8_t> GuestMemory::prefix(std::uint64_t gpa, std::uint64_t length, bool for_writing) const {
    const Region* region = find(gpa);
    if (!region || (for_writing && region->read_only)) return {};
    const std::uint64_t offset = gpa - region->base;
    const std::uint64_t there = std::min(length, region->size - offset);
    return {region->host + offset, static_cast<std::size_t>(there)};
}

std::optional<std::span<const std::uint8_t>> GuestMemory::const_range(std::uint64_t gpa, std::uint64_t length) const {
    for (const Region& region : regions_) {
        if (gpa < region.base || gpa - region.base > region.size) continue;
        const std::uint64_t offset = gpa - region.base;
        // The end of one region may be the start of the next: only an empty range may stand there.
        if (length > region.size - offset) continue;
        return std::span<const std::uint8_t>(region.host + offset, static_cast<std::size_t>(length));
    }
    return std::nullopt;
}

std::optional<std::span<std::uint8_t>> GuestMemory::range(std::uint64_t gpa, std::uint64_t length) const {
    for (const Region& region : regions_) {
        if (region.read_only || gpa < region.base || gpa - region.base > region.size) continue;
        const std::uint64_t offset = gpa - region.base;
        if (length > region.size - offset) continue;
        return std::span<std::uint8_t>(region.host + offset, static_cast<std::size_t>(length));
    }
    return std::nullopt;
}

bool GuestMemory::contains(std::uint64_t gpa, std::uint64_t length, bool for_writing) const {
    while (length) {
        const std::size_t there = prefix(gpa, length, for_writing).size();
        if (!there) return false;
        gpa += there;
        length -= there;
    }
    return true;
}

bool GuestMemory::read(std::uint64_t gpa, std::span<std::uint8_t> out) const {
    if (!contains(gpa, out.size())) return false;
    while (!out.empty()) {
        const auto from = prefix(gpa, out.size(), false);
        std::memcpy(out.data(), from.data(), from.size());
        out = out.subspan(from.size());
        gpa += from.size();
    }
    return true;
}

bool GuestMemory::write(std::uint64_t gpa, std::span<const std::uint8_t> bytes) const {
    if (!contains(gpa, bytes.size(), true)) return false;
    return initialise(gpa, bytes);
}

bool GuestMemory::initialise(std::uint64_t gpa, std::span<const std::uint8_t> bytes) const {
    if (!contains(gpa, bytes.size())) return false;
    const std::uint64_t start = gpa;
    const std::uint64_t length = bytes.size();
    while (!bytes.empty()) {
        const auto to = prefix(gpa, bytes.size(), false);
        std::memcpy(to.data(), bytes.data(), to.size());
        bytes = bytes.subspan(to.size());
        gpa += to.size();
    }
    notify_written(start, length);
    return true;
}

bool GuestMemory::fill(std::uint64_t gpa, std::uint8_t value, std::uint64_t length) const {
    if (!contains(gpa, length, true)) return false;
    for (std::uint64_t done = 0; done < length;) {
        const auto to = prefix(gpa + done, length - done, true);
        std::memset(to.data(), value, to.size());
        done += to.size();
    }
    notify_written(gpa, length);
    return true;
}

std::optional<std::uint16_t> GuestMemory::read_be16(std::uint64_t gpa) const {
    return read_scalar<std::endian::big, std::uint16_t>(*this, gpa);
}
std::optional<std::uint32_t> GuestMemory::read_be32(std::uint64_t gpa) const {
    return read_scalar<std::endian::big, std::uint32_t>(*this, gpa);
}
std::optional<std::uint64_t> GuestMemory::read_be64(std::uint64_t gpa) const {
    return read_scalar<std::endian::big, std::uint64_t>(*this, gpa);
}
std::optional<std::uint16_t> GuestMemory::read_le16(std::uint64_t gpa) const {
    return read_scalar<std::endian::little, std::uint16_t>(*this, gpa);
}
std::optional<std::uint32_t> GuestMemory::read_le32(std::uint64_t gpa) const {
    return read_scalar<std::endian::little, std::uint32_t>(*this, gpa);
}
std::optional<std::uint64_t> GuestMemory::read_le64(std::uint64_t gpa) const {
    return read_scalar<std::endian::little, std::uint64_t>(*this, gpa);
}
bool GuestMemory::write_be16(std::uint64_t gpa, std::uint16_t value) const {
    return write_scalar<std::endian::big>(*this, gpa, value);
}
bool GuestMemory::write_be32(std::uint64_t gpa, std::uint32_t value) const {
    return write_scalar<std::endian::big>(*this, gpa, value);
}
bool GuestMemory::write_be64(std::uint64_t gpa, std::uint64_t value) const {
    return write_scalar<std::endian::big>(*this, gpa, value);
}
bool GuestMemory::write_le16(std::uint64_t gpa, std::uint16_t value) const {
    return write_scalar<std::endian::little>(*this, gpa, value);
}
bool GuestMemory::write_le32(std::uint64_t gpa, std::uint32_t value) const {
    return write_scalar<std::endian::little>(*this, gpa, value);
}
bool GuestMemory::write_le64(std::uint64_t gpa, std::uint64_t value) const {
    return write_scalar<std::endian::little>(*this, gpa, value);
}

// Regions start at page boundaries on both sides, so an even guest address is an aligned 16-bit object on the host.
std::optional<std::uint16_t> GuestMemory::load_acquire_le16(std::uint64_t gpa) const {
    const auto bytes = prefix(gpa, 2, false);
    if (gpa % 2 || bytes.size() != 2) return std::nullopt;
    const auto* word = reinterpret_cast<const std::uint16_t*>(bytes.data());
    return ordered<std::endian::little>(__atomic_load_n(word, __ATOMIC_ACQUIRE));
}

bool GuestMemory::store_release_le16(std::uint64_t gpa, std::uint16_t value) const {
    const auto bytes = prefix(gpa, 2, true);
    if (gpa % 2 || bytes.size() != 2) return false;
    auto* word = reinterpret_cast<std::uint16_t*>(bytes.data());
    __atomic_store_n(word, ordered<std::endian::little>(value), __ATOMIC_RELEASE);
    notify_written(gpa, 2);
    return true;
}

} // namespace untrap::vmm
