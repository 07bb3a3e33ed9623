// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/code_image.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <asmjit/core.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "runtime/soft/code_cache.h"

namespace untrap::runtime::soft {

namespace code_image {

namespace {

bool hash_file(const char* path, std::uint64_t& hash) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    struct stat status {};
    void* bytes = MAP_FAILED;
    if (::fstat(file, &status) == 0 && status.st_size > 0)
        bytes =
            ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    ::close(file);
    if (bytes == MAP_FAILED) return false;
    hash = XXH3_64bits_withSeed(bytes, static_cast<std::size_t>(status.st_size), hash);
    ::munmap(bytes, static_cast<std::size_t>(status.st_size));
    return true;
}

// What translates: the program, and AsmJit where that is a library of its own.
bool hash_translator(std::uint64_t& hash) {
    hash = 0;
    if (!hash_file("/proc/self/exe", hash)) return false;
    Dl_info own{}, assembler{};
    if (::dladdr(reinterpret_cast<void*>(&key), &own) == 0 ||
        ::dladdr(reinterpret_cast<void*>(&asmjit::CpuInfo::host), &assembler) == 0)
        return false;
    return assembler.dli_fbase == own.dli_fbase || hash_file(assembler.dli_fname, hash);
}

bool read_header(std::span<const std::uint8_t> image, Header& header) {
    if (image.size() < sizeof(header)) return false;
    std::memcpy(&header, image.data(), sizeof(header));
    return header.magic == Header::magic_number;
}

} // namespace

std::uint64_t key(x64::Optimisations optimisations, unsigned levels) {
    std::uint64_t program = 0;
    if (!hash_translator(program)) return 0;
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    const auto add = [&state](const auto& value) { XXH3_64bits_update(&state, &value, sizeof(value)); };
    add(program);
    const auto& features = asmjit::CpuInfo::host().features();
    XXH3_64bits_update(&state, features.bits(), sizeof(*features.bits()) * features.bitWordCount());
    add(optimisations.disabled());
    add(levels);
    const std::uint64_t digest = XXH3_64bits_digest(&state);
    return digest != 0 ? digest : 1;
}

std::uint64_t checksum(std::span<const std::uint8_t> image) {
    Header header;
    std::memcpy(&header, image.data(), sizeof(header));
    header.checksum = 0;
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, &header, sizeof(header));
    XXH3_64bits_update(&state, image.data() + sizeof(header), image.size() - sizeof(header));
    return XXH3_64bits_digest(&state);
}

Verdict examine(std::span<const std::uint8_t> image, std::uint64_t key) {
    Header header;
    if (!read_header(image, header)) return Verdict::damaged;
    if (header.version != Header::current_version || header.header_bytes != sizeof(header)) return Verdict::foreign;
    if (checksum(image) != header.checksum) return Verdict::damaged;
    return key != 0 && header.key == key ? Verdict::good : Verdict::foreign;
}

} // namespace code_image

using code_image::BlockRecord;
using code_image::ChoicesRecord;
using code_image::Header;
using code_image::LinkRecord;
using code_image::MappingRecord;
using code_image::SiteRecord;

std::size_t CodeCache::packed_bytes() const {
    return sizeof(Header) + blocks_.size() * sizeof(BlockRecord) + links_.size() * sizeof(LinkRecord) +
           choices_.size() * sizeof(ChoicesRecord) + mapped_.sites().size() * sizeof(SiteRecord) +
           mapped_.choices().size() * sizeof(MappingRecord) + used_ - kept_;
}

void CodeCache::pack(std::uint8_t* to, std::uint64_t key) const {
    const auto place = [this](const std::uint8_t* code) { return static_cast<std::uint32_t>(code - base_); };
    std::uint8_t* at = to + sizeof(Header);
    const auto put = [&at](const auto& record) {
        std::memcpy(at, &record, sizeof(record));
        at += sizeof(record);
    };
    for (const Block& block : blocks_) {
        BlockRecord record;
        record.content = block.content;
        record.ea = block.ea;
        record.mode = block.mode;
        record.code = place(block.code);
        record.reentry = place(block.reentry);
        record.first = static_cast<std::int32_t>(block.first - block.real);
        record.bytes = block.bytes;
        if (block.runs_left != nullptr) record.counter = static_cast<std::uint32_t>(block.runs_left - counters_) + 1;
        record.first_link = block.first_link;
        record.link_count = block.link_count;
        record.path = block.path;
        put(record);
    }
    for (const x64::ExitLink& link : links_)
        put(LinkRecord{link.target_ea, place(link.site), place(link.stub), link.apart});
    for (const auto& [content, choices] : choices_) put(ChoicesRecord{content, choices.other});
    for (const MappedCode::Site& site : mapped_.sites()) put(SiteRecord{site.first, site.last, site.slow, site.block});
    for (const auto& [path, choice] : mapped_.choices())
        put(MappingRecord{path, choice == MappedCode::Choice::barred ? 1U : 0U});
    // The code as it was written: a jump over a distance is the same wherever both ends lie.
    std::uint8_t* const code = at;
    std::memcpy(code, base_ + kept_, used_ - kept_);
    const auto in_image = [&](const std::uint8_t* address) { return code + (address - (base_ + kept_)); };
    for (const Block& block : blocks_)
        std::memcpy(in_image(block.code), block.entry_bytes.data(), block.entry_bytes.size());
    for (const x64::ExitLink& link : links_) x64::set_target(in_image(link.site), in_image(link.stub));
    Header header;
    header.key = key;
    header.arena_bytes = bytes_;
    header.code_begin = kept_;
    header.code_bytes = used_ - kept_;
    header.blocks = static_cast<std::uint32_t>(blocks_.size());
    header.links = static_cast<std::uint32_t>(links_.size());
    header.counters = static_cast<std::uint32_t>(counters_used_);
    header.choices = static_cast<std::uint32_t>(choices_.size());
    header.sites = static_cast<std::uint32_t>(mapped_.sites().size());
    header.mappings = static_cast<std::uint32_t>(mapped_.choices().size());
    std::memcpy(to, &header, sizeof(header));
    header.checksum = code_image::checksum({to, packed_bytes()});
    std::memcpy(to, &header, sizeof(header));
}

bool CodeCache::unpack(std::span<const std::uint8_t> image, std::uint32_t runs) {
    Header header;
    if (image.size() < sizeof(header) || !blocks_.empty() || used_ != kept_) return false;
    std::memcpy(&header, image.data(), sizeof(header));
    // What half the arena holds is mostly what no run has used for long.
    if (header.arena_bytes != bytes_ || header.code_begin != kept_ || header.code_bytes > bytes_ / 2 - kept_)
        return false;
    const std::uint64_t block_bytes = std::uint64_t{header.blocks} * sizeof(BlockRecord);
    const std::uint64_t link_bytes = std::uint64_t{header.links} * sizeof(LinkRecord);
    const std::uint64_t choices_bytes = std::uint64_t{header.choices} * sizeof(ChoicesRecord);
    const std::uint64_t site_bytes = std::uint64_t{header.sites} * sizeof(SiteRecord);
    const std::uint64_t mapping_bytes = std::uint64_t{header.mappings} * sizeof(MappingRecord);
    const std::uint64_t record_bytes = block_bytes + link_bytes + choices_bytes + site_bytes + mapping_bytes;
    if (image.size() != sizeof(header) + record_bytes + header.code_bytes || header.counters > counters() ||
        header.choices > most_choices || header.mappings > MappedCode::most_choices)
        return false;
    const std::uint8_t* const records = image.data() + sizeof(header);
    const std::uint64_t end = header.code_begin + header.code_bytes;
    constexpr std::uint64_t jump_bytes = 5;
    const auto holds_jump = [&](std::uint64_t place) { return place >= kept_ && place + jump_bytes <= end; };
    const auto record_at = [&]<typename Record>(std::uint64_t offset, Record& record) {
        std::memcpy(&record, records + offset, sizeof(record));
    };
    std::uint64_t links = 0;
    for (std::uint32_t i = 0; i < header.blocks; ++i) {
        BlockRecord record;
        record_at(i * sizeof(record), record);
        if (!holds_jump(record.code) || !holds_jump(record.reentry) || record.first_link != links ||
            record.counter > header.counters)
            return false;
        // What it is made from lies in one page.
        const std::int64_t offset = std::int64_t{record.ea & 0xFFF} + record.first;
        if (offset < 0 || record.bytes == 0 || record.bytes > 0x1000 || offset + record.bytes > 0x1000) return false;
        links += record.link_count;
    }
    if (links != header.links) return false;
    for (std::uint32_t i = 0; i < header.links; ++i) {
        LinkRecord record;
        record_at(block_bytes + i * sizeof(record), record);
        if (!holds_jump(record.site) || !holds_jump(record.stub)) return false;
    }
    std::uint64_t behind = kept_;
    for (std::uint32_t i = 0; i < header.sites; ++i) {
        SiteRecord record;
        record_at(block_bytes + link_bytes + choices_bytes + i * sizeof(record), record);
        if (record.first < behind || record.last <= record.first || record.last > end || record.slow < kept_ ||
            record.slow >= end || record.block >= header.blocks)
            return false;
        behind = record.last;
    }
    for (std::uint32_t i = 0; i < header.choices; ++i) {
        ChoicesRecord record;
        record_at(block_bytes + link_bytes + i * sizeof(record), record);
        choices_[record.content] = {record.other};
    }
    for (std::uint32_t i = 0; i < header.sites; ++i) {
        SiteRecord record;
        record_at(block_bytes + link_bytes + choices_bytes + i * sizeof(record), record);
        mapped_.add_site({record.first, record.last, record.slow, record.block});
    }
    for (std::uint32_t i = 0; i < header.mappings; ++i) {
        MappingRecord record;
        record_at(record_bytes - mapping_bytes + i * sizeof(record), record);
        mapped_.choose(record.path, record.barred != 0 ? MappedCode::Choice::barred : MappedCode::Choice::mapped);
    }
    std::memcpy(base_ + kept_, records + record_bytes, header.code_bytes);
    used_ = kept_ + header.code_bytes;
    counters_used_ = header.counters;
    for (std::uint32_t i = 0; i < header.counters; ++i) counters_[i] = runs;
    for (std::uint32_t i = 0; i < header.blocks; ++i) {
        BlockRecord record;
        record_at(i * sizeof(record), record);
        Block& block = blocks_.emplace_back();
        block.ea = record.ea;
        block.mode = record.mode;
        block.first = static_cast<std::uint64_t>(std::int64_t{record.first});
        block.bytes = record.bytes;
        block.content = record.content;
        block.code = base_ + record.code;
        block.reentry = base_ + record.reentry;
        block.first_link = record.first_link;
        block.path = record.path;
        if (record.counter != 0) block.runs_left = &counters_[record.counter - 1];
        std::memcpy(block.entry_bytes.data(), block.code, block.entry_bytes.size());
        for (std::uint32_t number = 0; number < record.link_count; ++number) {
            LinkRecord link;
            record_at(block_bytes + (record.first_link + number) * sizeof(link), link);
            add_link(block, {.target_ea = link.target_ea,
                             .site = base_ + link.site,
                             .stub = base_ + link.stub,
                             .apart = link.apart != 0});
        }
        note_path(block);
        stale_.insert(block.content, &block);
    }
    return true;
}

} // namespace untrap::runtime::soft
