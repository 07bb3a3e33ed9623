// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "translator/x64/optimisations.h"

namespace untrap::runtime::soft {

// Translations as bytes, for the next VM: all code of a code cache as it is before any block is linked or stale, and
// what there is to know of its blocks. Found by the hash of what they were made from, like stale ones
// (CodeCache::revive), so an image says nothing about a guest: its own bytes decide which translation is used.
//
// An image is good for the very program that made it, on a host CPU with the same features, with the same optimisations
// and patch levels (its key). A checksum over all of it finds damage; it is no protection from who means harm, so
// whoever reads an image from a file sees to it that nobody else can write that.
namespace code_image {

struct Header {
    static constexpr std::uint64_t magic_number = 0x4354'7061'7274'6e75; // "untrapTC"
    static constexpr std::uint32_t current_version = 3;
    std::uint64_t magic = magic_number;
    std::uint32_t version = current_version;
    std::uint32_t header_bytes = sizeof(Header);
    std::uint64_t key = 0;
    std::uint64_t checksum = 0;    // XXH3 of the whole image, this word being 0
    std::uint64_t arena_bytes = 0; // of the code cache
    std::uint64_t code_begin = 0;  // behind the thunks, from the beginning of the arena
    std::uint64_t code_bytes = 0;
    std::uint32_t blocks = 0, links = 0, counters = 0, choices = 0;
    std::uint32_t sites = 0, mappings = 0;
};
// All places are counted from the beginning of the arena.
struct BlockRecord {
    std::uint64_t content = 0;
    std::uint32_t ea = 0, mode = 0;
    std::uint32_t code = 0, reentry = 0;
    std::int32_t first = 0; // of the bytes it is made from, from ea on
    std::uint32_t bytes = 0;
    std::uint32_t counter = 0; // number of its counter of runs, and one more; 0: none
    std::uint32_t first_link = 0, link_count = 0;
    std::uint32_t reserved = 0;
    std::uint64_t path = 0; // Block::path
};
struct LinkRecord {
    std::uint32_t target_ea = 0, site = 0, stub = 0;
    std::uint32_t apart = 0; // ExitLink::apart
};
// CodeCache::Choices; any is as good as another, only some blocks are not found then.
struct ChoicesRecord {
    std::uint64_t content = 0;
    std::array<std::uint64_t, 2> other{};
};
// MappedCode::Site, in the order of their code.
struct SiteRecord {
    std::uint32_t first = 0, last = 0, slow = 0;
    std::uint32_t block = 0; // number of its record
};
// MappedCode::Choice.
struct MappingRecord {
    std::uint64_t path = 0;
    std::uint64_t barred = 0; // or mapped
};
static_assert(sizeof(Header) == 80 && sizeof(BlockRecord) == 56 && sizeof(LinkRecord) == 16 &&
              sizeof(ChoicesRecord) == 24 && sizeof(SiteRecord) == 16 && sizeof(MappingRecord) == 16);
// The parts of an image: the header, blocks, links, choices, sites, mappings, code.

// What translations depend on beside the guest's code. Reads the running program; 0 if it cannot be read.
std::uint64_t key(x64::Optimisations optimisations, unsigned levels);

std::uint64_t checksum(std::span<const std::uint8_t> image);

enum class Verdict : std::uint8_t { good, damaged, foreign };
// Whether image is whole and has this key; its records are looked at by CodeCache::unpack alone.
Verdict examine(std::span<const std::uint8_t> image, std::uint64_t key);

} // namespace code_image

} // namespace untrap::runtime::soft
