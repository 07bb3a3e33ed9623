// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace untrap::vmm {

/// Guest RAM, and the one checked way to it: every guest physical address that the VMM or a device uses passes here.
///
/// Nothing throws after add_region(). An access that is not wholly inside memory changes nothing and says so by its
/// result. Device writes tell the write observer, which drops translations of the written pages; whoever writes
/// through a span from range() calls notify_written() itself.
///
/// Plain accesses are not atomic against a running guest CPU; the ring index accessors are. Except for those, call
/// with the machine lock held.
class GuestMemory {
  public:
    struct Region {
        std::uint64_t base; ///< guest physical, multiple of page_size
        std::uint8_t* host;
        std::uint64_t size; ///< bytes, multiple of page_size
        bool read_only;     ///< the guest and its devices cannot write; initialise() can
    };
    /// Hears of every write by a device, after it was made.
    using WriteObserver = std::function<void(std::uint64_t gpa, std::uint64_t length)>;

    static constexpr std::uint64_t page_size = 4096;
    static constexpr unsigned address_bits = 36;

    GuestMemory() = default;
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    /// Adds zeroed memory, allocated lazily by the host. Throws Error when base or size is not page aligned, the size
    /// is 0, the region passes 36 address bits or overlaps another, or the host has no address space.
    /// The host pointer stays valid as long as this object.
    /// file: a descriptor to map it from, closed here; negative for memory of our own.
    Region add_region(std::uint64_t base, std::uint64_t size, bool read_only = false, int file = -1);
    std::span<const Region> regions() const { return regions_; }
    std::uint64_t total_size() const;

    void set_write_observer(WriteObserver observer) { observer_ = std::move(observer); }
    void notify_written(std::uint64_t gpa, std::uint64_t length) const {
        if (observer_ && length) observer_(gpa, length);
    }

    /// Host view of [gpa, gpa + length), when it lies in one writable region. Length 0 gives an empty span for an
    /// address in or at the end of a region.
    std::optional<std::span<std::uint8_t>> range(std::uint64_t gpa, std::uint64_t length) const;
    /// The same for reading: read-only regions too.
    std::optional<std::span<const std::uint8_t>> const_range(std::uint64_t gpa, std::uint64_t length) const;
    /// Longest prefix of [gpa, gpa + length) that lies in one region; empty when gpa is not in (writable) memory.
    /// For ranges that span adjacent regions: take the prefix, advance, repeat.
    std::span<std::uint8_t> prefix(std::uint64_t gpa, std::uint64_t length, bool for_writing) const;

    /// Copies. They may span adjacent regions. False: some byte is not in memory (or not writable), nothing was done.
    bool read(std::uint64_t gpa, std::span<std::uint8_t> out) const;
    bool write(std::uint64_t gpa, std::span<const std::uint8_t> bytes) const;
    bool fill(std::uint64_t gpa, std::uint8_t value, std::uint64_t length) const;
    /// A write by the machine's makers (loaders): read-only regions accept it.
    bool initialise(std::uint64_t gpa, std::span<const std::uint8_t> bytes) const;
    /// Whether every byte of the range is memory (writable memory, if asked).
    bool contains(std::uint64_t gpa, std::uint64_t length, bool for_writing = false) const;

    std::optional<std::uint16_t> read_be16(std::uint64_t gpa) const;
    std::optional<std::uint32_t> read_be32(std::uint64_t gpa) const;
    std::optional<std::uint64_t> read_be64(std::uint64_t gpa) const;
    std::optional<std::uint16_t> read_le16(std::uint64_t gpa) const;
    std::optional<std::uint32_t> read_le32(std::uint64_t gpa) const;
    std::optional<std::uint64_t> read_le64(std::uint64_t gpa) const;
    bool write_be16(std::uint64_t gpa, std::uint16_t value) const;
    bool write_be32(std::uint64_t gpa, std::uint32_t value) const;
    bool write_be64(std::uint64_t gpa, std::uint64_t value) const;
    bool write_le16(std::uint64_t gpa, std::uint16_t value) const;
    bool write_le32(std::uint64_t gpa, std::uint32_t value) const;
    bool write_le64(std::uint64_t gpa, std::uint64_t value) const;

    /// Ring indices, shared with a guest CPU that may be running: atomic, ordered before (load) or after (store) the
    /// accesses around them. gpa must be even.
    std::optional<std::uint16_t> load_acquire_le16(std::uint64_t gpa) const;
    bool store_release_le16(std::uint64_t gpa, std::uint16_t value) const;

  private:
    const Region* find(std::uint64_t gpa) const;

    std::vector<Region> regions_; // sorted by base
    WriteObserver observer_;
};

} // namespace untrap::vmm
